"""The prepared data set on disk, and a manifest that proves what it was made from.

events.arrow               user_id, item_id, timestamp (unix seconds, or as the log has it where it is no unix time),
                           ordinal (the row of the log), ids of each of `data.behaviour_fields`; the clicks, sorted by
                           user, time, then place in the log or, of impressions, raw item id
samples.<split>.arrow      user_id, target_item_id, history_length, label, event (the row of the log; of a sampled
                           negative its positive's), context fields (of several values: lists of one size, padded with
                           0); a history is the user's first `history_length` events, so it is stored once, never
                           copied. In a log of impressions also timestamp (the request's moment) and request (which of
                           the user's); of ready-made samples also history_start, the history's first row in events; if
                           the log has weights also weight (of a sampled negative its positive's)
items.parquet              item_id, item (raw id), category_id, title, item fields (see `fields.py`), training_events;
                           hashed items also item_row, an id by hash; given vectors as <name>_vector; with a base also
                           training_events_before, the most that an item had in earlier data sets; with
                           `vocabulary.expire_after` also last_event, when an item was last in a log
users.parquet              user_id, user (raw id), user fields
vocabularies.parquet       field (category, ...), id, value; hashed fields and numbers have no rows there
rejected.jsonl             the log's bad lines: file, line, reason, text
manifest.json              schema version, recipe, inputs, counts, SHA-256 of every file

Of rows that came with their histories, events are the lists they hold, user after user: equal ones and beginnings of
one list are stored once, with timestamp (if behaviours have times) and the ids of `data.behaviour_fields` beside them,
and no ordinal. Samples have history_start, the history's first row in events; timestamp, request and weight if rows do;
and for each further sequence <name>_start and <name>_length, a slice of events as well.

A large data set may be written in shards: `events.00000.arrow`, `samples.train.00000.arrow` and so on, each with the
rows of whole users that follow those of the shard before; manifest.json lists them. No row depends on their number.

The Arrow files are mapped into memory, not read; those of several shards are joined first (`joined_columns.py`). All
but the manifest's `made` (seconds, memory, versions) is the same for the same logs, config and library versions,
whatever the number of threads.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from din_train.config.data import TIME_GAP
from din_train.dataset.column_file import map_columns
from din_train.dataset.fields import read_field, read_vectors
from din_train.dataset.joined_columns import join_columns
from din_train.dataset.manifest import (
    MANIFEST,
    Manifest,
    ShardFile,
    build_damage_error,
    find_damage,
    read_manifest,
)
from din_train.dataset.protocols import Split
from din_train.dataset.shard import EVENTS, SAMPLES, start_rows
from din_train.dataset.vocabulary import FIRST_REAL_ID, PAD_ID, UNKNOWN_ID
from din_train.errors import DataError
from din_train.remote_path import is_remote

REJECTED = "rejected.jsonl"
TABLES = ("items", "users", "vocabularies")

# The row of the log of a sample that is of none.
NO_EVENT = -1

_EVENT_COLUMNS = ("user_id", "item_id", "timestamp", "ordinal")

# [S] int64 the first event row of a sequence, and [S] int32 how many events it has.
Slices = tuple[NDArray[np.int64], NDArray[np.int32]]


@dataclass(frozen=True)
class Samples:
    """One split's rows, as slices of `PreparedData.event_item_ids`.

    user_ids, target_item_ids: [S] int32. labels: [S] int8.
    history_start: [S] int64, first event row of the history. history_length: [S] int32, 0 if there is none.
    events: [S] int64, the row of the log that a sample is of, or `NO_EVENT`.
    context: [S] int32 ids of each context field, or [S, V] padded with 0 if it has several values.
    weights: [S] float32 in loss and metrics; None if the log has none, so that all are 1.
    timestamps: [S] int64 moment of each sample; None if they are not stored. requests: [S] int64, which of the user's
    requests a sample is of; None in a log of clicks.
    sequences: each further sequence of a row, in the config's order -> its [S] starts and [S] lengths, as of histories.
    skipped: [S] int64, an event row that the history jumps over, so that it ends one later; -1: none. None: no row has
    one.
    """

    user_ids: NDArray[np.int32]
    target_item_ids: NDArray[np.int32]
    history_start: NDArray[np.int64]
    history_length: NDArray[np.int32]
    labels: NDArray[np.int8]
    events: NDArray[np.int64]
    context: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    weights: NDArray[np.float32] | None = None
    timestamps: NDArray[np.int64] | None = None
    requests: NDArray[np.int64] | None = None
    sequences: Mapping[str, Slices] = field(default_factory=dict)
    skipped: NDArray[np.int64] | None = None

    @property
    def all_sequences(self) -> dict[str, Slices]:
        """`history` and the further sequences -> [S] start and [S] length."""
        return {"history": (self.history_start, self.history_length), **self.sequences}

    @property
    def history_ends(self) -> NDArray[np.int64]:
        """[S] the event row after the history: of one user, equal for equal histories, however few of it are kept."""
        ends: NDArray[np.int64] = self.history_start + self.history_length
        return ends

    def find_lists(self) -> NDArray[np.int64]:
        """[S] the number of each row's list, ascending from 0: rows that are ranked against each other.

        A list is a positive with its sampled negatives, which are of one event; in a log with labels the rows of one
        request. Rows with labels and without requests are a list from one positive to the next. Rows of a list follow
        each other, and have one user, one moment, and the same history and further sequences.
        """
        columns = [self.user_ids, self.timestamps, self.requests, self.skipped]
        columns += [column for slices in self.all_sequences.values() for column in slices]
        begins = np.zeros(len(self), np.bool_)  # whether a row is the first of its list
        for column in columns:
            if column is not None:
                begins[1:] |= column[1:] != column[:-1]
        of_other_event = (self.events[1:] != self.events[:-1]) | (self.events[1:] == NO_EVENT)
        if not of_other_event.all():  # every row with a label is an event of its own
            begins[1:] |= of_other_event
        elif self.requests is None:
            begins[:1] = True
            first_of_run = np.maximum.accumulate(np.where(begins, np.arange(len(self)), 0))
            positives = np.cumsum(self.labels)
            earlier = positives - self.labels - (positives - self.labels)[first_of_run]  # positives before, in the run
            begins |= (self.labels == 1) & (earlier > 0)
        begins[:1] = False
        return np.cumsum(begins)

    def find_compared(self) -> NDArray[np.bool_]:
        """[S] whether a row's list has rows of both classes, so that a loss of lists learns from it."""
        lists = self.find_lists()
        sizes, positives = np.bincount(lists), np.bincount(lists, self.labels)
        found: NDArray[np.bool_] = ((positives > 0) & (positives < sizes))[lists]
        return found

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "Samples":
        """These rows alone, in their order."""
        return _combine_samples(lambda column: column[rows], [self])

    @staticmethod
    def join(parts: Sequence["Samples"]) -> "Samples":
        """The rows of all parts, which have the same columns, one part after another."""
        return _combine_samples(lambda *columns: np.concatenate(columns), parts)


