"""Context fields that follow from the time of a sample, as ids from 2."""

import numpy as np
from numpy.typing import NDArray

from din_train.config.data import TIME_FIELDS
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID

SECONDS_A_DAY = 86_400

# 0 days, 1, 2-3, 4-7, 8-15, ...; the last holds everything longer.
_GAP_BUCKETS = 13

VALUES = {
    "hour": [str(hour) for hour in range(24)],
    "weekday": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "days_since_last": [
        "0",
        "1",
        *(f"{2**place}-{2 ** (place + 1) - 1}" for place in range(1, _GAP_BUCKETS - 2)),
        f"{2 ** (_GAP_BUCKETS - 2)}-",
    ],
}
if set(VALUES) != set(TIME_FIELDS):
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
        place = np.minimum(np.ceil(np.log2(days + 1)).astype(np.int64), _GAP_BUCKETS - 1)
        return np.where(last < 0, UNKNOWN_ID, place + FIRST_REAL_ID).astype(np.int32)
    return (place + FIRST_REAL_ID).astype(np.int32)
