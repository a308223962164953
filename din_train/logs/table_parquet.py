"""Parquet: one row an event, in row order; only the needed columns are read."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from din_train.config import ColumnsConfig
from din_train.errors import DataError
from din_train.logs.columns import find_columns
from din_train.logs.event_writer import EventWriter, find_category
from din_train.logs.labels import LabelRule
from din_train.logs.log import Progress
from din_train.logs.records import MAX_TIMESTAMP, NullValues, drop_null_values, find_null_values
from din_train.logs.rejects import BadLine, Rejects
from din_train.logs.time_unit import TimeUnit

BATCH_ROWS = 100_000

Mask = npt.NDArray[np.bool_]

_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_WHOLE = (pa.types.is_integer, pa.types.is_null)
_STRING = (pa.types.is_string, pa.types.is_large_string)
_TEXT = ((*_STRING, *_WHOLE), "text or whole numbers")
_FIELD = (
    (*_STRING, *_WHOLE, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean),
    "text, numbers, or true and false",
)
# Config key -> checks of which one must hold, and what to tell; other columns are ids and categories, or fields.
_EXPECTED = {
    "data.columns.timestamp": ((pa.types.is_integer, pa.types.is_timestamp), "whole numbers or timestamps"),
    "data.columns.label": (
        (pa.types.is_boolean, pa.types.is_floating, pa.types.is_integer, *_STRING),
        "0 and 1, or true and false",
    ),
}


def read_parquet(
    columns: ColumnsConfig,
    texts: Mapping[str, str],
    wanted: Mapping[str, str],
    rejects: Rejects,
    events: EventWriter,
    unit: TimeUnit,
    progress: Progress,
) -> None:
    """Write the rows of `rejects.report.path` as events; a rejected row's line is its number from 1.

    Args:
        columns: `data.columns`.
        texts: column of the events file -> column of the table.
        wanted: dotted config key -> column of the table, for messages.

    Raises:
        DataError: where the file is damaged, or a column is missing or of a type that will not do.
    """
    report = rejects.report
    for batch in read_batches(report.path, wanted, progress):
        _take_unit(batch.column(columns.timestamp).type, unit, report.path)
        rows, reasons = _normalise(batch, columns, texts, unit, rejects.nulls)
        bad: Mask = np.logical_or.reduce(list(reasons.values()))
        before = report.lines
        for row in np.flatnonzero(bad).tolist():
            report.lines = before + row + 1
            reason = next(reason for reason, mask in reasons.items() if mask[row])
            rejects.add(report.lines, reason, "\t".join(str(column[row].as_py()) for column in rows))
        report.lines = before + len(batch)
        kept = pa.array(~bad)
        rows = [column.filter(kept) for column in rows]
        events.add_columns(rows)
        report.kept += len(rows[0])
        category = find_category(texts)
        if category is not None:
            report.note("no category", rows[category].null_count)


def _normalise(
    batch: Any, columns: ColumnsConfig, texts: Mapping[str, str], unit: TimeUnit, nulls: NullValues
) -> tuple[list[Any], dict[str, Mask]]:
    """The batch as events, and where a row cannot be used, by the first reason that holds."""
    users, broken_users = take_text(batch.column(columns.user))
    items, broken_items = take_text(batch.column(columns.item))
    timestamps, too_large = _take_timestamps(batch.column(columns.timestamp))
    others = {name: take_text(batch.column(name)) for name in texts.values()}
    values = [drop_null_values(text, nulls) for text, _ in others.values()]
    nul = [_mask(pc.match_substring(column, "\0")) for column in (users, items, *values)]
    reasons = {
        "no user": _mask(pc.or_(pc.is_null(users), find_null_values(users, nulls))),
        "no item": _mask(pc.or_(pc.is_null(items), find_null_values(items, nulls))),
        "timestamp too large": too_large,
        "no timestamp": _mask(pc.is_null(timestamps)),
        "invalid UTF-8": np.logical_or.reduce([broken_users, broken_items, *(broken for _, broken in others.values())]),
        "NUL character": np.logical_or.reduce(nul),
        "empty user": _mask(pc.equal(users, "")),
        "empty item": _mask(pc.equal(items, "")),
        "negative timestamp": _mask(pc.less(timestamps, 0)),
        **_find_other_units(batch.column(columns.timestamp).type, timestamps, unit),
    }
    rows = [users, items, timestamps]
    if columns.label is not None:
        labels, of_labels = _take_labels(batch.column(columns.label), nulls)
        reasons |= of_labels
        rows.append(labels)
    return [*rows, *values], reasons


def read_batches(path: Path, wanted: Mapping[str, str], progress: Progress) -> Iterator[Any]:
    """Yield record batches of the wanted columns (dotted config key -> column name).

    Raises:
        DataError: where the file is damaged, or a column is missing or of a type that will not do.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            places = find_columns(wanted, schema.names, path, "Parquet")
            _check_types({key: schema.field(place) for key, place in places.items()}, path)
            size, done, reported = path.stat().st_size, 0, 0
            names = list(dict.fromkeys(schema.names[place] for place in places.values()))
            for batch in file.iter_batches(BATCH_ROWS, columns=names):
                yield batch
                done += len(batch)
                progress(size * done // max(rows, 1) - reported)
                reported = size * done // max(rows, 1)
            progress(size - reported)
    except (pa.ArrowException, OSError) as error:
        what = (str(error).splitlines() or ["no reason given"])[0]
        raise DataError(f"{path}: cannot be read as Parquet ({what}); fetch or write the file again") from None


def _take_unit(kind: Any, unit: TimeUnit, path: Path) -> None:
    """A column of type timestamp says its unit."""
    if not pa.types.is_timestamp(kind):
        return
    found = _UNITS[kind.unit]
    if unit.unit not in (None, found):
        raise DataError(
            f"{path}: mixed units of time ({found} here, {unit.unit} in the files before); write all files of the log "
            "with one unit"
        )
    unit.unit = found


def _find_other_units(kind: Any, timestamps: Any, unit: TimeUnit) -> dict[str, Mask]:
    """Numbers have a unit by their size; a column of type timestamp has one of its own, whatever the size."""
    if pa.types.is_timestamp(kind):
        return {}
    return unit.find_other(pc.fill_null(timestamps, 0).to_numpy(zero_copy_only=False))


def _check_types(fields: dict[str, Any], path: Path) -> None:
    problems = []
    for key, field in fields.items():
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        checks, expected = _EXPECTED.get(key, _TEXT if key.startswith("data.columns.") else _FIELD)
        if not any(check(kind) for check in checks):
            problems.append(
                f"{path}: {key}: column '{field.name}' is of type {field.type}, expected "
                f"{expected}; convert the column, or name another"
            )
    if problems:
        raise DataError(problems)


def take_text(column: Any) -> tuple[Any, Mask]:
    """A column as strings (numbers in decimals, NaN as null), and where its bytes were not UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
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


def _take_labels(column: Any, nulls: NullValues) -> tuple[Any, dict[str, Mask]]:
    """int8 labels, and where there is none, by reason; the same values are labels as in text."""
    distinct = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    labels: list[int | None] = []
    reasons: list[str | None] = []
    for value in [*distinct.dictionary.to_pylist(), None]:
        text = "" if value is None or value != value or value in nulls else str(value)
        try:
            labels.append(LabelRule().parse(text))
            reasons.append(None)
        except BadLine as bad:
            labels.append(None)
            reasons.append(bad.reason)
    places = pc.fill_null(distinct.indices, len(labels) - 1).to_numpy(zero_copy_only=False)
    found = np.array(reasons, object)[places]
    masks = {reason: np.asarray(found == reason, bool) for reason in dict.fromkeys(reasons) if reason is not None}
    return pa.array(labels, pa.int8()).take(pa.array(places)), masks


def _mask(column: Any) -> Mask:
    """Nulls are False."""
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)
