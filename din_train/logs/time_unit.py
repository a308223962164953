"""The unit of a log's timestamps: known of a format, or told by their size.

Unix times from 1979 to 2128 have ranges of their own in seconds, milliseconds, microseconds and nanoseconds. One log
has one unit; a timestamp in the range of another is a bad line. What is in none of the ranges (a counter, a day
number) says nothing about the unit.
"""

import numpy as np
from numpy.typing import NDArray

from din_train.logs.rejects import OTHER_UNIT, BadLine

TICKS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}

FIRST_UNIX_SECOND, _LAST_SECOND = 300_000_000, 5_000_000_000


def guess_unit(value: int) -> str | None:
    """The unit whose range holds the value."""
    for unit, ticks in TICKS.items():
        if FIRST_UNIX_SECOND * ticks <= value < _LAST_SECOND * ticks:
            return unit
    return None


def has_unix_seconds(values: NDArray[np.int64]) -> bool:
    """Whether any value is in the range of seconds."""
    return bool(in_range(values, 1).any())


def find_unix_times(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[n] whether a value is in the range of some unit."""
    found: NDArray[np.bool_] = np.logical_or.reduce([in_range(values, ticks) for ticks in TICKS.values()])
    return found


def to_unix_seconds(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """[n] unix times, each in the unit that its size tells -> [n] seconds, and where there is no telling.

    What is below every range is taken for seconds.
    """
    seconds = values.copy()
    known = values < FIRST_UNIX_SECOND
    for ticks in TICKS.values():
        found = in_range(values, ticks)
        seconds = np.where(found, values // ticks, seconds)
        known |= found
    return seconds, ~known


def in_range(values: NDArray[np.int64], ticks: int) -> NDArray[np.bool_]:
    """[n] whether a value is a unix time in the unit of so many ticks a second."""
    found: NDArray[np.bool_] = (values >= FIRST_UNIX_SECOND * ticks) & (values < _LAST_SECOND * ticks)
    return found


class TimeUnit:
    """What is known of a log's unit so far; one for all files of a log.

    Args:
        unit: a key of `TICKS`, where the format says it.
    """

    def __init__(self, unit: str | None = None) -> None:
        self.unit = unit

    @property
    def ticks(self) -> int | None:
        """Timestamps a second; None if no timestamp looked like a unix time."""
        return None if self.unit is None else TICKS[self.unit]

    def check(self, value: int) -> int:
        """The value itself; the first that looks like a unix time tells the log's unit.

        Raises:
            BadLine: where it looks like a time in another unit.
        """
        unit = guess_unit(value)
        if unit is not None and unit != self.unit:
            if self.unit is not None:
                raise BadLine(f"{OTHER_UNIT}{unit}, not {self.unit}")
            self.unit = unit
        return value