def _combine_samples(build: Callable[..., Any], parts: Sequence[Samples]) -> Samples:
    """Samples whose columns are built from the same column of all parts."""
    first = parts[0]
    columns: dict[str, Any] = {
        each.name: None if getattr(first, each.name) is None else build(*(getattr(part, each.name) for part in parts))
        for each in fields(Samples)
        if each.name not in ("context", "sequences")
    }
    return Samples(
        **columns,
        context={name: build(*(part.context[name] for part in parts)) for name in first.context},
        sequences={
            name: (build(*starts), build(*lengths))
            for name in first.sequences
            for starts, lengths in [zip(*(part.sequences[name] for part in parts), strict=True)]
        },
    )


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """A prepared data set, opened.

    event_item_ids: [events] int32, every user's items in time order, user after user.
    item_fields: field -> its values by item id, in the forms that `read_field` gives; `category` is the first.
    user_fields: field -> its values by user id, likewise.
    num_values: field of ids -> how many, the reserved ones included; context and behaviour fields too, and `item` if
        items are hashed.
    training_events: [num_items + 2] int64, an item's training events.
    training_events_before: likewise, the most in the data sets that this one goes on from; None if it has no base.
    item_vectors: name -> [num_items + 2, D] float32, given vectors.
    item_rows: [num_items + 2] int32, rows by hash; None if items are not hashed.
    event_columns: column of `events` as stored -> [events].
    event_fields: field of `data.behaviour_fields` -> [events] int32 ids; `time_gap` is none of them.
    event_times: [events] int64; None of ready-made samples.
    context_widths: context field -> V of one with several values; None of others.
    sequences: names of the further sequences of rows, in the config's order.
    """

    folder: Path
    manifest: Manifest
    event_item_ids: NDArray[np.int32]
    item_fields: Mapping[str, NDArray[np.int32]]
    user_fields: Mapping[str, NDArray[np.int32]]
    num_values: Mapping[str, int]
    training_events: NDArray[np.int64]
    user_starts: NDArray[np.int64]
    training_events_before: NDArray[np.int64] | None = None
    item_vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    item_rows: NDArray[np.int32] | None = None
    event_columns: Mapping[str, Any] = field(default_factory=dict)
    event_fields: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    event_times: NDArray[np.int64] | None = None
    context_widths: Mapping[str, int | None] = field(default_factory=dict)
    sequences: Sequence[str] = ()
    _samples: Mapping[Split, Mapping[str, Any]]

    @property
    def fingerprint(self) -> str:
        """Equal for equal contents: what a run remembers of the data it was trained on."""
        return self.manifest.fingerprint

    def with_events(self, item_ids: NDArray[np.int32]) -> "PreparedData":
        """The data set with histories that are slices of other events, of which only the items are known."""
        unknown = np.full(len(item_ids), UNKNOWN_ID, np.int32)
        fields_of_events = dict.fromkeys(self.event_fields, unknown)
        return replace(self, event_item_ids=item_ids, event_fields=fields_of_events, event_times=None)

    def with_items(self, category_ids: NDArray[np.int32]) -> "PreparedData":
        """The data set with items after its own, of which only the categories are known."""
        categories = np.concatenate([self.item_category_ids, category_ids])
        return replace(self, item_fields={**self.item_fields, "category": categories})

    @cached_property
    def events_by_category(self) -> NDArray[np.int64]:
        """[E] category * events + row of each event whose item has a category, ascending."""
        categories = self.item_category_ids[self.event_item_ids].astype(np.int64)
        rows = np.flatnonzero(categories >= FIRST_REAL_ID)
        return np.sort(categories[rows] * len(categories) + rows)

    @property
    def most_training_events(self) -> NDArray[np.int64]:
        """[num_items + 2] the most training events that an item ever had: a base's items stay known."""
        before = self.training_events_before
        return self.training_events if before is None else np.maximum(self.training_events, before)

    @property
    def num_items(self) -> int:
        """Real items; their ids count up from 2."""
        return len(self.training_events) - FIRST_REAL_ID

    @property
    def item_category_ids(self) -> NDArray[np.int32]:
        return self.item_fields["category"]

    @property
    def num_categories(self) -> int:
        """Real categories; their ids count up from 2."""
        return self.num_values["category"] - FIRST_REAL_ID

    @property
    def context_fields(self) -> tuple[str, ...]:
        return tuple(self.manifest.fields["context"])

    def sample_columns(self, split: Split) -> Mapping[str, Any]:
        """Column of a split's `samples` as stored -> [S]."""
        return self._samples[split]

    def samples(self, split: Split, max_history_length: int) -> Samples:
        """A split's rows in stored order, every sequence cut to the newest `max_history_length` behaviours."""
        columns = self.sample_columns(split)
        user_ids = columns["user_id"]

        def cut(start: NDArray[np.int64], full_length: NDArray[np.int32]) -> Slices:
            length = np.minimum(full_length, np.int32(max_history_length))
            return start + (full_length - length), length

        start = columns["history_start"] if "history_start" in columns else self.user_starts[user_ids]
        history_start, history_length = cut(start, columns["history_length"])
        return Samples(
            user_ids=user_ids,
            target_item_ids=columns["target_item_id"],
            history_start=history_start,
            history_length=history_length,
            labels=columns["label"],
            events=columns["event"],
            context={name: columns[name] for name in self.context_fields},
            weights=columns.get("weight"),
            timestamps=columns.get("timestamp"),
            requests=columns.get("request"),
            sequences={name: cut(columns[f"{name}_start"], columns[f"{name}_length"]) for name in self.sequences},
        )


