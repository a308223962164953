"""Where a sample stands in the log: the row of `events` that is its target, and the rows that its history may have."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from din_train.config import DataConfig
from din_train.dataset.column_file import map_columns
from din_train.dataset.histories import find_history_ends
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples

Rows = NDArray[np.int64]

# The place of a target that is nowhere in its user's list.
NOWHERE = -1


@dataclass(frozen=True)
class Places:
    """The events, read from their file alone, so that nothing derived is trusted.

    item_ids, user_ids: [events]. timestamps: [events] in the log's order of time, None where the log has none.
    ordinals: [events] the row of the log; None of ready-made samples.
    first, end: by user id, the user's first event row and the row after the last.
    """

    item_ids: NDArray[np.int32]
    user_ids: NDArray[np.int32]
    timestamps: NDArray[np.int64] | None
    ordinals: NDArray[np.int64] | None
    first: Rows
    end: Rows

    @cached_property
    def by_ordinal(self) -> Rows:
        """[events] event rows in the order of the log."""
        return np.argsort(self.ordinals) if self.ordinals is not None else np.zeros(0, np.int64)

    def find_events(self, samples: Samples) -> Rows:
        """[S] the event row that each sample is of; of a sampled negative its positive's.

        `NOWHERE` where the user has no event of that number: an impression without a click is none.
        """
        if self.ordinals is None or not len(self.ordinals):
            return np.full(len(samples), NOWHERE)
        place = np.searchsorted(self.ordinals, samples.events, sorter=self.by_ordinal)
        rows = self.by_ordinal[np.minimum(place, len(self.ordinals) - 1)]
        found = (self.ordinals[rows] == samples.events) & (self.user_ids[rows] == samples.user_ids)
        return np.where(found, rows, NOWHERE)


def read_places(data: PreparedData) -> Places:
    """From `events.arrow`."""
    events = map_columns(data.folder / "events.arrow")
    user_ids = events["user_id"]
    every = np.arange(len(data.user_starts))
    return Places(
        item_ids=events["item_id"],
        user_ids=user_ids,
        timestamps=events.get("timestamp"),
        ordinals=events.get("ordinal"),
        first=np.searchsorted(user_ids, every, side="left"),
        end=np.searchsorted(user_ids, every, side="right"),
    )


def find_target_places(places: Places, samples: Samples) -> Rows:
    """[S] the event row of each positive; `NOWHERE` where the event there has another item, and for negatives."""
    rows = places.find_events(samples)
    found = (samples.labels == 1) & (rows != NOWHERE)
    found[found] = places.item_ids[rows[found]] == samples.target_item_ids[found]
    return np.where(found, rows, NOWHERE)


def find_history_bounds(
    places: Places, data: DataConfig, split: Split, samples: Samples, moments: Rows | None
) -> Rows | None:
    """[S] the event row that each history must end before, by the rule of `samples/histories.py` and the protocol.

    Args:
        moments: [S] of the requests of a log of impressions; None for a log of clicks.

    Returns:
        None where the log has no times to go by.
    """
    times = places.timestamps
    if times is None:
        return None
    first, end = places.first[samples.user_ids], places.end[samples.user_ids]
    events = places.find_events(samples)
    if moments is not None:
        bounds = find_history_ends(times, first, end, moments - data.history_lag)
    elif data.ties == "apart":
        bounds = find_history_ends(times, first, end, times[np.maximum(events, 0)])
    else:
        bounds = events
    cut = find_cut(data, split)
    if cut is not None:
        bounds = np.minimum(bounds, find_history_ends(times, first, end, np.full(len(samples), cut - data.history_lag)))
    if moments is not None and data.protocol in ("paper", "holdout") and split is not Split.TRAIN:
        least = np.full(len(places.first), len(times))
        np.minimum.at(least, samples.user_ids, bounds)
        bounds = least[samples.user_ids]
    return bounds


def find_cut(data: DataConfig, split: Split) -> int | None:
    """The moment at which a split's histories end, under protocol `time`."""
    if data.protocol != "time" or data.time_split is None or split is Split.TRAIN:
        return None
    return data.time_split.validation_from if split is Split.VALIDATION else data.time_split.test_from


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
