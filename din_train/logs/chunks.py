"""Rows of a file in their order, a number at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class Chunk:
    """Rows of a file in their order.

    table: the wanted columns. lines: [rows] where each row begins: its physical line in text, else its number from 1.
    broken: place in the table -> why the row could not be cut into columns; such a row is null in all of them.
    texts: [rows] the bytes of each row's lines; None if the file is no text. Read them by `show`.
    """

    table: pa.Table
    lines: npt.NDArray[np.int64]
    broken: dict[int, str]
    texts: Any = None

    def show(self, row: int) -> bytes | str:
        """A row as it stands in the file, for `rejected.jsonl`; of a file that is no text, its values between tabs."""
        if self.texts is not None:
            return bytes(self.texts[row].as_py()).rstrip(b"\n")
        return "\t".join(_show_value(column[row]) for column in self.table.columns)

    def slice(self, start: int, end: int) -> "Chunk":
        """Some of the rows."""
        return Chunk(
            self.table.slice(start, end - start),
            self.lines[start:end],
            {place - start: reason for place, reason in self.broken.items() if start <= place < end},
            None if self.texts is None else self.texts.slice(start, end - start),
        )


def _show_value(value: Any) -> str:
    try:
        return str(value.as_py())
    except (ValueError, OverflowError):  # bytes that are no text, a date beyond Python's
        return bytes(value.cast(pa.binary()).as_py()).decode(errors="replace")


def regroup(chunks: Iterator[Chunk], rows: int) -> Iterator[Chunk]:
    """The same rows, so many in each chunk but the last."""
    waiting: list[Chunk] = []
    count = 0
    for chunk in chunks:
        waiting.append(chunk)
        count += chunk.table.num_rows
        if count < rows:
            continue
        joined = _join(waiting)
        for start in range(0, count - rows + 1, rows):
            yield joined.slice(start, start + rows)
        waiting = [joined.slice(count - count % rows, count)]
        count %= rows
    if count:
        yield _join(waiting)


def _join(chunks: Sequence[Chunk]) -> Chunk:
    broken: dict[int, str] = {}
    rows = 0
    for chunk in chunks:
        broken |= {rows + place: reason for place, reason in chunk.broken.items()}
        rows += chunk.table.num_rows
    texts = None
    if chunks[0].texts is not None:
        texts = pa.chunked_array([piece for chunk in chunks for piece in chunk.texts.chunks], pa.binary())
    lines = np.concatenate([chunk.lines for chunk in chunks])
    return Chunk(pa.concat_tables([chunk.table for chunk in chunks]), lines, broken, texts)
