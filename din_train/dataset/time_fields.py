"""Fields that follow from the times of a sample and of behaviours, as ids from 2."""

import numpy as np
from numpy.typing import NDArray

from din_train.config.data import TIME_FIELDS, TIME_GAP
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID

SECONDS_A_DAY = 86_400

# 0 days, 1, 2-3, 4-7, 8-15, ...; the last holds everything longer.
_GAP_BUCKETS = 13

# Seconds from a behaviour to the candidate, likewise; the last holds everything from about a year.
_SECOND_BUCKETS = 27


def _name_powers(buckets: int) -> list[str]:
    middle = (f"{2**place}-{2 ** (place + 1) - 1}" for place in range(1, buckets - 2))
    return ["0", "1", *middle, f"{2 ** (buckets - 2)}-"]


VALUES = {
    "hour": [str(hour) for hour in range(24)],
    "weekday": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "days_since_last": _name_powers(_GAP_BUCKETS),
    TIME_GAP: _name_powers(_SECOND_BUCKETS),
}
if set(VALUES) != {*TIME_FIELDS, TIME_GAP}:
    raise RuntimeError("the config and this module name different time fields")


def compute_time_field(name: str, seconds: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int32]:
    """[S] ids.

    Args:
        name: `hour` or `weekday` (UTC), or `days_since_last`: whole days since the newest behaviour of the history.
        seconds: [S] unix times of the samples.
        last: [S] unix times of the newest behaviour; -1 where there is none.
    """
    if name == "hour":
        place = seconds // 3600 % 24
    elif name == "weekday":
        place = (seconds // SECONDS_A_DAY + 3) % 7  # 1970-01-01 was a Thursday
    else:
        days = np.maximum(seconds - last, 0) // SECONDS_A_DAY
        place = _cut_by_powers(days, _GAP_BUCKETS)
        return np.where(last < 0, UNKNOWN_ID, place + FIRST_REAL_ID).astype(np.int32)
    return (place + FIRST_REAL_ID).astype(np.int32)


def compute_time_gap(seconds: NDArray[np.int64], behaviours: NDArray[np.int64]) -> NDArray[np.int32]:
    """[N] ids of the seconds from behaviours to their candidates, cut by powers of two.

    Args:
        seconds: [N] unix time of the candidate.
        behaviours: [N] unix time of the behaviour; -1 if there is none, so that its gap is unknown.
    """
    place = _cut_by_powers(np.maximum(seconds - behaviours, 0), _SECOND_BUCKETS)
    return np.where(behaviours == -1, UNKNOWN_ID, place + FIRST_REAL_ID).astype(np.int32)


def _cut_by_powers(numbers: NDArray[np.int64], buckets: int) -> NDArray[np.int64]:
    """Bucket of each number: 0, 1, 2-3, 4-7, ...; the last holds everything larger."""
    return np.minimum(np.ceil(np.log2(numbers + 1)).astype(np.int64), buckets - 1)
