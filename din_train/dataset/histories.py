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

import numpy as np
from numpy.typing import NDArray

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
