"""The prepared data set on disk, and a manifest that proves what it was made from.

events.arrow               user_id, item_id, timestamp (unix seconds, or as the log has it where it is no unix time),
                           ordinal (the row of the log); the clicks, sorted by user, time, then place in the log or, of
                           impressions, raw item id
samples.<split>.arrow      user_id, target_item_id, history_length, label, event (the row of the log; of a sampled
                           negative its positive's), context fields; a history is the user's first `history_length`
                           events, so it is stored once, never copied. In a log of impressions also timestamp (the
                           request's moment) and request (which of the user's)
items.parquet              item_id, item (raw id), category_id, title, <field>_id of each item field, training_events
users.parquet              user_id, user (raw id), <field>_id of each user field
vocabularies.parquet       field (category, ...), id, value
rejected.jsonl             the log's bad lines: file, line, reason, text
manifest.json              schema version, recipe, inputs, counts, SHA-256 of every file

Of rows that came with their histories, events are the lists they hold, user after user: equal ones and beginnings of
one list are stored once, with timestamp (if behaviours have times) and the ids of `data.behaviour_fields` beside them,
and no ordinal. Samples have history_start, the history's first row in events; timestamp, request and weight if rows do;
and for each further sequence <name>_start and <name>_length, a slice of events as well.

The Arrow files are mapped into memory, not read. All but the manifest's `made` (seconds, memory, versions) is the same
for the same logs, config and library versions, whatever the number of threads.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from din_train.dataset.column_file import ColumnWriter, map_columns
from din_train.dataset.log_checks import count_seen_targets
from din_train.dataset.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    Manifest,
    find_damage,
    read_manifest,
    write_manifest,
)
from din_train.dataset.matching import Account
from din_train.dataset.negatives import UnknownItems
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.samples import Block
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID
from din_train.errors import DataError
from din_train.files import atomic_folder, compute_sha256
from din_train.logs import FileReport

REJECTED = "rejected.jsonl"
TABLES = ("items", "users", "vocabularies")

# The row of the log of a sample that is of none.
NO_EVENT = -1

# Of the lengths of histories that are shown.
QUANTILES = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}

_TYPES = {
    "label": pa.int8(),
    "weight": pa.float32(),
    **dict.fromkeys(("timestamp", "event", "ordinal"), pa.int64()),
}


@dataclass(frozen=True)
class Samples:
    """One split's rows, as slices of `PreparedData.event_item_ids`.

    user_ids, target_item_ids: [S] int32. labels: [S] int8.
    history_start: [S] int64, first event row of the history. history_length: [S] int32, 0 if there is none.
    events: [S] int64, the row of the log that a sample is of, or `NO_EVENT`.
    context: [S] int32 ids of each context field.
    """

    user_ids: NDArray[np.int32]
    target_item_ids: NDArray[np.int32]
    history_start: NDArray[np.int64]
    history_length: NDArray[np.int32]
    labels: NDArray[np.int8]
    events: NDArray[np.int64]
    context: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)

    @property
    def history_ends(self) -> NDArray[np.int64]:
        """[S] the event row after the history: of one user, equal for equal histories, however few of it are kept."""
        ends: NDArray[np.int64] = self.history_start + self.history_length
        return ends

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "Samples":
        """These rows alone, in their order."""
        columns = {each.name: getattr(self, each.name)[rows] for each in fields(self) if each.name != "context"}
        return Samples(**columns, context={name: ids[rows] for name, ids in self.context.items()})


@dataclass(frozen=True)
class PreparedData:
    """A prepared data set, opened.

    event_item_ids: [events] int32, every user's items in time order, user after user.
    item_fields: field -> [num_items + 2] int32, indexed by item id; `category` is the first.
    user_fields: field -> [num_users + 2] int32, indexed by user id.
    num_values: field -> its ids, the reserved ones included; context fields too.
    training_events: [num_items + 2] int64, an item's training events.
    """

    folder: Path
    manifest: Manifest
    event_item_ids: NDArray[np.int32]
    item_fields: Mapping[str, NDArray[np.int32]]
    user_fields: Mapping[str, NDArray[np.int32]]
    num_values: Mapping[str, int]
    training_events: NDArray[np.int64]
    user_starts: NDArray[np.int64]
    _samples: Mapping[Split, Mapping[str, Any]]

    @property
    def fingerprint(self) -> str:
        """Equal for equal contents: what a run remembers of the data it was trained on."""
        return self.manifest.fingerprint

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

    def samples(self, split: Split, max_history_length: int) -> Samples:
        """A split's rows in stored order, histories cut to the newest `max_history_length` behaviours."""
        columns = self._samples[split]
        user_ids, full_length = columns["user_id"], columns["history_length"]
        length = np.minimum(full_length, np.int32(max_history_length))
        start = columns["history_start"] if "history_start" in columns else self.user_starts[user_ids]
        return Samples(
            user_ids=user_ids,
            target_item_ids=columns["target_item_id"],
            history_start=start + (full_length - length),
            history_length=length,
            labels=columns["label"],
            events=columns["event"],
            context={name: columns[name] for name in self.context_fields},
        )


