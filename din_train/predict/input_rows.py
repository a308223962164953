"""Rows to score, in raw ids, become samples as a model takes them; a row that cannot be used says why."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.dataset.fields import IdFinder, NewItems
from din_train.dataset.names import build_id_finder, read_names
from din_train.dataset.protocols import SPLITS
from din_train.dataset.store import NO_EVENT, PreparedData, Samples, Slices
from din_train.dataset.stored_histories import StoredHistories
from din_train.dataset.time_fields import compute_time_field
from din_train.dataset.time_range import Moments
from din_train.dataset.vocabulary import UNKNOWN_ID, RawIds
from din_train.errors import ConfigError
from din_train.logs.expressions import NUL, Mask, flatten, is_list, take_ids, take_text, to_mask
from din_train.logs.records import NullValues, drop_null_values
from din_train.logs.rejects import INVALID_UTF8
from din_train.logs.row_files import Chunk
from din_train.logs.sequences import Lists, SequenceReader
from din_train.logs.time_unit import FIRST_UNIX_SECOND, find_unix_times
from din_train.logs.times import read_numbers, read_unix_seconds
from din_train.predict.input_columns import SEPARATOR, SEQUENCE, InputColumns
from din_train.predict.new_items import ItemsFile, NewItemReader, fill_in, join_items, take_rows

# A counter that is this many times the log's last one counts something else.
_FAR_BEYOND = 100

Ints = NDArray[np.int64]
# How many values of a column are given, how many of these are unknown, and an unknown one as an example.
Match = tuple[int, int, str | None]


@dataclass(frozen=True)
class InputRows:
    """The G good rows of a chunk as samples, and the others.

    rows: [G] places of the good rows in the chunk. samples: [G], their labels all 0.
    event_item_ids: the events that the samples' histories are slices of. bad: place -> reason.
    matches: what is known of the good rows, by role (`user`, `item`, `history`, `timestamp`, or a context field).
    at_stored_time: good rows whose user has a stored event at the row's own time, which is in no history.
    new_items: items that the data set does not know, whose ids follow those that it knows; None if there are none, or
    nothing is said of any. described_items, described_behaviours: good rows, and ids in the histories of good rows, of
    new items of which something is known. item_values: item field -> how many values the good rows of new items have in
    columns of their own, and how many of these are unknown.
    """

    rows: Ints
    samples: Samples
    event_item_ids: NDArray[np.int32]
    bad: dict[int, str]
    matches: dict[str, Match]
    at_stored_time: int
    new_items: NewItems | None
    described_items: int
    described_behaviours: int
    item_values: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class _Histories:
    """[S] start and length of each row's slice of `event_item_ids`."""

    start: Ints
    length: NDArray[np.int32]
    event_item_ids: NDArray[np.int32]


@dataclass(frozen=True)
class _Findings:
    """What is found while a chunk of S rows is parsed.

    reasons: reason -> [S] the rows that cannot be used; of several reasons a row has the first.
    counted: role -> [S] a column, how many values each of its rows has, and how many of these are unknown.
    item_values: item field -> [S] whether a row of a new item has a value, and [S] one that is unknown.
    described_behaviours: of each sequence [S] how many of its ids are new items of which something is known.
    """

    reasons: dict[str, Mask] = field(default_factory=dict)
    counted: dict[str, tuple[Any, NDArray[Any], NDArray[Any]]] = field(default_factory=dict)
    item_values: dict[str, tuple[Mask, Mask]] = field(default_factory=dict)
    described_behaviours: list[NDArray[Any]] = field(default_factory=list)

    def list_bad(self, broken: Mapping[int, str]) -> dict[int, str]:
        """Place -> reason, for rows that were broken before, too."""
        bad = dict(broken)
        for reason, mask in self.reasons.items():
            for place in np.flatnonzero(mask).tolist():
                bad.setdefault(place, reason)
        return dict(sorted(bad.items()))

    def count_matches(self, rows: Ints) -> dict[str, Match]:
        """Role -> match, over these rows."""
        matches: dict[str, Match] = {}
        for role, (column, given, unknown) in self.counted.items():
            unknown = np.where(given, unknown, 0)[rows]
            lost = rows[unknown > 0]
            example = str(column[int(lost[0])].as_py()) if len(lost) else None
            matches[role] = (int(given[rows].sum()), int(unknown.sum()), example)
        return matches


