"""The history of a row: which of its user's stored events it sees. The one rule, for every command.

A *request* is what a user was shown together: the rows of one user with one `data.columns.request`, or without such a
column of one time. Its *moment* is the time of its earliest row.

    log                          the history holds the user's events with
    impressions (with labels)    click time < moment - `data.history_lag`
    clicks, `data.ties: apart`   time < own time
    clicks, `file_order`         time < own time, or the same time and a place further up in the file
    a row given to `predict`     as above, by its own time; such a row has no place in a file, so ties are apart

Times are compared in whole seconds. A user's stored events are ordered by time, those of one time by raw item id
(impressions) or by their place in the file (clicks), so that every history is the beginning of one list.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from din_train.dataset.store import Samples

Ints = NDArray[np.int64]


def find_history_ends(times: Ints, first: Ints, end: Ints, before: Ints) -> Ints:
    """[S] the row after the newest event that is strictly before a moment.

    Args:
        times: [events] ascending within a user.
        first, end: [S] the user's first event row, and the row after the user's last.
        before: [S] the moments.
    """
    low, high = first.astype(np.int64), end.astype(np.int64)
    while (searching := low < high).any():  # a binary search in all rows at once
        middle = (low + high) // 2
        earlier = searching & (times[np.where(searching, middle, 0)] < before)
        low = np.where(earlier, middle + 1, low)
        high = np.where(searching & ~earlier, middle, high)
    return low


def count_visits(num_events: int, samples: "Samples") -> Ints:
    """[events] how many samples' histories, and further sequences, hold each event."""
    opened, closed = np.zeros((2, num_events + 1), np.int64)
    for start, length in samples.all_sequences.values():
        opened += np.bincount(start, minlength=num_events + 1)
        closed += np.bincount(start + length, minlength=num_events + 1)
    jumps = np.zeros(num_events, np.int64)
    if samples.skipped is not None:
        jumping = samples.skipped >= 0
        end = samples.history_ends[jumping]  # held in place of what is jumped over
        jumps += np.bincount(end, minlength=num_events) - np.bincount(samples.skipped[jumping], minlength=num_events)
    visits: Ints = np.cumsum(opened - closed)[:num_events] + jumps
    return visits


def find_rows(ordinals: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """[S] the row of `ordinals`, distinct numbers in any order, that holds each wanted one; all of them are there."""
    order = np.argsort(ordinals)
    return order[np.searchsorted(ordinals, wanted, sorter=order)]
