"""A table of items or users beside the events: one row each, with their category and fields.

What the table lacks and the log has is taken from the log.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from din_train.config import ColumnsConfig, DataConfig
from din_train.config.column_roles import ROLES
from din_train.config.file_formats import Column, SideTableConfig
from din_train.errors import DataError
from din_train.logs.bad_rows import CHUNK_ROWS, BadRows
from din_train.logs.columns import check_types, has_column, note_doubtful_header, resolve_columns
from din_train.logs.expressions import take_field, take_ids, take_list
from din_train.logs.log import Progress, field_column
from din_train.logs.rejects import Rejects
from din_train.logs.row_files import open_row_file

# A text, a list of texts, or None.
Value = Any


def choose_side_fields(data: DataConfig, columns: ColumnsConfig, log: Path) -> dict[str, list[str]]:
    """`item`, `user` -> what is read from their table: `category` and fields that it has, or that the log lacks too.

    Args:
        log: the first file of the log.
    """
    roles = {getattr(columns, role) for role in ROLES if role != "category"}
    wanted: dict[str, dict[str, Column]] = {
        "item": {**({} if columns.category is None else {"category": columns.category}), **_name(data.item_fields)},
        "user": _name(data.user_fields),
    }
    chosen: dict[str, list[str]] = {}
    for key, side in (("item", data.items), ("user", data.users)):
        chosen[key] = []
        if side is None or not wanted[key]:
            continue
        in_side, in_log = (open_row_file(*each) for each in ((side.path, side.format), (log, data.format)))
        chosen[key] = [
            name
            for name, column in wanted[key].items()
            if has_column(column, in_side) or column in roles or not has_column(column, in_log)
        ]
    return chosen


def _name(fields: Sequence[str]) -> dict[str, Column]:
    return {name: name for name in fields}


def read_side_table(
    data: DataConfig, key: str, side: SideTableConfig, fields: Sequence[str], rejects: Rejects, progress: Progress
) -> pa.Table:
    """The rows of a table, one an id: an id given again fills in what its first row lacks.

    Args:
        key: what the rows are: `item` or `user`.
        fields: those to take, of `choose_side_fields`.

    Returns:
        A table of `item` or `user`, `category` (items), and the fields: strings or nulls; lists of strings if
        `data.list_fields` names the field.

    Raises:
        DataError: if the file cannot be read, lacks a column or has too many bad rows.
    """
    if data.columns is None:
        raise ValueError("a table of items or users stands beside a table of events")
    category = data.columns.category if "category" in fields else None
    fields = [name for name in fields if name != "category"]
    of_id = f"data.columns.{key}" if side.key is None else f"data.{key}s.key"
    wanted: dict[str, Column] = {of_id: getattr(data.columns, key) if side.key is None else side.key}
    wanted |= {} if category is None else {"data.columns.category": category}
    wanted |= {f"data.{key}_fields.{name}": name for name in fields}
    separators = [None] * (category is not None) + [_find_separator(data, name) for name in fields]
    report, nulls = rejects.report, rejects.nulls
    file = open_row_file(report.path, side.format)
    columns = resolve_columns(wanted, file)
    note_doubtful_header(report, wanted.values(), file, side.format)
    kinds = ["id", *("field" if separator is None else "list" for separator in separators)]
    check_types(((place, kind, name) for (place, name), kind in zip(columns.items(), kinds, strict=True)), file)
    id_column, *names = columns.values()
    rows: dict[str, tuple[Value, ...]] = {}
    for chunk in file.read_chunks(CHUNK_ROWS, progress, list(dict.fromkeys(columns.values()))):
        bad = BadRows(chunk)
        ids, of_ids = take_ids(chunk.table[id_column], "id", nulls)
        bad.add(of_ids)
        values = []
        for name, separator in zip(names, separators, strict=True):
            column = chunk.table[name]
            texts, of_field = take_field(column, nulls) if separator is None else take_list(column, separator, nulls)
            bad.add(of_field)
            values.append(texts)
        bad.reject(chunk, rejects)
        good = pa.array(np.flatnonzero(bad.usable))
        for name, *row in zip(
            ids.take(good).to_pylist(), *(each.take(good).to_pylist() for each in values), strict=True
        ):
            earlier = rows.get(name)
            if earlier is not None:
                report.note(f"duplicate {key}", 1)
                row = [first if first is not None else later for first, later in zip(earlier, row, strict=True)]
            rows[name] = tuple(row)
    rejects.check_share()
    report.kept = len(rows)
    if not rows:
        raise DataError(f"{report.path}: no {key} in its {report.lines:,} lines; check data.{key}s")
    lists = [name for name in fields if _find_separator(data, name) is not None]
    return build_side_table(key, rows, category=category is not None, fields=fields, lists=lists)


def _find_separator(data: DataConfig, name: str) -> str | None:
    """Of the values of a field in `data.list_fields`; None if the field has one value."""
    given = (data.list_fields or {}).get(name)
    return None if given is None else given.separator


def build_side_table(
    key: str,
    rows: Mapping[str, tuple[Value, ...]],
    *,
    category: bool,
    fields: Sequence[str],
    title: bool = False,
    lists: Sequence[str] = (),
) -> pa.Table:
    """Id -> values (category, title, fields in their order, those there are) as the normalised table.

    Args:
        lists: the fields of several values.
    """
    names = [*(["category"] if category else []), *(["title"] if title else []), *map(field_column, fields)]
    columns = {key: pa.array(list(rows), pa.string())}
    for place, name in enumerate(names):
        kind = pa.list_(pa.string()) if name in map(field_column, lists) else pa.string()
        columns[name] = pa.array([values[place] for values in rows.values()], kind)
    return pa.table(columns)
