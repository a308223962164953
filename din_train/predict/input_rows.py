"""Rows to score, in raw ids, become samples as a model takes them; a row that cannot be used says why."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.dataset.names import read_names
from din_train.dataset.protocols import SPLITS
from din_train.dataset.store import NO_EVENT, PreparedData, Samples
from din_train.dataset.stored_histories import StoredHistories
from din_train.dataset.time_fields import compute_time_field
from din_train.dataset.time_range import Moments
from din_train.dataset.vocabulary import UNKNOWN_ID, RawIds
from din_train.errors import ConfigError
from din_train.logs.expressions import INVALID_UTF8, NUL, Mask, Reasons, flatten, is_list, take_ids, take_text, to_mask
from din_train.logs.history_text import BROKEN_LIST
from din_train.logs.records import NullValues, drop_null_values
from din_train.logs.row_files import Chunk
from din_train.logs.time_unit import FIRST_UNIX_SECOND, find_unix_times
from din_train.logs.times import read_numbers, read_unix_seconds
from din_train.predict.input_columns import SEPARATOR, InputColumns

# A counter this many times the log's last one counts something else.
_FAR_BEYOND = 100

Ints = NDArray[np.int64]

# How many values of a column are given, how many of these are unknown, and an unknown one as an example.
Match = tuple[int, int, str | None]


@dataclass(frozen=True)
class InputRows:
    """The G good rows of a chunk as samples, and the others.

    rows: [G] places of the good rows in the chunk. samples: [G], their labels all 0.
    event_item_ids: what the samples' histories are slices of. bad: place -> reason.
    matches: what is known of the good rows, by role (`user`, `item`, `history`, `timestamp`, or a context field).
    at_stored_time: good rows whose user has a stored event at the row's own time, which is in no history.
    """

    rows: Ints
    samples: Samples
    event_item_ids: NDArray[np.int32]
    bad: dict[int, str]
    matches: dict[str, Match]
    at_stored_time: int


@dataclass(frozen=True)
class _Histories:
    """[S] start and length of each row's slice of `event_item_ids`.

    Of histories that the file gives, [S] also how many ids each has, how many of them are unknown, and whether an
    unknown one falls into known ones at another separator (None if the file has lists).
    """

    start: Ints
    length: NDArray[np.int32]
    event_item_ids: NDArray[np.int32]
    given: Ints | None = None
    unknown: Ints | None = None
    misread: Mask | None = None


class InputParser:
    """Knows a data set's raw ids and its users' events; built once for a file.

    Raises:
        ConfigError: if histories are to end at a time, and the data set has no times.
    """

    def __init__(self, data: PreparedData, columns: InputColumns, max_history_length: int) -> None:
        stored = StoredHistories.of(data)
        if columns.timestamp is not None and columns.history is None and stored.times is None:
            raise ConfigError(
                f"--columns timestamp={columns.timestamp}: {data.folder} has no times, so no history ends before one; "
                "give a history column, or score with the whole stored histories: --columns timestamp="
            )
        names = read_names(data)
        self.data, self.columns, self.max_history_length = data, columns, max_history_length
        self._users, self._items = RawIds(names.users.to_pylist()), RawIds(names.items.to_pylist())
        self._context = {name: RawIds(names.values(name)) for name in columns.context}
        self._stored = stored
        self._of_events = None if columns.event is None else _join_by_event(data, max_history_length)
        self._moments = _find_moments(stored)
        self._nulls: NullValues = columns.history_format.nulls

    def parse(self, chunk: Chunk) -> InputRows:
        """Parse a chunk; an unknown user has no stored events, an unknown item or value has the unknown id."""
        columns, size = self.columns, chunk.table.num_rows
        reasons: Reasons = {}
        texts = {role: self._take_ids(chunk, role, reasons) for role in ("user", "item")}
        user_ids, item_ids = self._users.find(texts["user"]), self._items.find(texts["item"])
        seconds = self._take_seconds(chunk, reasons)
        of_events = self._take_events(chunk, user_ids, reasons)
        if of_events is not None:
            histories = _Histories(of_events.history_start, of_events.history_length, self.data.event_item_ids)
        elif columns.history is not None:
            histories = self._take_histories(_take_column(chunk, columns.history), reasons)
        else:
            histories = self._find_histories(user_ids, seconds)
        for name in self._context:
            texts[name] = drop_null_values(take_text(_take_column(chunk, name))[0], self._nulls)
        context = self._find_context(texts, seconds, histories) if of_events is None else of_events.context
        samples = Samples(
            user_ids=user_ids,
            target_item_ids=item_ids,
            history_start=histories.start,
            history_length=histories.length,
            labels=np.zeros(size, np.int8),
            events=np.full(size, NO_EVENT),
            context={name: context[name] for name in self.data.context_fields},
        )
        bad = dict(chunk.broken)
        for reason, mask in reasons.items():
            for place in np.flatnonzero(mask).tolist():
                bad.setdefault(place, reason)
        rows = np.setdiff1d(np.arange(size), np.fromiter(bad, np.int64, len(bad)))
        at_stored_time = 0
        if seconds is not None and columns.history is None:
            at_stored_time = int(self._stored.has_event_at(user_ids, seconds)[rows].sum())
        return InputRows(
            rows=rows,
            samples=samples.take(rows),
            event_item_ids=histories.event_item_ids,
            bad=dict(sorted(bad.items())),
            matches=self._count_matches(chunk, rows, texts, samples, seconds, histories),
            at_stored_time=at_stored_time,
        )

    def _count_matches(
        self,
        chunk: Chunk,
        rows: Ints,
        texts: Mapping[str, Any],
        samples: Samples,
        seconds: Ints | None,
        histories: _Histories,
    ) -> dict[str, Match]:
        columns = self.columns
        ids = {"user": samples.user_ids, "item": samples.target_item_ids, **samples.context}
        matches = {
            role: _count_known(text, to_mask(text.is_valid()), ids[role] == UNKNOWN_ID, rows)
            for role, text in texts.items()
        }
        if columns.timestamp is not None and seconds is not None:
            times = take_text(_take_column(chunk, columns.timestamp).cast(pa.string()))[0]
            matches["timestamp"] = _count_known(times, to_mask(times.is_valid()), self._find_misplaced(seconds), rows)
        if columns.history is not None and histories.given is not None and histories.unknown is not None:
            column = _take_column(chunk, columns.history)
            matches["history"] = _count_known(column, histories.given, histories.unknown, rows)
            if histories.misread is not None:
                matches[SEPARATOR] = _count_known(column, histories.given > 0, histories.misread, rows)
        return matches

    def describe_unmatched(self, role: str, given: int, unknown: int, example: str | None) -> tuple[str, str]:
        """What to say of a file of which too little is known, and what to do."""
        folder, separator = self.data.folder, repr(self.columns.history_format.separator)
        if role == "timestamp":
            return (
                f"none of {given:,} times fits those in {folder}, which go {self._moments}: the first is {example!r}",
                "give times as the log has them, or leave them out with --columns timestamp=",
            )
        known = repr(self._context.get(role, self._users if role == "user" else self._items).first)
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

    def _take_ids(self, chunk: Chunk, role: str, reasons: Reasons) -> Any:
        texts, of_ids = take_ids(_take_column(chunk, getattr(self.columns, role)), role, self._nulls)
        of_ids.pop(NUL)  # an id that no log has
        reasons |= {f"{role} not UTF-8" if reason == INVALID_UTF8 else reason: mask for reason, mask in of_ids.items()}
        return texts

    def _take_seconds(self, chunk: Chunk, reasons: Reasons) -> Ints | None:
        """[S] times as the stored events have them, 0 in a row that has none; None if the file has no times."""
        if self.columns.timestamp is None:
            return None
        column = _take_column(chunk, self.columns.timestamp)
        if self._stored.in_unix_seconds:
            seconds, of_times = read_unix_seconds(column, self.columns.times, self._nulls)
            reasons |= of_times
            return seconds
        if pa.types.is_temporal(column.type):
            raise ConfigError(
                f"--columns timestamp={self.columns.timestamp}: of type {column.type}, but the times in "
                f"{self.data.folder} are no unix times; give them in the log's own numbers"
            )
        return self._take_numbers(column, "timestamp", reasons)

    def _take_numbers(self, column: Any, role: str, reasons: Reasons) -> Ints:
        """[S] whole numbers; 0 in rows that have none."""
        values, of_numbers = read_numbers(column, role, self._nulls)
        reasons |= of_numbers
        return values

    def _find_misplaced(self, seconds: Ints) -> Mask:
        """[S] times that are of another kind than the log's, or before every event that a history could hold."""
        if self._moments is None:
            return np.zeros(len(seconds), bool)
        if self._moments.is_unix:
            misplaced = seconds < FIRST_UNIX_SECOND
        else:
            misplaced = find_unix_times(seconds) | (seconds > _FAR_BEYOND * max(self._moments.last, 1))
        if self.columns.history is None:
            misplaced |= seconds <= self._moments.first
        return misplaced

    def _take_events(self, chunk: Chunk, user_ids: NDArray[np.int32], reasons: Reasons) -> Samples | None:
        """[S] samples of the log's rows that the file names (any sample in a bad row); None if it names none."""
        if self.columns.event is None or self._of_events is None:
            return None
        numbers = self._take_numbers(_take_column(chunk, self.columns.event), "event", reasons)
        events = self._of_events.events
        places = np.searchsorted(events, numbers).clip(max=len(events) - 1)
        found = events[places] == numbers
        samples = self._of_events.take(places)
        reasons["no sample of that event"] = ~found
        reasons["event of another user"] = found & (samples.user_ids != user_ids)
        return samples

    def _find_histories(self, user_ids: NDArray[np.int32], seconds: Ints | None) -> _Histories:
        """Stored histories: the user's events before the row's time, or all of them."""
        ends = self._stored.find_ends(user_ids, seconds)
        kept = np.minimum(ends - self._stored.starts[user_ids], self.max_history_length)
        return _Histories(ends - kept, kept.astype(np.int32), self.data.event_item_ids)

    def _take_histories(self, column: Any, reasons: Reasons) -> _Histories:
        """Histories as given, oldest first: their newest `max_history_length` ids."""
        is_text = not is_list(column.type)
        if is_text:
            column, reasons[BROKEN_LIST] = self.columns.history_format.split_column(take_text(column)[0])
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        raw, not_text = take_text(pc.list_flatten(column))
        raw = drop_null_values(raw, self._nulls)
        of_row = np.repeat(np.arange(len(lengths)), lengths)

        def count(mask: Mask) -> Ints:
            return np.bincount(of_row[mask], minlength=len(lengths)).astype(np.int64)

        reasons["empty id in history"] = count(to_mask(pc.is_null(raw)) | not_text) > 0
        ids = self._items.find(raw)
        unknown = ids == UNKNOWN_ID
        misread = count(self._find_joined(raw, unknown)) > 0 if is_text else None
        kept = np.minimum(lengths, self.max_history_length)
        start = np.cumsum(lengths) - kept
        return _Histories(start, kept.astype(np.int32), ids, lengths, count(unknown), misread)

    def _find_joined(self, raw: Any, unknown: Mask) -> Mask:
        """[ids] unknown ids that are known ones, joined by something that is no letter or digit."""
        odd = unknown & to_mask(pc.match_substring_regex(raw, r"[^0-9A-Za-z]"))
        texts = pc.unique(raw.filter(pa.array(odd))).to_pylist()
        parts = [
            (text, [part.strip() for part in text.split(mark) if part.strip()])
            for text in texts
            for mark in set(re.sub(r"[0-9A-Za-z]", "", text))
        ]
        known = self._items.find(pa.array([part for _, each in parts for part in each], pa.string())) != UNKNOWN_ID
        ends = np.cumsum([len(each) for _, each in parts], dtype=np.int64)
        joined = [
            text
            for (text, each), end in zip(parts, ends.tolist(), strict=True)
            if len(each) > 1 and known[end - len(each) : end].all()
        ]
        return odd & to_mask(pc.is_in(raw, value_set=pa.array(joined, pa.string())))

    def _find_context(
        self, texts: Mapping[str, Any], seconds: Ints | None, histories: _Histories
    ) -> dict[str, NDArray[np.int32]]:
        context = {name: ids.find(texts[name]) for name, ids in self._context.items()}
        last = np.full(len(histories.start), -1, np.int64)
        if self._stored.times is not None and self.columns.history is None:
            filled = histories.length > 0
            last[filled] = self._stored.times[(histories.start + histories.length - 1)[filled]]
        if seconds is not None:
            context |= {name: compute_time_field(name, seconds, last) for name in self.columns.time_fields}
        return context


