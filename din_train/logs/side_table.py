"""A table of items or users beside the events: one row each, with their category and fields."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from din_train.config import ColumnsConfig
from din_train.errors import DataError
from din_train.logs.delimited import Header, parse_header, parse_lines, read_body, split_row
from din_train.logs.lines import read_magic
from din_train.logs.log import Progress, field_column
from din_train.logs.records import NullValues
from din_train.logs.rejects import BadLine, Rejects
from din_train.logs.table_parquet import read_batches, take_text

Row = tuple[str, tuple[str | None, ...]]


def read_side_table(
    columns: ColumnsConfig,
    key: str,
    fields: Sequence[str],
    rejects: Rejects,
    progress: Progress,
) -> Any:
    """The rows of `rejects.report.path`, one an id: an id given again fills in what its first row lacks.

    Args:
        columns: `data.columns`, which names the id's column and an item's category.
        key: what the rows are: `item` or `user`.
        fields: the declared fields to take.

    Returns:
        A table of `item` or `user`, `category` and `title` (items), and the fields, strings or nulls.

    Raises:
        DataError: where the file cannot be read, lacks a column or has too many bad rows.
    """
    category = columns.category if key == "item" else None
    wanted = {f"data.columns.{key}": getattr(columns, key)}
    wanted |= {} if category is None else {"data.columns.category": category}
    wanted |= {f"data.{key}_fields.{name}": name for name in fields}
    path = rejects.report.path
    read = _read_parquet if read_magic(path).startswith(b"PAR1") else _read_text
    rows: dict[str, tuple[str | None, ...]] = {}
    for name, values in read(wanted, rejects, progress):
        earlier = rows.get(name)
        if earlier is not None:
            rejects.report.note(f"duplicate {key}", 1)
            values = tuple(first if first is not None else later for first, later in zip(earlier, values, strict=True))
        rows[name] = values
    rejects.check_share()
    rejects.report.kept = len(rows)
    if not rows:
        raise DataError(f"{path}: no {key} in its {rejects.report.lines:,} lines; check data.{key}s")
    return build_side_table(key, rows, category=category is not None, fields=fields)


def build_side_table(
    key: str, rows: Mapping[str, tuple[str | None, ...]], *, category: bool, fields: Sequence[str], title: bool = False
) -> Any:
    """Id -> values (category, title, fields in their order, those there are) as the normalised table."""
    names = [*(["category"] if category else []), *(["title"] if title else []), *map(field_column, fields)]
    columns = {key: pa.array(list(rows), pa.string())}
    for place, name in enumerate(names):
        columns[name] = pa.array([values[place] for values in rows.values()], pa.string())
    return pa.table(columns)


def _read_text(wanted: Mapping[str, str], rejects: Rejects, progress: Progress) -> Iterator[Row]:
    path = rejects.report.path
    blocks = read_body(path, lambda line: (parse_header(line, wanted, path), True), progress)
    for header, first, block in blocks:
        yield from parse_lines(first, block, header[0], partial(_parse_row, header, rejects.nulls), rejects)


def _parse_row(header: Header, nulls: NullValues, line: bytes) -> Row:
    delimiter, names, places = header
    fields = split_row(line, delimiter, len(names))
    return _take_values([fields[place] for place in places.values()], nulls)


def _take_values(fields: Sequence[str | None], nulls: NullValues) -> Row:
    """The id, and the values beside it; an empty text and one of `data.null_values` are none.

    Raises:
        BadLine: where there is no id.
    """
    name, *values = (None if not field or field in nulls else field for field in fields)
    if name is None:
        raise BadLine("no id" if fields[0] else "empty id")
    return name, tuple(values)


def _read_parquet(wanted: Mapping[str, str], rejects: Rejects, progress: Progress) -> Iterator[Row]:
    report = rejects.report
    for batch in read_batches(report.path, wanted, progress):
        columns, broken = zip(*(take_text(batch.column(name)) for name in wanted.values()), strict=True)
        broken_rows = np.logical_or.reduce(broken).tolist()
        texts = zip(*(column.to_pylist() for column in columns), strict=True)
        for values, is_broken in zip(texts, broken_rows, strict=True):
            report.lines += 1
            try:
                if is_broken:
                    raise BadLine("invalid UTF-8")
                row = _take_values(values, rejects.nulls)
                if any(value and "\0" in value for value in values):
                    raise BadLine("NUL character")
            except BadLine as bad:
                rejects.add(report.lines, bad.reason, "\t".join(map(str, values)))
                continue
            yield row