class InputParser:
    """Knows a data set's raw ids and its users' events; built once for a file.

    Args:
        items_file: describes items that the data set does not know; their ids follow those that it knows.

    Raises:
        ConfigError: if histories are to end at a time, and the data set has no times.
    """

    def __init__(
        self,
        data: PreparedData,
        columns: InputColumns,
        max_history_length: int,
        items_file: ItemsFile | None = None,
    ) -> None:
        stored = StoredHistories.of(data)
        if columns.timestamp is not None and columns.history is None and stored.times is None:
            raise ConfigError(
                f"--columns timestamp={columns.timestamp}: {data.folder} has no times, so no history ends before one; "
                "give a history column, or score with the whole stored histories: --columns timestamp="
            )
        names = read_names(data)
        self.data, self.columns, self.max_history_length = data, columns, max_history_length
        self._known: dict[str, IdFinder] = {
            "user": RawIds(names.users.to_pylist()),
            "item": RawIds([*names.items.to_pylist(), *(items_file.names if items_file else ())]),
            **{name: build_id_finder(data, names, name) for name in columns.context},
        }
        self._new_items = NewItemReader(data, names, tuple(columns.item_fields))
        self._items_file = items_file.items if items_file and items_file.names else None
        self._stored = stored
        self._log_rows = None if columns.event is None else _list_log_rows(data, max_history_length)
        self._nulls: NullValues = columns.history_reader.form.nulls
        self._moments = None
        if stored.times is not None and len(stored.times):
            self._moments = Moments(int(stored.times.min()), int(stored.times.max()), stored.in_unix_seconds)

    def parse(self, chunk: Chunk) -> InputRows:
        """Parse a chunk; an unknown user has no stored events, an unknown item or value has the unknown id."""
        columns, size, found = self.columns, chunk.table.num_rows, _Findings()
        user_ids, item_ids = (self._take_ids(chunk, role, found) for role in ("user", "item"))
        new_items, is_described = self._take_new_items(chunk, item_ids, found)
        context = {name: self._take_values(chunk, name, found) for name in columns.context}
        moments = seconds = self._take_seconds(chunk, found)
        if self._log_rows is not None:
            log_samples = self._take_log_rows(self._log_rows, chunk, user_ids, found)
            histories = _Histories(log_samples.history_start, log_samples.history_length, self.data.event_item_ids)
            context, moments = dict(log_samples.context), log_samples.timestamps
        elif columns.history is not None:
            histories = self._take_histories(chunk, found)
        else:
            histories = self._find_histories(user_ids, seconds)
        if self._log_rows is not None:
            sequences = log_samples.sequences
        else:
            histories, sequences = self._take_sequences(chunk, histories, found)
        if seconds is not None:
            last = self._find_last_times(histories)
            context |= {name: compute_time_field(name, seconds, last) for name in columns.time_fields}
        samples = Samples(
            user_ids=user_ids,
            target_item_ids=item_ids,
            history_start=histories.start,
            history_length=histories.length,
            labels=np.zeros(size, np.int8),
            events=np.full(size, NO_EVENT),
            context={name: context[name] for name in self.data.context_fields},
            timestamps=moments,
            sequences=sequences,
        )
        bad = found.list_bad(chunk.broken)
        rows = np.setdiff1d(np.arange(size), np.fromiter(bad, np.int64, len(bad)))
        at_stored_time = 0
        if seconds is not None and columns.history is None:
            at_stored_time = int(self._stored.has_event_at(user_ids, seconds)[rows].sum())
        return InputRows(
            rows=rows,
            samples=samples.take(rows),
            event_item_ids=histories.event_item_ids,
            bad=bad,
            matches=found.count_matches(rows),
            at_stored_time=at_stored_time,
            new_items=new_items,
            described_items=int(is_described[rows].sum()),
            described_behaviours=sum(int(each[rows].sum()) for each in found.described_behaviours),
            item_values={
                name: (int(given[rows].sum()), int(unknown[rows].sum()))
                for name, (given, unknown) in found.item_values.items()
            },
        )

    def describe_unmatched(self, role: str, given: int, unknown: int, example: str | None) -> tuple[str, str]:
        """What is wrong with a file whose values are unknown, and what to do."""
        folder, separator = self.data.folder, repr(self.columns.history_reader.form.separator)
        if role == "timestamp":
            return (
                f"none of {given:,} times fits those in {folder}, which go {self._moments}: the first is {example!r}",
                "give times as the log has them, or leave them out with --columns timestamp=",
            )
        of_items = role in ("history", SEPARATOR) or role.startswith(SEQUENCE)
        known = repr(self._known["item" if of_items else role].first)
        if role.startswith(SEQUENCE):
            return (
                f"none of {given:,} ids of {role} is known: a list is {example!r}, an item in {folder} is {known}",
                "write the ids as the log has them",
            )
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

    def _take_ids(self, chunk: Chunk, role: str, found: _Findings) -> NDArray[np.int32]:
        texts, of_ids = take_ids(_take_column(chunk, getattr(self.columns, role)), role, self._nulls)
        of_ids.pop(NUL)  # an id that no log has
        found.reasons.update(
            {f"{role} not UTF-8" if reason == INVALID_UTF8 else reason: mask for reason, mask in of_ids.items()}
        )
        return self._find_ids(texts, role, found)

    def _take_new_items(
        self, chunk: Chunk, item_ids: NDArray[np.int32], found: _Findings
    ) -> tuple[NewItems | None, Mask]:
        """What is said of unknown items, and [S] of which rows something is known; they get ids in `item_ids`.

        A row's own columns come before the file of items.
        """
        texts, valid, unknown = found.counted["item"]
        first, of_file = len(self.data.training_events), self._items_file
        is_described = item_ids >= first
        rows = np.flatnonzero(unknown | is_described)
        if not len(rows) or not self._new_items.has_facts:
            return of_file, is_described
        columns = {
            name: take_rows(self._take_field(chunk, column), rows) for name, column in self.columns.item_fields.items()
        }
        described = self._new_items.read(take_rows(texts, rows), columns)
        items = described.items
        if of_file is not None:
            items = join_items(of_file, fill_in(items, of_file, np.where(is_described, item_ids - first, -1)[rows]))
        is_described[rows] |= described.is_known
        item_ids[rows] = first + len(items.rows) - len(rows) + np.arange(len(rows), dtype=np.int32)
        found.counted["item"] = (texts, valid, unknown & ~is_described)
        for name, masks in described.counted.items():
            found.item_values[name] = (np.zeros(len(item_ids), bool), np.zeros(len(item_ids), bool))
            for mask, of_rows in zip(found.item_values[name], masks, strict=True):
                mask[rows] = of_rows
        return items, is_described

    def _take_field(self, chunk: Chunk, name: str) -> Any:
        """A column of texts, or of lists."""
        column = _take_column(chunk, name)
        return column if is_list(column.type) else drop_null_values(take_text(column)[0], self._nulls)

    def _take_values(self, chunk: Chunk, name: str, found: _Findings) -> NDArray[np.int32]:
        return self._find_ids(self._take_field(chunk, name), name, found)

    def _find_ids(self, texts: Any, role: str, found: _Findings) -> NDArray[np.int32]:
        ids = self._known[role].find(texts)
        found.counted[role] = (texts, to_mask(texts.is_valid()), ids.reshape(len(ids), -1)[:, 0] == UNKNOWN_ID)
        return ids

    def _take_seconds(self, chunk: Chunk, found: _Findings) -> Ints | None:
        """[S] times as the stored events have them, 0 in a row without one; None if the file has no times."""
        if self.columns.timestamp is None:
            return None
        column = _take_column(chunk, self.columns.timestamp)
        if self._stored.in_unix_seconds:
            values, of_times = read_unix_seconds(column, self.columns.times, self._nulls)
            found.reasons.update(of_times)
        elif pa.types.is_temporal(column.type):
            raise ConfigError(
                f"--columns timestamp={self.columns.timestamp}: of type {column.type}, but the times in "
                f"{self.data.folder} are no unix times; give them in the log's own numbers"
            )
        else:
            values = self._take_numbers(column, "timestamp", found)
        texts = take_text(column.cast(pa.string()))[0]
        found.counted["timestamp"] = (texts, to_mask(texts.is_valid()), self._find_misplaced(values))
        return values

    def _take_numbers(self, column: Any, role: str, found: _Findings) -> Ints:
        """[S] whole numbers; 0 in rows that have none."""
        values, of_numbers = read_numbers(column, role, self._nulls)
        found.reasons.update(of_numbers)
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

    def _take_log_rows(self, log_rows: Samples, chunk: Chunk, user_ids: NDArray[np.int32], found: _Findings) -> Samples:
        """[S] samples of the log's rows that the file names; any sample in a bad row."""
        numbers = self._take_numbers(_take_column(chunk, str(self.columns.event)), "event", found)
        places = np.searchsorted(log_rows.events, numbers).clip(max=len(log_rows) - 1)
        samples = log_rows.take(places)
        is_sample = samples.events == numbers
        found.reasons["no sample of that event"] = ~is_sample
        found.reasons["event of another user"] = is_sample & (samples.user_ids != user_ids)
        return samples

    def _find_histories(self, user_ids: NDArray[np.int32], seconds: Ints | None) -> _Histories:
        """Stored histories: the user's events before the row's time, or all of them."""
        ends = self._stored.find_ends(user_ids, seconds)
        kept = np.minimum(ends - self._stored.starts[user_ids], self.max_history_length)
        return _Histories(ends - kept, kept.astype(np.int32), self.data.event_item_ids)

    def _take_histories(self, chunk: Chunk, found: _Findings) -> _Histories:
        """Histories as given, oldest first: their newest `max_history_length` ids."""
        reader = self.columns.history_reader
        raw, slices, ids = self._take_lists(chunk, reader, "history", found)
        given, lengths, _ = found.counted["history"]
        if not (reader.is_numbered or is_list(given.type)):
            joined = self._find_joined(raw.values, ids == UNKNOWN_ID)
            found.counted[SEPARATOR] = (given, lengths > 0, raw.find_rows(joined))
        return _Histories(*slices, ids)

    def _take_sequences(
        self, chunk: Chunk, histories: _Histories, found: _Findings
    ) -> tuple[_Histories, dict[str, Slices]]:
        """The further sequences, whose ids stand after those of the histories, which the file gives as well."""
        sequences: dict[str, Slices] = {}
        for reader in self.columns.sequences:
            _, (start, length), ids = self._take_lists(chunk, reader, f"{SEQUENCE}{reader.name}", found)
            sequences[reader.name] = (len(histories.event_item_ids) + start, length)
            histories = replace(histories, event_item_ids=np.concatenate([histories.event_item_ids, ids]))
        return histories, sequences

    def _take_lists(
        self, chunk: Chunk, reader: SequenceReader, role: str, found: _Findings
    ) -> tuple[Lists, Slices, NDArray[np.int32]]:
        """Raw ids of a sequence, each row's newest `max_history_length` of them, and the ids that they have."""
        lists, reasons = reader.read(chunk.table, None)
        reasons.pop(NUL)  # an id that no log has
        for reason, mask in reasons.items():
            named = f"{reader.name} not UTF-8" if reason == INVALID_UTF8 else reason
            found.reasons[named] = found.reasons.get(named, np.zeros(len(mask), bool)) | mask
        raw = Lists(flatten(lists["item"].values), lists["item"].lengths)
        ids = self._known["item"].find(raw.values)
        rows = np.repeat(np.arange(len(raw.lengths)), raw.lengths)
        unknown = np.bincount(rows[ids == UNKNOWN_ID], minlength=len(raw.lengths))
        found.counted[role] = (_take_column(chunk, reader.columns["item"][0]), raw.lengths, unknown)
        is_new = ids >= len(self.data.training_events)
        found.described_behaviours.append(np.bincount(rows[is_new], minlength=len(raw.lengths)))
        kept = np.minimum(raw.lengths, self.max_history_length)
        return raw, (np.cumsum(raw.lengths) - kept, kept.astype(np.int32)), ids

    def _find_joined(self, raw: Any, unknown: Mask) -> Mask:
        """[ids] unknown ids that are known ones, joined by something other than letters and digits."""
        odd = unknown & to_mask(pc.match_substring_regex(raw, r"[^0-9A-Za-z]"))
        texts = pc.unique(raw.filter(pa.array(odd))).to_pylist()
        parts = [
            (text, [part.strip() for part in text.split(mark) if part.strip()])
            for text in texts
            for mark in set(re.sub(r"[0-9A-Za-z]", "", text))
        ]
        known = (
            self._known["item"].find(pa.array([part for _, each in parts for part in each], pa.string())) != UNKNOWN_ID
        )
        ends = np.cumsum([len(each) for _, each in parts], dtype=np.int64)
        joined = [
            text
            for (text, each), end in zip(parts, ends.tolist(), strict=True)
            if len(each) > 1 and known[end - len(each) : end].all()
        ]
        return odd & to_mask(pc.is_in(raw, value_set=pa.array(joined, pa.string())))

    def _find_last_times(self, histories: _Histories) -> Ints:
        """[S] the time of each stored history's newest event; -1 if it is empty, or given by the file."""
        last = np.full(len(histories.start), -1, np.int64)
        if self._stored.times is not None and self.columns.history is None:
            filled = histories.length > 0
            last[filled] = self._stored.times[(histories.start + histories.length - 1)[filled]]
        return last


def _list_log_rows(data: PreparedData, max_history_length: int) -> Samples:
    """One sample of each row of the log that has any, in the log's order."""
    samples = Samples.join([data.samples(split, max_history_length) for split in SPLITS])
    return samples.take(np.unique(samples.events, return_index=True)[1])


def _take_column(chunk: Chunk, name: str) -> Any:
    return flatten(chunk.table[name])