def _find_moments(stored: StoredHistories) -> Moments | None:
    """The first and the last stored time; None if there is none."""
    if stored.times is None or not len(stored.times):
        return None
    return Moments(int(stored.times.min()), int(stored.times.max()), stored.in_unix_seconds)


def _join_by_event(data: PreparedData, max_history_length: int) -> Samples:
    """One sample of each row of the log that has any, in the log's order."""
    splits = [data.samples(split, max_history_length) for split in SPLITS]

    def join(name: str) -> Any:
        return np.concatenate([getattr(each, name) for each in splits])

    samples = Samples(
        user_ids=join("user_ids"),
        target_item_ids=join("target_item_ids"),
        history_start=join("history_start"),
        history_length=join("history_length"),
        labels=join("labels"),
        events=join("events"),
        context={name: np.concatenate([each.context[name] for each in splits]) for name in data.context_fields},
    )
    return samples.take(np.unique(samples.events, return_index=True)[1])


def _count_known(column: Any, given: NDArray[Any], unknown: NDArray[Any], rows: Ints) -> Match:
    """Count over these rows of a column.

    Args:
        given, unknown: [S] how many values a row has, and how many of these are unknown.
    """
    unknown = np.where(given, unknown, 0)[rows]
    lost = np.flatnonzero(unknown)
    return int(given[rows].sum()), int(unknown.sum()), str(column[int(rows[lost[0]])].as_py()) if len(lost) else None


def _take_column(chunk: Chunk, name: str) -> Any:
    return flatten(chunk.table[name])
