"""Rows to score, in raw ids -> samples as a model takes them; a row that cannot be used says why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.errors import ConfigError
from din_train.logs.records import MAX_TIMESTAMP, parse_timestamp
from din_train.logs.rejects import BadLine
from din_train.logs.row_files import Chunk
from din_train.logs.table_parquet import take_text
from din_train.logs.time_unit import TICKS, to_unix_seconds
from din_train.samples.names import read_names
from din_train.samples.raw_ids import RawIds
from din_train.samples.request_columns import RequestColumns
from din_train.samples.store import PreparedData, Samples
from din_train.samples.stored_histories import StoredHistories
from din_train.samples.time_fields import compute_time_field

_PLAIN_TIMESTAMP = r"\A[0-9]{1,18}\z"  # 18 digits always fit int64
_ARROW_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Requests:
    """The good rows of a chunk as samples, and the others.

    rows: [G] places of the good rows in the chunk. samples: [G], their labels all 0.
    event_item_ids: what the samples' histories are slices of. bad: place -> reason.
    """

    rows: NDArray[np.int64]
    samples: Samples
    event_item_ids: NDArray[np.int32]
    bad: dict[int, str]


@dataclass(frozen=True)
class _Histories:
    """[S] history_start, history_length, and whether the row's history is broken; newest: event row, or -1."""

    start: NDArray[np.int64]
    length: NDArray[np.int32]
    newest: NDArray[np.int64]
    event_item_ids: NDArray[np.int32]
    broken: Mask


