"""The first and the last moment of a log, and whether the config's cuts lie between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from din_train.config import Config
from din_train.errors import DataError, EmptySplitError
from din_train.logs import RawLog
from din_train.logs.time_unit import guess_unit


@dataclass(frozen=True)
class Moments:
    """first, last: unix seconds, or numbers of the log's own kind where `is_unix` is not set."""

    first: int
    last: int
    is_unix: bool

    @classmethod
    def of(cls, log: RawLog) -> Self:
        """Those of a log's events."""
        first, last = log.measures.ranges["timestamp"]
        return cls(first // (log.ticks or 1), last // (log.ticks or 1), log.ticks is not None)

    def show(self, moment: int) -> str:
        """A moment as a date where it is a unix time, else the number."""
        return show_date(moment) if self.is_unix else str(moment)

    def __str__(self) -> str:
        return f"from {self.show(self.first)} to {self.show(self.last)}"


def show_date(seconds: int) -> str:
    """`2014-05-01` or `2014-05-01 13:00:00`, in UTC; the number itself where no calendar has it."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return str(seconds)
    return moment.strftime("%Y-%m-%d") if seconds % 86_400 == 0 else moment.strftime("%Y-%m-%d %H:%M:%S")


def check_cuts(config: Config, moments: Moments) -> list[str]:
    """Compare `filters.since`, `filters.until` and `data.time_split` with the log's first and last moment.

    Returns:
        A line for each filter that leaves out nothing.

    Raises:
        DataError: where a date is compared with times that are none, or a cut leaves nothing on one of its sides.
    """
    filters, split = config.filters, config.data.time_split
    since, until = filters.since, filters.until
    _check_kind({"filters.since": since, "filters.until": until}, moments)
    remarks = []
    if since is not None:
        if since > moments.last:
            raise _leaves_nothing("filters.since", since, "leaves out every event", moments)
        if since <= moments.first:
            remarks.append(f"filters.since: {moments.show(since)} leaves out nothing: the log goes {moments}")
    if until is not None:
        if until <= moments.first:
            raise _leaves_nothing("filters.until", until, "leaves out every event", moments)
        if until > moments.last:
            remarks.append(f"filters.until: {moments.show(until)} leaves out nothing: the log goes {moments}")
    if split is not None:
        cuts = {"validation": split.validation_from, "test": split.test_from}
        _check_kind({f"data.time_split.{part}_from": cut for part, cut in cuts.items()}, moments)
        first = moments.first if since is None else max(moments.first, since)
        last = moments.last if until is None else min(moments.last, until - 1)
        for part, cut in cuts.items():
            if cut <= first or (cut > last and split.has_split(part, until)):
                side, without = ("before", "train") if cut <= first else ("from then on", part)
                raise _leaves_nothing(
                    f"data.time_split.{part}_from",
                    cut,
                    f"has no event {side}, so the {without} split has no sample",
                    Moments(first, last, moments.is_unix),
                    DataError if cut <= first else EmptySplitError,
                )
    return remarks


def _check_kind(cuts: Mapping[str, int | None], moments: Moments) -> None:
    for key, cut in cuts.items():
        if cut is not None and not moments.is_unix and guess_unit(cut) == "seconds":
            raise DataError(
                f"{key}: {show_date(cut)} is compared with times that are no unix times: the log's go {moments}; give "
                "a number of that kind, or write unix times into the log"
            )


def _leaves_nothing(key: str, cut: int, what: str, moments: Moments, kind: type[DataError] = DataError) -> DataError:
    return kind(f"{key}: {moments.show(cut)} {what}: the log's times go {moments}; choose a moment between them")
