"""The first rows of a file as texts, whatever its columns mean."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from din_train.config.file_formats import FormatConfig
from din_train.logs.dialect import Dialect
from din_train.logs.expressions import take_text
from din_train.logs.row_files import open_row_file

_MOST_ROWS = 10_000


@dataclass(frozen=True)
class FirstRows:
    """What a file begins with.

    names: its columns in order, as its header or schema has them; '1', '2', ... if it has no header.
    values: column -> [rows] texts, "" if there is no value; a list is JSON. Columns of objects are left out.
    nested: names of columns of lists or of objects. lists: names of lists whose objects may be rows.
    rows: how many there are in `values`. broken: how many more cannot be cut into columns.
    is_all: whether the file has no more.
    form: what the file was read as, in words. dialect: of delimited text.
    """

    names: tuple[str, ...]
    values: Mapping[str, Sequence[str]]
    nested: tuple[str, ...]
    lists: tuple[str, ...]
    rows: int
    broken: int
    is_all: bool
    form: str
    has_header: bool
    dialect: Dialect | None

    def describe_rows(self) -> str:
        """`of 4,277 rows`, `of the first 10,000 rows`."""
        return f"of {'' if self.is_all else 'the first '}{self.rows:,} rows"


def read_first_rows(path: Path, format: FormatConfig | None = None, inside: str | None = None) -> FirstRows:
    """Of a file of rows in any format; broken rows are left out, and headers that come again.

    Args:
        inside: a list of objects, which are the rows.

    Raises:
        DataError: if the file cannot be read.
    """
    file = open_row_file(path, format)
    columns = file.list_columns(inside)
    schema = pa.schema([field for field in file.schema if field.name in columns])
    chunk = next(file.read_chunks(_MOST_ROWS + 1, lambda _bytes: None, columns), None)
    table = schema.empty_table() if chunk is None else chunk.table
    is_all = table.num_rows <= _MOST_ROWS
    broken = 0 if chunk is None else len(chunk.broken)
    odd = set() if chunk is None else {*chunk.broken, *_find_headers(table)}
    if odd:
        whole = [row for row in range(table.num_rows) if row not in odd]
        table = table.take(pa.array(whole, pa.int64()))
    table = table.slice(0, _MOST_ROWS)
    is_json = file.dialect is None and not file.is_typed
    objects = [name for name in columns if is_json and any(each.startswith(f"{name}.") for each in columns)]
    texts = {name: None if name in objects else _take_texts(table.column(name)) for name in schema.names}
    return FirstRows(
        tuple(schema.names),
        {name: values for name, values in texts.items() if values is not None},
        tuple(each.name for each in schema if pa.types.is_nested(each.type) or each.name in objects),
        file.lists_of_objects,
        table.num_rows,
        broken,
        is_all,
        file.form,
        file.has_header,
        file.dialect,
    )


def _find_headers(table: Any) -> list[int]:
    """Rows that hold the names of the columns, as files that are put together have them."""
    if not table.num_columns or not pa.types.is_string(table.schema[0].type):
        return []
    rows = pc.indices_nonzero(pc.fill_null(pc.equal(table.column(0), table.column_names[0]), False)).to_pylist()
    return [row for row in rows if list(table.slice(row, 1).to_pylist()[0].values()) == table.column_names]


def join_rows(parts: Sequence[FirstRows]) -> FirstRows:
    """The first rows of several files of one log; columns that a file lacks are left out."""
    first = parts[0]
    return replace(
        first,
        values={
            name: [value for each in parts for value in each.values[name]]
            for name in first.values
            if all(name in each.values for each in parts)
        },
        rows=sum(each.rows for each in parts),
        broken=sum(each.broken for each in parts),
        is_all=all(each.is_all for each in parts),
    )


def _take_texts(column: Any) -> list[str] | None:
    """The values of a column as texts; None if they are objects or no text."""
    kind = column.type
    try:
        if pa.types.is_nested(kind):
            if not pa.types.is_list(kind) and not pa.types.is_large_list(kind):
                return None
            return ["" if each is None else json.dumps(each, ensure_ascii=False) for each in column.to_pylist()]
        if pa.types.is_floating(kind):  # without exponents: times in milliseconds may have fractions
            return [_write_number(each) for each in column.to_pylist()]
        return [each or "" for each in take_text(column)[0].to_pylist()]
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None


def _write_number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{Decimal(repr(value)):f}".removesuffix(".0")
