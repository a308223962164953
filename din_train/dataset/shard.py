"""A part of a prepared data set that holds whole users: its files, and what they sum up to."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from din_train.dataset.column_file import ColumnWriter, map_columns
from din_train.dataset.content_hash import RowsHash, hash_columns
from din_train.dataset.log_checks import count_seen_targets
from din_train.dataset.manifest import ShardFile, StoredShard
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.samples import Block
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID
from din_train.files import compute_sha256

EVENTS = "events"
SAMPLES = {split: f"samples.{split.name.lower()}" for split in SPLITS}

# Of the lengths of histories that are shown.
QUANTILES = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}

_TYPES = {
    "label": pa.int8(),
    "weight": pa.float32(),
    **dict.fromkeys(("timestamp", "event", "ordinal", "history_start"), pa.int64()),
}


@dataclass
class Totals:
    """What the blocks of a data set sum up to."""

    events: int = 0
    samples: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    positives: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    unknown_test_targets: int = 0  # positives whose item is unknown
    seen_targets: dict[Split, int] = field(default_factory=dict)  # positives of a split whose item is in their history
    samples_by_length: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    def add(self, block: Block) -> None:
        """Count a block, but for `seen_targets`."""
        self.events += len(block.events["item_id"])
        for split, columns in block.samples.items():
            self.samples[split] += len(columns["label"])
            self.positives[split] += int(np.sum(columns["label"]))
            if split is Split.TEST:
                unknown = np.equal(columns["target_item_id"], UNKNOWN_ID) & np.equal(columns["label"], 1)
                self.unknown_test_targets += int(np.sum(unknown))
            self._add_lengths(np.bincount(columns["history_length"]))

    def merge(self, other: "Totals") -> None:
        """Add those of other blocks."""
        self.events += other.events
        self.unknown_test_targets += other.unknown_test_targets
        for name in ("samples", "positives", "seen_targets"):
            own = getattr(self, name)
            for split, count in getattr(other, name).items():
                own[split] = own.get(split, 0) + count
        self._add_lengths(other.samples_by_length)

    def _add_lengths(self, counts: NDArray[np.int64]) -> None:
        longer = max(len(counts), len(self.samples_by_length))
        self.samples_by_length = np.pad(self.samples_by_length, (0, longer - len(self.samples_by_length)))
        self.samples_by_length[: len(counts)] += counts

    def compute_length_quantile(self, quantile: float) -> int:
        """The least history length that this share of the samples does not exceed."""
        up_to = np.cumsum(self.samples_by_length)
        return int(np.searchsorted(up_to, max(1, np.ceil(quantile * up_to[-1])))) if up_to[-1] else 0


@dataclass(frozen=True)
class Shard:
    """What a shard's writer tells of it: small, and can be pickled.

    hashes: table, as in `StoredShard.tables` -> the hash of its rows.
    """

    stored: StoredShard
    bytes: int
    totals: Totals
    hashes: Mapping[str, RowsHash]


def write_shard(
    folder: Path,
    number: int | None,
    blocks: Iterable[Block],
    *,
    event_columns: Sequence[str],
    sample_columns: Sequence[str],
    column_types: Mapping[str, Any],
    num_items: int,
    users: int,
    first_user: int = FIRST_REAL_ID,
    first_event: int = 0,
    scratch: Path,
) -> Shard:
    """Write one shard's events and samples.

    Args:
        folder: an existing one, on this machine.
        number: the shard's place among several, from 0, which its files' names have; None if there is no other.
        blocks: users in the order of their ids; drawn from while writing.
        event_columns, sample_columns: which columns the blocks have.
        column_types: see `StoreParts`.
        num_items: real items of the whole data set.
        users: how many users the shard has; their ids count up from `first_user`.
        first_event: how many events the shards before have.
        scratch: an existing folder.
    """
    schemas = {EVENTS: _build_schema(event_columns, {})}
    schemas |= dict.fromkeys(SAMPLES.values(), _build_schema(sample_columns, column_types))
    paths = {table: folder / name_shard_file(table, number) for table in schemas}
    hashes, totals = dict.fromkeys(schemas, RowsHash()), Totals()
    user_ids = range(first_user, first_user + users)
    with ExitStack() as stack:
        writers = {
            table: stack.enter_context(ColumnWriter(paths[table], schema, scratch)) for table, schema in schemas.items()
        }
        for block in blocks:
            tables = {EVENTS: block.events} | {SAMPLES[split]: columns for split, columns in block.samples.items()}
            for table, columns in tables.items():
                _check_ids(columns["item_id" if table == EVENTS else "target_item_id"], "items", UNKNOWN_ID, num_items)
                _check_ids(columns["user_id"], "the shard's users", user_ids.start, user_ids.stop - FIRST_REAL_ID)
                writers[table].append(columns)
                hashes[table] += hash_columns(columns, schemas[table])
            totals.add(block)
    looked_at = SPLITS if "history_start" in sample_columns else (Split.TEST,)  # of rows with their histories all
    events = map_columns(paths[EVENTS])
    seen = count_seen_targets(
        events,
        [map_columns(paths[SAMPLES[split]]) for split in looked_at],
        start_rows(events["user_id"], users, first_user),
        first_user,
        first_event,
    )
    totals.seen_targets = dict(zip(looked_at, seen, strict=True))
    files = {table: ShardFile(path.name, hashes[table].rows, compute_sha256(path)) for table, path in paths.items()}
    return Shard(
        stored=StoredShard(first_user, users, first_event, files),
        bytes=sum(path.stat().st_size for path in paths.values()),
        totals=totals,
        hashes=hashes,
    )


def name_shard_file(table: str, number: int | None) -> str:
    """`events.arrow` of the only shard (None), `events.00002.arrow` of one of several."""
    return f"{table}.arrow" if number is None else f"{table}.{number:05}.arrow"


def start_rows(user_ids: NDArray[np.int32], users: int, first_user: int) -> NDArray[np.int64]:
    """[users] first row of each user's; rows are sorted by user."""
    starts: NDArray[np.int64] = np.searchsorted(user_ids, np.arange(first_user, first_user + users, dtype=np.int32))
    return starts


def _build_schema(columns: Sequence[str], types: Mapping[str, Any]) -> pa.Schema:
    kinds = {**_TYPES, **types}
    return pa.schema([(name, kinds.get(name, pa.int32())) for name in columns])


def _check_ids(ids: NDArray[np.int32], what: str, least: int, num: int) -> None:
    """Real ids count up from 2; anything else is a bug, not the user's data."""
    if ids.size and not least <= ids.min() <= ids.max() < FIRST_REAL_ID + num:
        raise RuntimeError(f"an id is not one of {what}")