def open_store(folder: Path, *, checked: Manifest | None = None, temp_folder: Path | None = None) -> PreparedData:
    """Open a prepared data set after checking every file's SHA-256.

    Args:
        folder: it may be remote.
        checked: of the data set whose files this process has just checked or written, if it has: once is enough.
        temp_folder: where the rows of several shards are joined; beside `folder` if left out, or, if nothing can be
            written there, where the system has temporary files.

    Raises:
        DataError: where there is none, or another than the checked one, or a file is missing or changed.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        place = folder if is_remote(folder) else folder.absolute()
        file = place / MANIFEST
        missing = f"{place}: no prepared data set here"
        what = f"{file}: damaged, or of another version" if file.exists() else missing
        raise DataError(f"{what}; run `din-train prepare --config ...` first")
    if checked is not None and manifest.fingerprint != checked.fingerprint:
        raise DataError(
            f"{folder}: another process has prepared another data set here; give each a folder (data.prepared)"
        )
    in_shards = _list_shard_files(manifest)
    is_mapped = len(manifest.shards) == 1 and not is_remote(folder)
    joined = () if is_mapped else {each.file for files in in_shards.values() for each in files}  # checked by joining
    is_checked = checked is not None and not is_remote(folder)  # a remote file is fetched anew
    damaged = None if is_checked else find_damage(folder, manifest, joined)
    if damaged is not None:
        raise build_damage_error(folder / damaged)
    columns = {
        table: map_columns(folder / files[0].file)
        if is_mapped
        else join_columns(folder, files, temp_folder or _find_scratch(folder), is_checked=is_checked)
        for table, files in in_shards.items()
    }
    _check_users(folder, manifest, columns)
    events, samples = columns[EVENTS], {split: columns[table] for split, table in SAMPLES.items()}
    tables = read_tables(folder)
    items, users = tables["items"], tables["users"]
    fields, hashed = manifest.fields, manifest.recipe.get("vocabulary.hash_buckets", {})
    listed = Counter(tables["vocabularies"]["field"].to_pylist())
    item_fields = {name: read_field(items, name, FIRST_REAL_ID) for name in fields["item"]}
    user_fields = {name: read_field(users, name, FIRST_REAL_ID) for name in fields["user"]}
    event_fields = {name: column for name, column in events.items() if name not in _EVENT_COLUMNS}
    of_ids = [name for each in (item_fields, user_fields) for name, values in each.items() if values.dtype == np.int32]
    return PreparedData(
        folder=folder,
        manifest=manifest,
        event_item_ids=events["item_id"],
        item_fields=item_fields,
        user_fields=user_fields,
        num_values={
            name: FIRST_REAL_ID + hashed.get(name, listed[name])
            for name in (
                *of_ids,
                *fields["context"],
                *event_fields,
                *({"item"} & hashed.keys()),
                *({TIME_GAP} & listed.keys()),
            )
        },
        training_events=_reserve(items["training_events"]),
        training_events_before=(
            _reserve(items["training_events_before"]) if "training_events_before" in items.column_names else None
        ),
        user_starts=start_rows(events["user_id"], users.num_rows + FIRST_REAL_ID, PAD_ID),
        item_vectors={
            name: read_vectors(items, name, FIRST_REAL_ID)
            for name in (column.removesuffix("_vector") for column in items.column_names if column.endswith("_vector"))
        },
        item_rows=(
            np.concatenate([np.arange(FIRST_REAL_ID, dtype=np.int32), items["item_row"].to_numpy()])
            if "item_row" in items.column_names
            else None
        ),
        event_columns=events,
        event_fields=event_fields,
        event_times=events.get("timestamp"),
        context_widths={
            name: column.shape[1] if (column := samples[Split.TRAIN][name]).ndim > 1 else None
            for name in fields["context"]
        },
        sequences=[
            name.removesuffix("_start")
            for name in samples[Split.TRAIN]
            if name.endswith("_start") and name not in ("history_start", *fields["context"])
        ],
        _samples=samples,
    )


def _reserve(counts: Any) -> NDArray[np.int64]:
    """[items] counts with 0 for the reserved ids before them."""
    return np.concatenate([np.zeros(FIRST_REAL_ID, np.int64), counts.to_numpy()])


def read_tables(folder: Path) -> dict[str, pa.Table]:
    """Those of `TABLES`; the folder may be remote."""
    tables = {}
    for name in TABLES:
        path = folder / f"{name}.parquet"
        with path.open("rb") if is_remote(path) else nullcontext(path) as source:
            tables[name] = pq.read_table(source)
    return tables


def _list_shard_files(manifest: Manifest) -> dict[str, list[ShardFile]]:
    return {table: [shard.tables[table] for shard in manifest.shards] for table in (EVENTS, *SAMPLES.values())}


def _check_users(folder: Path, manifest: Manifest, columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Look at the first and the last row of each file: they are of the shard's users."""
    for table, files in _list_shard_files(manifest).items():
        users, first = columns[table]["user_id"], 0
        for shard, each in zip(manifest.shards, files, strict=True):
            ends = users[[first, first + each.rows - 1]] if each.rows else np.empty(0, np.int32)
            if not all(shard.first_user <= user < shard.first_user + shard.users for user in ends):
                raise build_damage_error(folder / each.file)
            first += each.rows


def _find_scratch(folder: Path) -> Path:
    beside = folder.absolute().parent if not is_remote(folder) else None
    return beside if beside is not None and os.access(beside, os.W_OK) else Path(tempfile.gettempdir())