@dataclass(frozen=True)
class RequestParser:
    """Knows a data set's raw ids and its users' events; built once for a file.

    context: field -> its values.
    """

    columns: RequestColumns
    data: PreparedData
    max_history_length: int
    users: RawIds
    items: RawIds
    context: Mapping[str, RawIds]
    stored: StoredHistories

    @classmethod
    def of(cls, data: PreparedData, columns: RequestColumns, max_history_length: int) -> Self:
        """
        Raises:
            ConfigError: where histories are to end at a time, and the data set has no times.
        """
        stored = StoredHistories.of(data)
        if columns.timestamp is not None and columns.history is None and stored.times is None:
            raise ConfigError(
                f"--columns timestamp={columns.timestamp}: {data.folder} has no times, so no history ends before one; "
                "give a history column, or score with the whole stored histories: --columns timestamp="
            )
        names = read_names(data.folder)
        return cls(
            columns=columns,
            data=data,
            max_history_length=max_history_length,
            users=RawIds(names.users.to_pylist()),
            items=RawIds(names.items.to_pylist()),
            context={name: RawIds(names.values(name)) for name in columns.context},
            stored=stored,
        )

    def parse(self, chunk: Chunk) -> Requests:
        """The chunk's rows; an unknown user has no stored events, an unknown item or value the unknown id."""
        size = chunk.table.num_rows
        reasons: dict[str, Mask] = {}
        users = self._take_ids(chunk, self.columns.user, "user", reasons)
        items = self._take_ids(chunk, self.columns.item, "item", reasons)
        seconds, of_times = self._take_seconds(chunk)
        reasons |= of_times
        user_ids = self.users.find(users)
        histories = self._find_histories(chunk, user_ids, seconds)
        reasons["empty id in history"] = histories.broken
        bad = dict(chunk.broken)
        for reason, mask in reasons.items():
            bad |= {place: reason for place in np.flatnonzero(mask).tolist() if place not in bad}
        rows = np.setdiff1d(np.arange(size), np.fromiter(bad, np.int64, len(bad)))
        samples = Samples(
            user_ids=user_ids,
            target_item_ids=self.items.find(items),
            history_start=histories.start,
            history_length=histories.length,
            labels=np.zeros(size, np.int8),
            context=self._find_context(chunk, seconds, histories.newest),
        )
        return Requests(rows, samples.take(rows), histories.event_item_ids, dict(sorted(bad.items())))

    def _take_ids(self, chunk: Chunk, name: str, role: str, reasons: dict[str, Mask]) -> Any:
        texts, broken = take_text(_column(chunk, name))
        reasons[f"no {role}"] = _mask(pc.is_null(texts))
        reasons[f"empty {role}"] = _mask(pc.equal(texts, ""))
        reasons[f"{role} not UTF-8"] = broken
        return texts

    def _take_seconds(self, chunk: Chunk) -> tuple[NDArray[np.int64] | None, dict[str, Mask]]:
        """[S] times as the stored events have them (0 where a row has none), and where a row's will not do."""
        if self.columns.timestamp is None:
            return None, {}
        column = _column(chunk, self.columns.timestamp)
        values, reasons = _take_numbers(column)
        reasons["negative timestamp"] = reasons.get("negative timestamp", values < 0) | (values < 0)
        if pa.types.is_timestamp(column.type):
            if not self.stored.in_unix_seconds:
                raise ConfigError(
                    f"--columns timestamp={self.columns.timestamp}: of type {column.type}, but the times in "
                    f"{self.data.folder} are no unix times; give them in the log's own numbers"
                )
            return values // TICKS[_ARROW_UNITS[column.type.unit]], reasons
        if self.stored.in_unix_seconds:
            values, reasons["timestamp in no unit of unix times"] = to_unix_seconds(values)
        return values, reasons

    def _find_histories(self, chunk: Chunk, user_ids: NDArray[np.int32], seconds: Any) -> _Histories:
        if self.columns.history is not None:
            return self._take_histories(_column(chunk, self.columns.history))
        ends = self.stored.find_ends(user_ids, seconds)
        lengths = ends - self.stored.starts[user_ids]
        kept = np.minimum(lengths, self.max_history_length)
        newest = np.where(lengths > 0, ends - 1, -1)
        no_row = np.zeros(len(user_ids), bool)
        return _Histories(ends - kept, kept.astype(np.int32), newest, self.data.event_item_ids, no_row)

    def _take_histories(self, column: Any) -> _Histories:
        """Histories as given, oldest first: their newest `max_history_length` ids."""
        if not _is_list(column.type):
            texts, _ = take_text(column)
            texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
            column = pc.split_pattern(texts, "^")
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        raw, not_text = take_text(pc.list_flatten(column))
        of_row = np.repeat(np.arange(len(lengths)), lengths)
        broken = np.zeros(len(lengths), bool)
        broken[of_row[_mask(pc.is_null(raw)) | _mask(pc.equal(raw, "")) | not_text]] = True
        kept = np.minimum(lengths, self.max_history_length)
        start = np.cumsum(lengths) - kept
        none = np.full(len(lengths), -1, np.int64)
        return _Histories(start, kept.astype(np.int32), none, self.items.find(raw), broken)

    def _find_context(self, chunk: Chunk, seconds: Any, newest: NDArray[np.int64]) -> dict[str, NDArray[np.int32]]:
        context = {name: ids.find(take_text(_column(chunk, name))[0]) for name, ids in self.context.items()}
        times = self.stored.times
        for name in self.columns.time_fields:
            last = np.full(len(newest), -1) if times is None else np.where(newest >= 0, times[newest], -1)
            context[name] = compute_time_field(name, seconds, last)
        return {name: context[name] for name in self.data.context_fields}


def _column(chunk: Chunk, name: str) -> Any:
    column = chunk.table[name].combine_chunks()
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _take_numbers(column: Any) -> tuple[NDArray[np.int64], dict[str, Mask]]:
    """Whole numbers (0 where there is none), and where there is none."""
    reasons = {"no timestamp": _mask(pc.is_null(column))}
    if pa.types.is_integer(column.type) or pa.types.is_timestamp(column.type):
        if pa.types.is_uint64(column.type):
            beyond = pc.greater(column, pa.scalar(MAX_TIMESTAMP, pa.uint64()))
            reasons["timestamp too large"] = _mask(beyond)
            column = pc.if_else(beyond, None, column)
        return pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), reasons
    texts = column.cast(pa.string())
    reasons["no timestamp"] |= _mask(pc.equal(texts, ""))
    plain = pc.fill_null(pc.match_substring_regex(texts, _PLAIN_TIMESTAMP), False)
    values = pc.if_else(plain, texts, "0").cast(pa.int64()).to_numpy(zero_copy_only=False).copy()
    for place in np.flatnonzero(~_mask(plain) & ~reasons["no timestamp"]).tolist():
        try:
            values[place] = parse_timestamp(texts[place].as_py())
        except BadLine as bad:
            reasons.setdefault(bad.reason, np.zeros(len(texts), bool))[place] = True
    return values, reasons


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _mask(column: Any) -> Mask:
    """Nulls are False."""
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)