@dataclass
class Totals:
    """What the blocks of a data set sum up to."""

    events: int = 0
    samples: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    positives: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    unknown_test_targets: int = 0  # positives whose item is unknown
    seen_test_targets: int = 0  # positives whose item is in their history
    samples_by_length: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    def add(self, block: Block) -> None:
        self.events += len(block.events["item_id"])
        for split, columns in block.samples.items():
            self.samples[split] += len(columns["label"])
            self.positives[split] += int(np.sum(columns["label"]))
            if split is Split.TEST:
                unknown = np.equal(columns["target_item_id"], UNKNOWN_ID) & np.equal(columns["label"], 1)
                self.unknown_test_targets += int(np.sum(unknown))
            counts = np.bincount(columns["history_length"])
            longer = max(len(counts), len(self.samples_by_length))
            self.samples_by_length = np.pad(self.samples_by_length, (0, longer - len(self.samples_by_length)))
            self.samples_by_length[: len(counts)] += counts

    def compute_length_quantile(self, quantile: float) -> int:
        """The least history length that this share of the samples does not exceed."""
        up_to = np.cumsum(self.samples_by_length)
        return int(np.searchsorted(up_to, max(1, np.ceil(quantile * up_to[-1])))) if up_to[-1] else 0


@dataclass(frozen=True)
class StoreParts:
    """The store's columns, blocks and tables, and what the manifest says of them.

    blocks: built while they are drawn from; the functions are right afterwards.
    fields: `item`, `user` and `context` -> names.
    negatives: `sampled`, or `in the log`.
    """

    event_columns: Sequence[str]
    sample_columns: Sequence[str]
    blocks: Iterable[Block]
    tables: Mapping[str, pa.Table]
    rejected: Path
    reports: Sequence[FileReport]
    fields: Mapping[str, Sequence[str]]
    negatives: str
    unknown_items: UnknownItems
    items_with_several_categories: int
    count_short_histories: Callable[[], int]
    count_dropped: Callable[[], dict[str, int]]
    describe_histories: Callable[[], dict[str, Any]]
    account: Account


def write_store(
    folder: Path,
    *,
    event_columns: Sequence[str],
    sample_columns: Sequence[str],
    blocks: Iterable[Block],
    tables: Mapping[str, pa.Table],
    rejected: Path,
    scratch: Path,
    describe: Callable[[Totals], Manifest],
) -> Manifest:
    """Write the data set under a temporary name, then give it its own.

    Args:
        event_columns, sample_columns: which columns the blocks have.
        blocks: users in the order of their ids; drawn from while writing.
        tables: one a name in `TABLES`.
        rejected: the reader's rejected lines, copied in.
        scratch: an existing folder.
        describe: called once all is written: the manifest but for the files and the fingerprint.

    Returns:
        The manifest as written.
    """
    num_items = tables["items"].num_rows
    _check_tables(tables)
    totals = Totals()
    with atomic_folder(folder) as temporary:
        with ExitStack() as stack:
            events = stack.enter_context(
                ColumnWriter(temporary / "events.arrow", _build_schema(event_columns), scratch)
            )
            samples = {
                split: stack.enter_context(
                    ColumnWriter(temporary / _samples_file(split), _build_schema(sample_columns), scratch)
                )
                for split in SPLITS
            }
            for block in blocks:
                _check_ids(block.events["item_id"], num_items)
                events.append(block.events)
                for split, columns in block.samples.items():
                    _check_ids(columns["target_item_id"], num_items)
                    samples[split].append(columns)
                totals.add(block)
        written_events = map_columns(temporary / "events.arrow")
        totals.seen_test_targets = count_seen_targets(
            written_events,
            map_columns(temporary / _samples_file(Split.TEST)),
            _start_rows(written_events["user_id"], tables["users"].num_rows + FIRST_REAL_ID),
        )
        for name in TABLES:
            pq.write_table(tables[name], temporary / f"{name}.parquet", compression="zstd")
        shutil.copyfile(rejected, temporary / REJECTED)
        paths = sorted(temporary.iterdir())
        hashes = {path.name: compute_sha256(path) for path in paths}
        of_tables = {name: sha256 for name, sha256 in hashes.items() if name != REJECTED}  # that one names paths
        contents = orjson.dumps([SCHEMA_VERSION, of_tables], option=orjson.OPT_SORT_KEYS)
        written = replace(
            describe(totals),
            bytes=sum(path.stat().st_size for path in paths),
            files=hashes,
            fingerprint=hashlib.sha256(contents).hexdigest(),
        )
        write_manifest(temporary, written)
    return written


