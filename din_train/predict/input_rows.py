"""Rows to score, in raw ids -> samples as a model takes them; a row that cannot be used says why."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.dataset.names import read_names
from din_train.dataset.store import NO_EVENT, PreparedData, Samples
from din_train.dataset.stored_histories import StoredHistories
from din_train.dataset.time_fields import compute_time_field
from din_train.dataset.time_range import Moments
from din_train.dataset.vocabulary import UNKNOWN_ID, RawIds
from din_train.errors import ConfigError
from din_train.logs.history_text import BROKEN_LIST
from din_train.logs.records import MAX_TIMESTAMP, NullValues, drop_null_values, find_null_values, parse_timestamp
from din_train.logs.rejects import BadLine
from din_train.logs.row_files import Chunk
from din_train.logs.table_parquet import take_text
from din_train.logs.time_unit import FIRST_UNIX_SECOND, TICKS, find_unix_times, to_unix_seconds
from din_train.predict.input_columns import SEPARATOR, RequestColumns
from din_train.predict.stored_rows import StoredRows

_PLAIN_TIMESTAMP = r"\A[0-9]{1,18}\z"  # 18 digits always fit int64
_ARROW_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

# A counter this many times the log's last one counts something else.
_FAR_BEYOND = 100

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Match:
    """Of `given` values of a column, `unknown` are not in the data set; example: the first such one."""

    given: int = 0
    unknown: int = 0
    example: str | None = None

    def add(self, other: "Match") -> "Match":
        """The sum."""
        return Match(self.given + other.given, self.unknown + other.unknown, self.example or other.example)


@dataclass(frozen=True)
class Requests:
    """The good rows of a chunk as samples, and the others.

    rows: [G] places of the good rows in the chunk. samples: [G], their labels all 0.
    event_item_ids: what the samples' histories are slices of. bad: place -> reason.
    matches: what of the good rows is known, by role (`user`, `item`, `history`, `timestamp`, or a context field).
    at_stored_time: [G] whether the user has a stored event at the row's own time, which is in no history.
    """

    rows: NDArray[np.int64]
    samples: Samples
    event_item_ids: NDArray[np.int32]
    bad: dict[int, str]
    matches: dict[str, Match]
    at_stored_time: Mask


@dataclass(frozen=True)
class _Histories:
    """[S] history_start, history_length; newest: event row, or -1.

    broken: reason -> [S] rows whose history will not do. given, unknown: [S] ids of a history that the file gives.
    misread: [S] whether an unknown id falls into known ones at some other separator.
    """

    start: NDArray[np.int64]
    length: NDArray[np.int32]
    newest: NDArray[np.int64]
    event_item_ids: NDArray[np.int32]
    broken: Mapping[str, Mask] = field(default_factory=dict)
    given: NDArray[np.int64] | None = None
    unknown: NDArray[np.int64] | None = None
    misread: Mask | None = None


@dataclass(frozen=True)
class RequestParser:
    """Knows a data set's raw ids and its users' events; built once for a file.

    context: field -> its values. first, last: of the stored times; None where there are none.
    """

    columns: RequestColumns
    data: PreparedData
    max_history_length: int
    users: RawIds
    items: RawIds
    context: Mapping[str, RawIds]
    stored: StoredHistories
    stored_rows: StoredRows | None
    first: int | None
    last: int | None

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
        names = read_names(data)
        return cls(
            columns=columns,
            data=data,
            max_history_length=max_history_length,
            users=RawIds(names.users.to_pylist()),
            items=RawIds(names.items.to_pylist()),
            context={name: RawIds(names.values(name)) for name in columns.context},
            stored=stored,
            stored_rows=None if columns.event is None else StoredRows.of(data, max_history_length),
            first=None if stored.times is None or not len(stored.times) else int(stored.times.min()),
            last=None if stored.times is None or not len(stored.times) else int(stored.times.max()),
        )

    @property
    def _nulls(self) -> NullValues:
        return self.columns.history_format.nulls

    def parse(self, chunk: Chunk) -> Requests:
        """The chunk's rows; an unknown user has no stored events, an unknown item or value the unknown id."""
        size = chunk.table.num_rows
        reasons: dict[str, Mask] = {}
        users = self._take_ids(chunk, self.columns.user, "user", reasons)
        items = self._take_ids(chunk, self.columns.item, "item", reasons)
        seconds, of_times = self._take_seconds(chunk)
        reasons |= of_times
        user_ids = self.users.find(users)
        places, of_events = self._find_stored_rows(chunk, user_ids)
        reasons |= of_events
        histories = self._find_histories(chunk, user_ids, seconds, places)
        reasons |= histories.broken
        bad = dict(chunk.broken)
        for reason, mask in reasons.items():
            bad |= {place: reason for place in np.flatnonzero(mask).tolist() if place not in bad}
        rows = np.setdiff1d(np.arange(size), np.fromiter(bad, np.int64, len(bad)))
        item_ids, values = self.items.find(items), self._take_context(chunk)
        samples = Samples(
            user_ids=user_ids,
            target_item_ids=item_ids,
            history_start=histories.start,
            history_length=histories.length,
            labels=np.zeros(size, np.int8),
            events=np.full(size, NO_EVENT),
            context=self._find_context(values, seconds, histories.newest, places),
        )
        texts = {"user": (users, user_ids), "item": (items, item_ids)}
        texts |= {name: (text, samples.context[name]) for name, text in values.items()}
        matches = {role: _match(text, ids == UNKNOWN_ID, rows) for role, (text, ids) in texts.items()}
        if seconds is not None and self.columns.timestamp is not None:
            times = take_text(_column(chunk, self.columns.timestamp).cast(pa.string()))[0]
            matches["timestamp"] = _match(times, self._find_misplaced(seconds), rows)
        if self.columns.history is not None and histories.given is not None and histories.unknown is not None:
            given, unknown = histories.given[rows], histories.unknown[rows]
            none_known = np.flatnonzero((unknown == given) & (given > 0))
            column = _column(chunk, self.columns.history)
            example = str(column[int(rows[none_known[0]])].as_py()) if len(none_known) else None
            matches["history"] = Match(int(given.sum()), int(unknown.sum()), example)
            if histories.misread is not None:
                misread = rows[histories.misread[rows]]
                example = str(column[int(misread[0])].as_py()) if len(misread) else None
                matches[SEPARATOR] = Match(int(np.sum(given > 0)), len(misread), example)
        tied = np.zeros(size, np.bool_)
        if seconds is not None and self.columns.history is None:
            tied = self.stored.has_event_at(user_ids, seconds)
        return Requests(
            rows, samples.take(rows), histories.event_item_ids, dict(sorted(bad.items())), matches, tied[rows]
        )

    def describe_unmatched(self, role: str, given: int, unknown: int, example: str | None) -> tuple[str, str]:
        """What to say of a file of which too little is known, and what to do."""
        folder, separator = self.data.folder, repr(self.columns.history_format.separator)
        if role == "timestamp" and self.first is not None and self.last is not None:
            moments = Moments(self.first, self.last, self.stored.in_unix_seconds)
            return (
                f"none of {given:,} times fits those in {folder}, which go {moments}: the first is {example!r}",
                "give times as the log has them, or leave them out with --columns timestamp=",
            )
        index = self.context.get(role, self.users if role == "user" else self.items)
        known = repr(index.first)
        if role == "history":
            return (
                f"none of {given:,} ids in its histories is known: a history is {example!r}, an item in {folder} is "
                f"{known} (a history is a list, or ids joined by {separator})",
                "give --history-separator, or write the ids as the log has them",
            )
        if role == SEPARATOR:
            return (
                f"{unknown:,} of {given:,} histories are joined by something else than {separator}, such as "
                f"{example!r}",
                "give --history-separator, or write all of them alike",
            )
        return (
            f"none of {given:,} values of the {role} is known: the file has {example!r}, {folder} has {known}",
            "they are compared as text: write them alike, check --columns",
        )

    def _find_misplaced(self, seconds: NDArray[np.int64]) -> Mask:
        """[S] times that are of another kind than the log's, or before every event that a history could hold."""
        if self.first is None or self.last is None:
            return np.zeros(len(seconds), bool)
        if self.stored.in_unix_seconds:
            other_kind = seconds < FIRST_UNIX_SECOND
        else:
            other_kind = find_unix_times(seconds) | (seconds > _FAR_BEYOND * max(self.last, 1))
        no_history: Mask = seconds <= self.first
        return other_kind if self.columns.history is not None else other_kind | no_history

    def _take_ids(self, chunk: Chunk, name: str, role: str, reasons: dict[str, Mask]) -> Any:
        texts, broken = take_text(_column(chunk, name))
        no_id = pc.or_(pc.is_null(texts), pc.fill_null(find_null_values(texts, self._nulls), False))
        reasons[f"no {role}"] = _mask(no_id)
        reasons[f"empty {role}"] = _mask(pc.equal(texts, ""))
        reasons[f"{role} not UTF-8"] = broken
        return texts

    def _take_seconds(self, chunk: Chunk) -> tuple[NDArray[np.int64] | None, dict[str, Mask]]:
        """[S] times as the stored events have them (0 where a row has none), and where a row's will not do."""
        if self.columns.timestamp is None:
            return None, {}
        column = _column(chunk, self.columns.timestamp)
        values, reasons = _take_numbers(column, self._nulls)
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

    def _find_stored_rows(
        self, chunk: Chunk, user_ids: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64] | None, dict[str, Mask]]:
        """[S] places in `stored_rows`, and where a row's number will not do; None where the file has no numbers."""
        if self.columns.event is None or self.stored_rows is None:
            return None, {}
        numbers, reasons = _take_numbers(_column(chunk, self.columns.event), self._nulls, "event")
        places, found = self.stored_rows.find(numbers)
        missing = ~found & ~np.logical_or.reduce(list(reasons.values()))
        reasons["no sample of that event"] = missing
        if len(self.stored_rows.events):
            reasons["event of another user"] = found & (self.stored_rows.user_ids[places] != user_ids)
        return places, reasons

    def _find_histories(
        self, chunk: Chunk, user_ids: NDArray[np.int32], seconds: Any, places: NDArray[np.int64] | None
    ) -> _Histories:
        if places is not None and self.stored_rows is not None:
            start, length = self.stored_rows.history_start, self.stored_rows.history_length
            none = np.full(len(user_ids), -1, np.int64)
            return _Histories(start[places], length[places], none, self.data.event_item_ids)
        if self.columns.history is not None:
            return self._take_histories(_column(chunk, self.columns.history))
        ends = self.stored.find_ends(user_ids, seconds)
        lengths = ends - self.stored.starts[user_ids]
        kept = np.minimum(lengths, self.max_history_length)
        newest = np.where(lengths > 0, ends - 1, -1)
        return _Histories(ends - kept, kept.astype(np.int32), newest, self.data.event_item_ids)

    def _take_histories(self, column: Any) -> _Histories:
        """Histories as given, oldest first: their newest `max_history_length` ids."""
        broken = {}
        if not _is_list(column.type):
            column, broken[BROKEN_LIST] = self.columns.history_format.split_column(take_text(column)[0])
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        raw, not_text = take_text(pc.list_flatten(column))
        raw = drop_null_values(raw, self._nulls)
        of_row = np.repeat(np.arange(len(lengths)), lengths)
        broken["empty id in history"] = np.zeros(len(lengths), bool)
        broken["empty id in history"][of_row[_mask(pc.is_null(raw)) | not_text]] = True
        ids = self.items.find(raw)
        unknown = np.bincount(of_row[ids == UNKNOWN_ID], minlength=len(lengths)).astype(np.int64)
        kept = np.minimum(lengths, self.max_history_length)
        start = np.cumsum(lengths) - kept
        none = np.full(len(lengths), -1, np.int64)
        misread = None
        if BROKEN_LIST in broken:
            misread = np.bincount(of_row[self._find_joined(raw, ids == UNKNOWN_ID)], minlength=len(lengths)) > 0
        return _Histories(start, kept.astype(np.int32), none, ids, broken, lengths, unknown, misread)

    def _find_joined(self, raw: Any, unknown: Mask) -> Mask:
        """[ids] unknown ids that are known ones, joined by something that is no letter or digit."""
        odd = unknown & _mask(pc.match_substring_regex(raw, r"[^0-9A-Za-z]"))
        texts = pc.unique(raw.filter(pa.array(odd))).to_pylist()
        parts = [
            (text, [part.strip() for part in text.split(mark) if part.strip()])
            for text in texts
            for mark in set(re.sub(r"[0-9A-Za-z]", "", text))
        ]
        known = self.items.find(pa.array([part for _, each in parts for part in each], pa.string())) != UNKNOWN_ID
        ends = np.cumsum([len(each) for _, each in parts], dtype=np.int64)
        joined = [
            text
            for (text, each), end in zip(parts, ends.tolist(), strict=True)
            if len(each) > 1 and known[end - len(each) : end].all()
        ]
        return odd & _mask(pc.is_in(raw, value_set=pa.array(joined, pa.string())))

    def _take_context(self, chunk: Chunk) -> dict[str, Any]:
        """Context fields that are columns, as text; null where there is no value."""
        return {name: drop_null_values(take_text(_column(chunk, name))[0], self._nulls) for name in self.context}

    def _find_context(
        self, values: Mapping[str, Any], seconds: Any, newest: NDArray[np.int64], places: NDArray[np.int64] | None
    ) -> dict[str, NDArray[np.int32]]:
        if places is not None and self.stored_rows is not None:
            return {name: ids[places] for name, ids in self.stored_rows.context.items()}
        context = {name: ids.find(values[name]) for name, ids in self.context.items()}
        times = self.stored.times
        for name in self.columns.time_fields:
            last = np.full(len(newest), -1) if times is None else np.where(newest >= 0, times[newest], -1)
            context[name] = compute_time_field(name, seconds, last)
        return {name: context[name] for name in self.data.context_fields}


