"""Protocols: which event of a user is a target of which split.

A user's events b1 .. bn in time order (ties in the log's own order). A target is predicted from everything
before it. b1 has nothing before it and is never a target.

              b1       b2 .. b(n-2)   b(n-1)       bn
    paper     history  train          train        test
    holdout   history  train          validation   test

What that means for short users:

    events    paper                    holdout
    1         dropped                  dropped
    2         test only                dropped
    3         1 train, test            validation and test only
    4         2 train, test            1 train, validation, test
"""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray


class Split(IntEnum):
    """The part of the data a sample belongs to; `HISTORY` marks events that are no target."""

    HISTORY = -1
    TRAIN = 0
    VALIDATION = 1
    TEST = 2


MIN_EVENTS: Final = {"paper": 2, "holdout": 3}


def assign_splits(events_per_user: NDArray[np.int64], protocol: str) -> NDArray[np.int8]:
    """The split of every event as a target.

    Args:
        events_per_user: [users], each at least `MIN_EVENTS[protocol]`.
        protocol: `paper` or `holdout`.

    Returns:
        [events] of `Split` values, for events sorted by user and time.
    """
    first = np.cumsum(events_per_user) - events_per_user  # [users]
    last = first + events_per_user - 1
    splits = np.full(int(events_per_user.sum()), Split.TRAIN, dtype=np.int8)
    if protocol == "holdout":
        splits[last - 1] = Split.VALIDATION
    splits[last] = Split.TEST
    splits[first] = Split.HISTORY
    return splits
