"""Rows that are there twice, and targets that the history holds already."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ibis
import numpy as np
from numpy.typing import NDArray

from din_train.samples.vocabulary import UNKNOWN_ID

_BLOCK_EVENTS = 1 << 20


def count_repeats(connection: ibis.BaseBackend, ordered: Path) -> int:
    """How many rows are equal in user, item and time to another one.

    Args:
        ordered: Parquet of events with columns `user_code`, `item_code` and `timestamp`.
    """
    events = connection.read_parquet(ordered, table_name="ordered_events")
    groups = events.group_by("user_code", "item_code", "timestamp").agg(rows=events.count())
    return int(groups.agg(repeats=(groups.rows - 1).sum()).to_pyarrow()["repeats"][0].as_py() or 0)


def count_seen_targets(events: Mapping[str, Any], samples: Mapping[str, Any], user_starts: NDArray[np.int64]) -> int:
    """How many clicked samples have their target in their history; the unknown item is none.

    Memory holds a block of whole users' events, and a number a clicked sample.

    Args:
        events: columns `user_id` (sorted) and `item_id`, such as those of `events.arrow`.
        samples: columns of one split.
        user_starts: [num_users + 2] first event row of each user id.
    """
    rows = np.flatnonzero((samples["label"] == 1) & (samples["target_item_id"] != UNKNOWN_ID))
    starts = samples["history_start"][rows] if "history_start" in samples else user_starts[samples["user_id"][rows]]
    lengths = samples["history_length"][rows].astype(np.int64)
    rows, starts, lengths = (each[lengths > 0] for each in (rows, starts, lengths))
    order = np.argsort(starts, kind="stable")
    rows, starts, lengths = rows[order], starts[order], lengths[order]
    users, items = events["user_id"], events["item_id"]
    found = first = 0
    while first < len(users):
        last = min(first + _BLOCK_EVENTS, len(users))
        last = int(np.searchsorted(users, users[last - 1], "right"))
        inside = slice(*np.searchsorted(starts, (first, last)))
        if inside.start < inside.stop:
            size = last - first + 1
            keys = np.sort(items[first:last].astype(np.int64) * size + np.arange(last - first))  # item, then place
            targets = samples["target_item_id"][rows[inside]].astype(np.int64)
            begin = starts[inside] - first
            newest = np.searchsorted(keys, targets * size + begin + lengths[inside]) - 1  # before the history's end
            keys = keys[np.maximum(newest, 0)]
            found += int(np.sum((newest >= 0) & (keys // size == targets) & (keys % size >= begin)))
        first = last
    return found