def _match(texts: Any, unknown: Mask, rows: NDArray[np.int64]) -> Match:
    """Of the texts at `rows` that are there, those that are unknown."""
    there = texts.is_valid().to_numpy(zero_copy_only=False)[rows]
    lost = np.flatnonzero(there & unknown[rows])
    return Match(int(there.sum()), len(lost), texts[int(rows[lost[0]])].as_py() if len(lost) else None)


def _column(chunk: Chunk, name: str) -> Any:
    column = chunk.table[name].combine_chunks()
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _take_numbers(column: Any, nulls: NullValues, role: str = "timestamp") -> tuple[NDArray[np.int64], dict[str, Mask]]:
    """Whole numbers (0 where there is none), and where there is none."""
    reasons = {f"no {role}": _mask(pc.is_null(column))}
    if pa.types.is_integer(column.type) or pa.types.is_timestamp(column.type):
        if pa.types.is_uint64(column.type):
            beyond = pc.greater(column, pa.scalar(MAX_TIMESTAMP, pa.uint64()))
            reasons[f"{role} too large"] = _mask(beyond)
            column = pc.if_else(beyond, None, column)
        return pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), reasons
    texts = column.cast(pa.string())
    reasons[f"no {role}"] |= _mask(pc.is_null(drop_null_values(texts, nulls)))
    plain = pc.fill_null(pc.match_substring_regex(texts, _PLAIN_TIMESTAMP), False)
    values = pc.if_else(plain, texts, "0").cast(pa.int64()).to_numpy(zero_copy_only=False).copy()
    for place in np.flatnonzero(~_mask(plain) & ~reasons[f"no {role}"]).tolist():
        try:
            values[place] = parse_timestamp(texts[place].as_py())
        except BadLine as bad:
            reason = bad.reason.replace("timestamp", role)
            reasons.setdefault(reason, np.zeros(len(texts), bool))[place] = True
    return values, reasons


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _mask(column: Any) -> Mask:
    """Nulls are False."""
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)
