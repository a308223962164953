"""What is wrong with a log as a whole: labels of one class only, rows that are there twice, targets seen before."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ibis import Table
from numpy.typing import NDArray

from din_train.config import DataConfig
from din_train.dataset.database import Database
from din_train.dataset.vocabulary import UNKNOWN_ID
from din_train.errors import DataError
from din_train.logs import RawLog


def check_labels(data: DataConfig, log: RawLog) -> None:
    """Look at the labels of a log.

    Raises:
        DataError: where all are 0, or all are 1.
    """
    label, most = log.measures.ranges["label"]
    if label != most:
        return
    rows = f"{log.measures.rows:,}"
    if data.source == "movielens":
        which, change = ("at least", "raise") if label else ("below", "lower")
        raise DataError(
            f"data.click_rating: {data.click_rating:g}: each of {rows} ratings is {which} that, so there is nothing to "
            f"tell apart; {change} it"
        )
    column = data.columns.label if data.columns is not None else "label"
    advice = (
        "take data.columns.label out, so that every row is a click and negatives are sampled, or name another column"
        if label
        else "name another column, or take data.columns.label out, so that every row is a click"
    )
    raise DataError(
        f"{data.events}: data.columns.label: each of {rows} rows has the label {label} in '{column}', so there is "
        f"nothing to tell apart; {advice}"
    )


def check_weights(data: DataConfig, log: RawLog) -> None:
    """Look at the weights of a log or of rows, if they have any.

    Raises:
        DataError: if all are 0.
    """
    if data.columns is None or data.columns.weight is None:
        return
    _, most = log.measures.ranges["weight"]
    if not most:
        raise DataError(
            f"data.columns.weight: each of {log.measures.rows:,} rows has the weight 0 in '{data.columns.weight}', so "
            "nothing counts; name another column, or leave it out"
        )


def check_sample_labels(rows: Table, files: Mapping[str, Path]) -> None:
    """Look at the labels of ready-made samples: a table of `split` (a key of `files`) and `label`.

    Raises:
        DataError: where all rows of a file have one label.
    """
    labels = rows.group_by("split").agg(least=rows.label.min(), most=rows.label.max(), rows=rows.count())
    for each in sorted(labels.to_pyarrow().to_pylist(), key=lambda each: str(each["split"]), reverse=True):
        if each["least"] == each["most"]:
            raise DataError(
                f"data.{each['split']}: {files[each['split']]}: each of {each['rows']:,} rows has the label "
                f"{each['least']}, so there is nothing to tell apart; give a file with clicks (1) and others (0)"
            )


_BLOCK_EVENTS = 1 << 20


def count_repeats(database: Database, ordered: Path) -> int:
    """How many rows are equal in user, item and time to another one; a click beside its impression is none.

    Args:
        ordered: Parquet of events with columns `user_code`, `item_code` and `timestamp`.
    """
    events = database.read_parquet(ordered, "ordered_events")
    keys = ["user_code", "item_code", "timestamp", *(name for name in ("behaviour",) if name in events.columns)]
    groups = events.group_by(keys).agg(rows=events.count())
    return int(groups.agg(repeats=(groups.rows - 1).sum()).to_pyarrow()["repeats"][0].as_py() or 0)


def count_seen_targets(
    events: Mapping[str, Any],
    splits: Sequence[Mapping[str, Any]],
    user_starts: NDArray[np.int64],
    first_user: int,
    first_event: int,
) -> list[int]:
    """How many clicked samples of each split have their target in their history; the unknown item is none.

    Memory holds a block of whole users' events, and two numbers for each clicked sample.

    Args:
        events: columns `user_id` (sorted) and `item_id`, such as those of `events.arrow`.
        splits: the columns of each split's samples.
        user_starts: [users] first event row of each user, counted from the first of these events.
        first_user: the first user's id.
        first_event: the first event's row in the data set.
    """
    clicked = [_find_clicked(samples, user_starts, first_user, first_event) for samples in splits]
    users, items = events["user_id"], events["item_id"]
    found, first = [0] * len(splits), 0
    while first < len(users):
        last = min(first + _BLOCK_EVENTS, len(users))
        last = int(np.searchsorted(users, users[last - 1], "right"))
        size = last - first + 1
        keys = np.sort(items[first:last].astype(np.int64) * size + np.arange(last - first))  # item, then place
        for split, (rows, starts) in enumerate(clicked):
            inside = slice(*np.searchsorted(starts, (first, last)))
            targets = splits[split]["target_item_id"][rows[inside]].astype(np.int64)
            begin = starts[inside] - first
            ends = begin + splits[split]["history_length"][rows[inside]]
            newest = np.searchsorted(keys, targets * size + ends) - 1  # before the history's end
            places = keys[np.maximum(newest, 0)]
            found[split] += int(np.sum((newest >= 0) & (places // size == targets) & (places % size >= begin)))
        first = last
    return found


def _find_clicked(
    samples: Mapping[str, Any], user_starts: NDArray[np.int64], first_user: int, first_event: int
) -> tuple[Any, Any]:
    """Clicked samples of a known item with a history, and where each history starts, in order of that."""
    rows = np.flatnonzero((samples["label"] == 1) & (samples["target_item_id"] != UNKNOWN_ID))
    if "history_start" in samples:
        starts = samples["history_start"][rows] - first_event
    else:
        starts = user_starts[samples["user_id"][rows] - first_user]
    has_history = samples["history_length"][rows] > 0
    rows, starts = rows[has_history], starts[has_history]
    order = np.argsort(starts, kind="stable")
    return rows[order], starts[order]
