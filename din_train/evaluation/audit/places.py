"""Where a sample stands in the log: the row of `events` that is its target, and the rows that are its history."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from din_train.config import DataConfig
from din_train.samples.column_file import map_columns
from din_train.samples.split import Split
from din_train.samples.store import PreparedData, Samples

Rows = NDArray[np.int64]

# The place of a target that is nowhere in its user's list.
NOWHERE = -1


@dataclass(frozen=True)
class Places:
    """The events, read from their file alone, so that nothing derived is trusted.

    item_ids, user_ids: [events]. timestamps: [events] in the log's order of time, None where the log has none.
    first, end: by user id, the user's first event row and the row after the last.
    """

    item_ids: NDArray[np.int32]
    user_ids: NDArray[np.int32]
    timestamps: NDArray[np.int64] | None
    first: Rows
    end: Rows


def read_places(data: PreparedData) -> Places:
    """From `events.arrow`."""
    events = map_columns(data.folder / "events.arrow")
    user_ids = events["user_id"]
    every = np.arange(len(data.user_starts))
    return Places(
        item_ids=events["item_id"],
        user_ids=user_ids,
        timestamps=events.get("timestamp"),
        first=np.searchsorted(user_ids, every, side="left"),
        end=np.searchsorted(user_ids, every, side="right"),
    )


def find_windows(places: Places, data: DataConfig, split: Split) -> tuple[Rows, Rows] | None:
    """By user id: the event rows [low, high) in a split's time, under protocol `time`; None under any other."""
    if data.protocol != "time" or data.time_split is None or places.timestamps is None:
        return None
    cuts = (data.time_split.validation_from, data.time_split.test_from)
    at = [np.cumsum(np.append(0, places.timestamps < cut)) for cut in cuts]  # [events + 1] events before the cut so far
    until = [places.first + each[places.end] - each[places.first] for each in at]  # by user id
    bounds = (places.first, *until, places.end)
    return bounds[split], bounds[split + 1]


def find_target_places(places: Places, data: DataConfig, split: Split, samples: Samples) -> Rows:
    """[S] the event row of each positive; `NOWHERE` where the event there is another, and for negatives.

    The target is the event that follows the history. Under `time` a validation or test history ends at the split's
    cut, and a user's targets are the events of the split's time, one after the other.
    """
    users = samples.user_ids
    rows = samples.history_start + samples.history_length
    windows = find_windows(places, data, split)
    positive = samples.labels == 1
    if windows is not None and split is not Split.TRAIN:
        so_far = np.cumsum(positive) - positive  # positives before, over all users
        begins = np.append(True, users[1:] != users[:-1])
        start = np.maximum.accumulate(np.where(begins, np.arange(len(users)), 0))
        rows = windows[0][users] + so_far - so_far[start]
    inside = positive & (rows >= places.first[users]) & (rows < places.end[users])
    same = np.zeros(len(rows), np.bool_)
    same[inside] = places.item_ids[rows[inside]] == samples.target_item_ids[inside]
    return np.where(same, rows, NOWHERE)


def find_stray_targets(places: Places, samples: Samples, targets: Rows) -> Rows:
    """The event rows of positives that are not where the protocol puts them: the first of their item after the history.

    Args:
        targets: [S] of `find_target_places`.
    """
    found = []
    for row in np.flatnonzero((samples.labels == 1) & (targets == NOWHERE)).tolist():
        start = int(samples.history_start[row] + samples.history_length[row])
        later = places.item_ids[start : places.end[samples.user_ids[row]]] == samples.target_item_ids[row]
        if later.any():
            found.append(start + int(np.argmax(later)))
    return np.array(found, np.int64)


def mark_histories(places: Places, samples: Samples) -> NDArray[np.bool_]:
    """[events] whether some sample's history holds the event."""
    steps = np.zeros(len(places.item_ids) + 1, np.int64)
    np.add.at(steps, samples.history_start, 1)
    np.add.at(steps, samples.history_start + samples.history_length, -1)
    marked: NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
    return marked
