"""The first rows of a table as texts, whatever their columns mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from din_train.errors import DataError
from din_train.logs.delimited import is_blank, parse_names, read_body, split_row
from din_train.logs.lines import read_magic, split_lines
from din_train.logs.rejects import BadLine

_MOST_ROWS = 10_000
_MOST_BYTES = 1 << 22


@dataclass(frozen=True)
class FirstRows:
    """What a table begins with.

    names: its columns in order, as its header or schema has them.
    values: of columns whose name is there once and that hold no lists, [rows] texts; "" where there is no value.
    lists: names of columns of lists (Parquet).
    rows: how many there are in `values`.
    is_all: whether the table has no more.
    """

    names: tuple[str, ...]
    values: Mapping[str, Sequence[str]]
    lists: tuple[str, ...]
    rows: int
    is_all: bool

    def describe_rows(self) -> str:
        """`of 4,277 rows`, `of the first 10,000 rows`."""
        return f"of {'' if self.is_all else 'the first '}{self.rows:,} rows"


def read_first_rows(path: Path) -> FirstRows:
    """Of delimited text with a header or of Parquet, told apart by content; bad lines are left out.

    Raises:
        DataError: where the file cannot be read, or is no such table.
    """
    return _read_parquet(path) if read_magic(path).startswith(b"PAR1") else _read_text(path)


def _read_text(path: Path) -> FirstRows:
    names: list[str] = []
    rows: list[list[str]] = []
    num_bytes, is_all = 0, True
    for (delimiter, names), _first, block in read_body(
        path, lambda line: (parse_names(line, path), True), _no_progress
    ):
        for line in split_lines(block):
            if is_blank(line, delimiter):
                continue
            if len(rows) == _MOST_ROWS or num_bytes > _MOST_BYTES:
                is_all = False
                break
            num_bytes += len(line)
            try:
                rows.append(split_row(line, delimiter, len(names)))
            except BadLine:
                continue
        if not is_all:
            break
    values = {name: [row[place] for row in rows] for place, name in enumerate(names) if names.count(name) == 1}
    return FirstRows(tuple(names), values, (), len(rows), is_all)


def _read_parquet(path: Path) -> FirstRows:
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            flat = [each.name for each in schema if not pa.types.is_nested(each.type)]
            flat = [name for name in flat if schema.names.count(name) == 1]
            batch: Any = next(file.iter_batches(_MOST_ROWS, columns=flat), pa.table({name: [] for name in flat}))
    except (pa.ArrowException, OSError) as error:
        what = (str(error).splitlines() or ["no reason given"])[0]
        raise DataError(f"{path}: cannot be read as Parquet ({what}); fetch or write the file again") from None
    values = {}
    for name in flat:
        column = batch.column(name)
        if pa.types.is_timestamp(column.type) or pa.types.is_boolean(column.type):
            column = column.cast(pa.int64())  # as the reader takes them
        try:
            values[name] = ["" if value is None else str(value) for value in column.to_pylist()]
        except (ValueError, OverflowError):  # not UTF-8, or a date beyond Python's
            values[name] = []
    nested = tuple(each.name for each in schema if pa.types.is_nested(each.type))
    return FirstRows(tuple(schema.names), values, nested, min(rows, _MOST_ROWS), rows <= _MOST_ROWS)


def _no_progress(_bytes: int) -> None:
    """Too short to show."""
