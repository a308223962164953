"""Parquet: one row an event, in row order; only the needed columns are read."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from din_train.config import ColumnsConfig
from din_train.errors import DataError
from din_train.logs.columns import find_columns
from din_train.logs.event_writer import EventColumns, EventWriter
from din_train.logs.log import Progress
from din_train.logs.records import MAX_TIMESTAMP
from din_train.logs.rejects import Rejects

BATCH_ROWS = 100_000

Mask = npt.NDArray[np.bool_]


def read_parquet(columns: ColumnsConfig, rejects: Rejects, events: EventWriter, progress: Progress) -> None:
    """Write the rows of `rejects.report.path` as events; a rejected row's line is its number from 1.

    Raises:
        DataError: where the file is damaged, or a column of `columns` is missing or of a type that will not do.
    """
    report = rejects.report
    for batch in _read_batches(rejects, columns, progress):
        rows, reasons = _normalise(batch, columns)
        bad: Mask = np.logical_or.reduce(list(reasons.values()))
        before = report.lines
        for row in np.flatnonzero(bad).tolist():
            report.lines = before + row + 1
            reason = next(reason for reason, mask in reasons.items() if mask[row])
            rejects.add(report.lines, reason, "\t".join(str(column[row].as_py()) for column in rows))
        report.lines = before + len(batch)
        kept = pa.array(~bad)
        rows = EventColumns(*(column.filter(kept) for column in rows))
        events.add_columns(rows)
        report.kept += len(rows.users)
        if columns.category is not None:
            report.note("no category", rows.categories.null_count)


def _normalise(batch: Any, columns: ColumnsConfig) -> tuple[EventColumns, dict[str, Mask]]:
    """The batch as strings and whole numbers, and where a row cannot be used, by the first reason that holds."""
    users, broken_users = _take_text(batch, columns.user)
    items, broken_items = _take_text(batch, columns.item)
    timestamps, too_large = _take_timestamps(batch.column(columns.timestamp))
    categories, broken_categories = pa.nulls(len(batch), pa.string()), np.zeros(len(batch), bool)
    if columns.category is not None:
        categories, broken_categories = _take_text(batch, columns.category)
        categories = pc.if_else(pc.equal(categories, ""), pa.scalar(None, pa.string()), categories)
    nul = [_mask(pc.match_substring(column, "\0")) for column in (users, items, categories)]
    reasons = {
        "no user": _mask(pc.is_null(users)),
        "no item": _mask(pc.is_null(items)),
        "timestamp too large": too_large,
        "no timestamp": _mask(pc.is_null(timestamps)),
        "invalid UTF-8": broken_users | broken_items | broken_categories,
        "NUL character": np.logical_or.reduce(nul),
        "empty user": _mask(pc.equal(users, "")),
        "empty item": _mask(pc.equal(items, "")),
        "negative timestamp": _mask(pc.less(timestamps, 0)),
    }
    return EventColumns(users, items, timestamps, categories), reasons


def _read_batches(rejects: Rejects, columns: ColumnsConfig, progress: Progress) -> Iterator[Any]:
    path = rejects.report.path
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            places = find_columns(columns, schema.names, path, "Parquet")
            _check_types({role: schema.field(place) for role, place in places.items()}, rejects)
            size, done, reported = path.stat().st_size, 0, 0
            names = list(dict.fromkeys(schema.names[place] for place in places.values()))
            for batch in file.iter_batches(BATCH_ROWS, columns=names):
                yield batch
                done += len(batch)
                progress(size * done // max(rows, 1) - reported)
                reported = size * done // max(rows, 1)
    except (pa.ArrowException, OSError) as error:
        what = (str(error).splitlines() or ["no reason given"])[0]
        raise DataError(f"{path}: cannot be read as Parquet ({what}); fetch or write the file again") from None


def _check_types(fields: dict[str, Any], rejects: Rejects) -> None:
    problems = []
    for role, field in fields.items():
        kind = field.type
        if role == "timestamp":
            good = pa.types.is_integer(kind) or pa.types.is_timestamp(kind)
            expected = "whole numbers or timestamps"
        else:
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
            good = any(check(kind) for check in checks)
            expected = "text or whole numbers"
        if not good:
            problems.append(
                f"{rejects.report.path}: data.columns.{role}: column '{field.name}' is of type {field.type}, expected "
                f"{expected}; convert the column, or name another"
            )
    if problems:
        raise DataError(problems)


def _take_text(batch: Any, name: str) -> tuple[Any, Mask]:
    """A column as strings (whole numbers in decimals), and where its bytes were not UTF-8."""
    column = batch.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    column = column.cast(pa.string())
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        values = column.cast(pa.binary()).to_pylist()
        texts = [None if value is None else value.decode(errors="replace") for value in values]
        broken = [text is not None and text.encode() != value for text, value in zip(texts, values, strict=True)]
        return pa.array(texts, pa.string()), np.array(broken, bool)
    return column, np.zeros(len(column), bool)


def _take_timestamps(column: Any) -> tuple[Any, Mask]:
    """A column as int64, timestamps in their own unit so that their order is kept, and where it is beyond int64."""
    too_large = np.zeros(len(column), bool)
    if pa.types.is_uint64(column.type):
        beyond = pc.greater(column, pa.scalar(MAX_TIMESTAMP, pa.uint64()))
        column, too_large = pc.if_else(beyond, None, column), _mask(beyond)
    return column.cast(pa.int64()), too_large


def _mask(column: Any) -> Mask:
    """Nulls are False."""
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)