def open_store(folder: Path, *, checked: Manifest | None = None) -> PreparedData:
    """Open a prepared data set after checking every file's SHA-256.

    Args:
        checked: of the data set whose files this process has just checked or written, if it has: once is enough.

    Raises:
        DataError: where there is none, or another than the checked one, or a file is missing or changed.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        file = folder.absolute() / MANIFEST
        missing = f"{folder.absolute()}: no prepared data set here"
        what = f"{file}: damaged, or of another version" if file.exists() else missing
        raise DataError(f"{what}; run `din-train prepare --config ...` first")
    if checked is not None and manifest.fingerprint != checked.fingerprint:
        raise DataError(
            f"{folder}: another process has prepared another data set here; give each a folder (data.prepared)"
        )
    damaged = None if checked is not None else find_damage(folder, manifest)
    if damaged is not None:
        raise DataError(f"{folder / damaged}: missing or changed since it was prepared; run `din-train prepare` again")
    tables = {name: pq.read_table(folder / f"{name}.parquet") for name in TABLES}
    events = map_columns(folder / "events.arrow")
    fields = manifest.fields
    in_vocabulary = np.array(tables["vocabularies"]["field"].to_pylist(), dtype=object)
    return PreparedData(
        folder=folder,
        manifest=manifest,
        event_item_ids=events["item_id"],
        item_fields={name: _index_by_id(tables["items"], name) for name in fields["item"]},
        user_fields={name: _index_by_id(tables["users"], name) for name in fields["user"]},
        num_values={
            name: FIRST_REAL_ID + int(np.sum(in_vocabulary == name)) for names in fields.values() for name in names
        },
        training_events=np.concatenate(
            [np.zeros(FIRST_REAL_ID, np.int64), tables["items"]["training_events"].to_numpy()]
        ),
        user_starts=_start_rows(events["user_id"], tables["users"].num_rows + FIRST_REAL_ID),
        _samples={split: map_columns(folder / _samples_file(split)) for split in SPLITS},
    )


def _index_by_id(table: pa.Table, name: str) -> NDArray[np.int32]:
    """A field's id by item or user id: padding has padding's, the unknown item or user the unknown value."""
    return np.concatenate([np.arange(FIRST_REAL_ID, dtype=np.int32), table[f"{name}_id"].to_numpy()])


def _start_rows(user_ids: NDArray[np.int32], num_ids: int) -> NDArray[np.int64]:
    """[num_ids] first event row of each user id; events are sorted by user."""
    counts = np.bincount(user_ids, minlength=num_ids)
    starts: NDArray[np.int64] = np.cumsum(counts) - counts
    return starts


def _samples_file(split: Split) -> str:
    return f"samples.{split.name.lower()}.arrow"


def _build_schema(columns: Sequence[str]) -> pa.Schema:
    kinds = {**{name: pa.int64() for name in columns if name.endswith("_start")}, **_TYPES}
    return pa.schema([(name, kinds.get(name, pa.int32())) for name in columns])


def _check_tables(tables: Mapping[str, pa.Table]) -> None:
    """Ids 0 and 1 are reserved and real ids count up from 2; anything else is a bug, not the user's data."""
    for name, key in (("items", "item_id"), ("users", "user_id")):
        ids = tables[name][key].to_numpy()
        if not np.array_equal(ids, np.arange(FIRST_REAL_ID, FIRST_REAL_ID + len(ids))):
            raise RuntimeError(f"{name}.{key} does not count up from {FIRST_REAL_ID}")


def _check_ids(item_ids: NDArray[np.int32], num_items: int) -> None:
    if item_ids.size and not UNKNOWN_ID <= item_ids.min() <= item_ids.max() < FIRST_REAL_ID + num_items:
        raise RuntimeError("an item id is not in items")
