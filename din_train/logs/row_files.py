"""A file of rows with whatever columns it has, a number of rows at a time: CSV, TSV (plain or gzip) or Parquet.

Memory holds a chunk and a block of the file (of Parquet: what a row group takes), whatever the file's size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from din_train.config.file_formats import FormatConfig
from din_train.errors import DataError
from din_train.logs.columns import find_columns
from din_train.logs.delimited import FORMS, is_blank, parse_names, read_body, split_columns, split_row
from din_train.logs.lines import read_magic, split_lines
from din_train.logs.log import Progress
from din_train.logs.rejects import BadLine

_PARQUET_ROWS = 1 << 16  # read at once, at most


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
            return bytes(self.texts[row].as_py())
        return "\t".join(str(column[row].as_py()) for column in self.table.columns)


@dataclass(frozen=True)
class RowFile:
    """A file whose columns are known and whose rows are still to be read.

    form: what it was read as, for messages. has_header: whether its columns have names; else they are '1', '2', ...
    delimiter: of text; None for Parquet.
    """

    path: Path
    schema: pa.Schema
    form: str
    has_header: bool
    delimiter: str | None

    def resolve(self, column: str | int, key: str = "data.columns") -> str:
        """The name of a column that is given by its name, or by its position from 1.

        Args:
            key: the config key that gives it, for messages.

        Raises:
            DataError: if the file has no such column.
        """
        names = self.schema.names
        if isinstance(column, int):
            if column > len(names):
                raise DataError(f"{self.path}: {key}: no column {column}; it has {len(names)} (read as {self.form})")
            return str(names[column - 1])
        return str(names[find_columns({key: column}, names, self.path, self.form)[key]])

    def read_chunks(self, rows: int, progress: Progress, columns: Sequence[str] | None = None) -> Iterator[Chunk]:
        """Chunks of `rows` rows, the last one shorter; where they begin depends on the rows alone.

        Args:
            columns: the names of those that are wanted, in the order they come; all if left out.

        Raises:
            DataError: where the file cannot be read to its end.
        """
        names = list(self.schema.names if columns is None else columns)
        if self.delimiter is None:
            return _regroup(_read_parquet(self.path, names, min(rows, _PARQUET_ROWS), progress), rows)
        return _regroup(_read_text(self, names, progress), rows)


def open_row_file(path: Path, format: FormatConfig | None = None) -> RowFile:
    """Read the names and types of the columns; those of text are strings.

    Args:
        format: `data.format`: what it says is so, the rest is told by the file's content.

    Raises:
        DataError: where the file cannot be read, has no header, or names a column twice.
    """
    given = FormatConfig() if format is None else format
    magic = read_magic(path)
    if magic.startswith(b"{"):
        raise DataError(f"{path}: looks like JSON, expected CSV, TSV (plain or gzip) or Parquet; convert it")
    if magic.startswith(b"PAR1"):
        try:
            file = RowFile(path, pq.read_schema(path), "Parquet", has_header=True, delimiter=None)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
    else:
        header = next(
            (names for names, _, _ in read_body(path, lambda line: (parse_names(line, path), True), lambda _: None)),
            None,
        )
        if header is None:
            raise DataError(f"{path}: is empty, expected a header and rows; check the path")
        delimiter, names = header
        has_header = given.header is not False
        if not has_header:
            names = [str(place) for place in range(1, len(names) + 1)]
        schema = pa.schema([(name, pa.string()) for name in names])
        file = RowFile(path, schema, FORMS[delimiter], has_header, delimiter)
    twice = [name for name in dict.fromkeys(file.schema.names) if file.schema.names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: has the column '{twice[0]}' more than once (read as {file.form}); rename the others")
    return file


def _read_text(file: RowFile, columns: Sequence[str], progress: Progress) -> Iterator[Chunk]:
    delimiter, width = str(file.delimiter), len(file.schema)
    places = [file.schema.names.index(name) for name in columns]
    schema = pa.schema([(name, pa.string()) for name in columns])
    for _, first, block in read_body(file.path, lambda line: (parse_names(line, file.path), file.has_header), progress):
        lines = split_lines(block)
        cut = split_columns(block, delimiter, width, places)
        if cut is not None:
            numbers = np.arange(first, first + len(lines), dtype=np.int64)
            yield Chunk(pa.table(cut, schema=schema), numbers, {}, pa.chunked_array([pa.array(lines, pa.binary())]))
            continue
        rows: list[list[str] | list[None]] = []
        kept, broken = [], {}
        for number, line in enumerate(lines):
            if is_blank(line, delimiter):
                continue
            kept.append(number)
            try:
                rows.append(split_row(line, delimiter, width))
            except BadLine as bad:
                broken[len(rows)] = bad.reason
                rows.append([None] * width)
        texts = [pa.array([row[place] for row in rows], pa.string()) for place in places]
        raw = pa.array([lines[number] for number in kept], pa.binary())
        numbers = first + np.array(kept, np.int64)
        yield Chunk(pa.table(texts, schema=schema), numbers, broken, pa.chunked_array([raw]))


def _read_parquet(path: Path, columns: Sequence[str], rows: int, progress: Progress) -> Iterator[Chunk]:
    try:
        with pq.ParquetFile(path) as file:
            size, total, done, reported = path.stat().st_size, file.metadata.num_rows, 0, 0
            for batch in file.iter_batches(rows, columns=list(columns)):
                table = pa.Table.from_batches([batch]).select(list(columns))
                yield Chunk(table, np.arange(done + 1, done + len(batch) + 1, dtype=np.int64), {})
                done += len(batch)
                progress(size * done // total - reported)
                reported = size * done // total
            progress(size - reported)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _regroup(chunks: Iterator[Chunk], rows: int) -> Iterator[Chunk]:
    waiting: list[Chunk] = []
    count = 0
    for chunk in chunks:
        waiting.append(chunk)
        count += chunk.table.num_rows
        if count < rows:
            continue
        held = _join(waiting)
        for start in range(0, count - rows + 1, rows):
            yield _slice(held, start, start + rows)
        waiting = [_slice(held, count - count % rows, count)]
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


def _slice(chunk: Chunk, start: int, end: int) -> Chunk:
    return Chunk(
        chunk.table.slice(start, end - start),
        chunk.lines[start:end],
        {place - start: reason for place, reason in chunk.broken.items() if start <= place < end},
        None if chunk.texts is None else chunk.texts.slice(start, end - start),
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    what = (str(error).splitlines() or ["no reason given"])[0]
    return DataError(f"{path}: cannot be read as Parquet ({what}); fetch or write the file again")
