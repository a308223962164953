"""Each user's stored events as the history of something new: all of them, or those before a moment."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from din_train.dataset.histories import find_history_ends
from din_train.dataset.protocols import SPLITS
from din_train.dataset.store import PreparedData
from din_train.logs.time_unit import has_unix_seconds

_EVENTS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class StoredHistories:
    """starts, ends: [num_users + 2] a user's first event row, and the row after the last.

    times: [events] as stored, ascending within a user; None where the data set has none.
    in_unix_seconds: whether they are that. lag: `data.history_lag`.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    times: NDArray[np.int64] | None
    in_unix_seconds: bool
    lag: int

    @classmethod
    def of(cls, data: PreparedData) -> Self:
        """Those of a prepared data set.

        Of ready-made samples, where a user's events are the histories of several rows, it is the longest of them, and
        times are left out if some history is not in their order.
        """
        times = data.event_columns.get("timestamp")
        starts = data.user_starts
        ends = np.append(starts[1:], len(data.event_item_ids))
        if data.manifest.histories.get("given"):
            ends = starts + _find_longest(data)
            if data.manifest.histories.get("histories_out_of_order"):
                times = None  # no place before a moment can be found
        lag = int(data.manifest.histories.get("lag", 0))
        return cls(starts, ends, times, times is not None and _has_unix_seconds(times), lag)

    def find_ends(self, user_ids: NDArray[np.int32], moments: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """[S] the event row after each history's newest event.

        Args:
            moments: [S] times; only events before them count (see `samples/histories.py`). None: all do.
        """
        return self.ends[user_ids] if moments is None else self._find(user_ids, moments - self.lag)

    def has_event_at(self, user_ids: NDArray[np.int32], moments: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[S] whether the user has a stored event at that very time."""
        at: NDArray[np.bool_] = self._find(user_ids, moments) < self._find(user_ids, moments + 1)
        return at

    def _find(self, user_ids: NDArray[np.int32], before: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.times is None:
            raise ValueError("a data set without times has no history before a moment")
        return find_history_ends(self.times, self.starts[user_ids], self.ends[user_ids], before)


def _find_longest(data: PreparedData) -> NDArray[np.int64]:
    """[num_users + 2] length of the longest history that begins at the user's first event."""
    longest = np.zeros(len(data.user_starts), np.int64)
    for split in SPLITS:
        samples = data.samples(split, np.iinfo(np.int32).max)
        first = samples.history_start == data.user_starts[samples.user_ids]
        np.maximum.at(longest, samples.user_ids[first], samples.history_length[first])
    return longest


def _has_unix_seconds(times: NDArray[np.int64]) -> bool:
    """Preparation stores seconds where any timestamp looked like a unix time, so one that does now tells."""
    starts = range(0, len(times), _EVENTS_AT_ONCE)
    return any(has_unix_seconds(times[start : start + _EVENTS_AT_ONCE]) for start in starts)
