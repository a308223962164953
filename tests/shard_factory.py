"""A prepared data set written again, in several shards."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from din_train.dataset.manifest import Manifest
from din_train.dataset.protocols import SPLITS
from din_train.dataset.samples import Block
from din_train.dataset.shard import Shard, write_shard
from din_train.dataset.store import REJECTED, PreparedData, read_tables
from din_train.dataset.store_writer import finish_store
from din_train.dataset.vocabulary import FIRST_REAL_ID


def cut_users(data: PreparedData, shards: int) -> list[int]:
    """The first user of each shard, and the one after the last; of more shards than users some are empty."""
    cuts = np.linspace(FIRST_REAL_ID, len(data.user_starts), shards + 1)
    return [int(cut) for cut in cuts]


def write_in_shards(
    data: PreparedData,
    folder: Path,
    cuts: Sequence[int],
    change: Callable[[int, Block], Block] = lambda _, block: block,
) -> tuple[Manifest, list[Shard]]:
    """The rows of a log's data set in a new folder, one shard from each cut to the next.

    Args:
        change: the place of a shard and its rows -> what is written.
    """
    folder.mkdir()
    several = len(cuts) > 2
    parts = [
        write_part(data, folder, number if several else None, pair, change)
        for number, pair in enumerate(pairwise(cuts))
    ]
    described = replace(data.manifest, files={}, fingerprint="", shards=(), bytes=0)
    tables, rejected = read_tables(data.folder), data.folder / REJECTED
    written = finish_store(folder, parts[::-1], tables=tables, rejected=rejected, describe=lambda _: described)
    return written, parts


def write_part(
    data: PreparedData,
    folder: Path,
    number: int | None,
    users: tuple[int, int],
    change: Callable[[int, Block], Block],
) -> Shard:
    """The shard of the users in [first, last)."""
    first_event = int(np.searchsorted(data.event_columns["user_id"], users[0]))
    samples = {split: data.sample_columns(split) for split in SPLITS}
    block = Block(_take(data.event_columns, users), {split: _take(each, users) for split, each in samples.items()})
    return write_shard(
        folder,
        number,
        [change(number or 0, block)],
        event_columns=list(data.event_columns),
        sample_columns=list(samples[SPLITS[0]]),
        column_types=find_list_types(samples[SPLITS[0]]),
        num_items=data.num_items,
        users=users[1] - users[0],
        first_user=users[0],
        first_event=first_event,
        scratch=folder.parent,
    )


def find_list_types(columns: Any) -> dict[str, Any]:
    """Of the columns of lists."""
    return {name: pa.list_(pa.int32(), column.shape[1]) for name, column in columns.items() if column.ndim > 1}


def _take(columns: Any, users: tuple[int, int]) -> dict[str, Any]:
    begin, end = np.searchsorted(columns["user_id"], users)
    return {name: column[begin:end] for name, column in columns.items()}
