"""Amazon reviews: one JSON object a line, one event a review."""

from collections.abc import Iterator
from typing import Literal

from din_train.logs.event_writer import EventRow, EventWriter
from din_train.logs.lines import read_lines
from din_train.logs.log import Progress
from din_train.logs.records import MAX_TIMESTAMP, NullValues, check_timestamp, parse_json_object, take_id
from din_train.logs.rejects import BadLine, Rejects
from din_train.logs.time_unit import TimeUnit

Release = Literal["amazon-2014", "amazon-2018", "amazon-2023"]

TIME_UNITS: dict[Release, str] = {
    "amazon-2014": "seconds",
    "amazon-2018": "seconds",
    "amazon-2023": "milliseconds",
}

# The keys of user, item and time. Of the 2023 release's two item ids, metadata has the parent's.
_KEYS_UNTIL_2018 = ("reviewerID", "asin", "unixReviewTime")
KEYS: dict[Release, tuple[str, str, str]] = {
    "amazon-2014": _KEYS_UNTIL_2018,
    "amazon-2018": _KEYS_UNTIL_2018,
    "amazon-2023": ("user_id", "parent_asin", "timestamp"),
}


def read_reviews(release: Release, rejects: Rejects, events: EventWriter, progress: Progress) -> set[str]:
    """Write the reviews of `rejects.report.path` as events; returns the items they mention.

    Raises:
        DataError: where the file cannot be read, or has too many bad lines.
    """
    mentioned: set[str] = set()
    events.add_rows(_read_rows(release, rejects, mentioned, progress))
    rejects.check_share()
    return mentioned


def _read_rows(release: Release, rejects: Rejects, mentioned: set[str], progress: Progress) -> Iterator[EventRow]:
    report, keys, unit = rejects.report, KEYS[release], TimeUnit(TIME_UNITS[release])
    for number, line in read_lines(report.path, progress):
        if not line or line.isspace():
            continue
        report.lines += 1
        try:
            row = parse_review(line, keys, unit, rejects.nulls)
        except BadLine as bad:
            rejects.add(number, bad.reason, line)
            continue
        report.kept += 1
        mentioned.add(row[1])
        yield row


def parse_review(
    line: bytes, keys: tuple[str, str, str], unit: TimeUnit, nulls: NullValues = frozenset()
) -> tuple[str, str, int]:
    """User, item and time of one review; ids are kept exactly.

    Args:
        nulls: texts that are no ids.

    Raises:
        BadLine: where one is missing, given twice, or of the wrong type.
    """
    user, item, time = keys
    review = parse_json_object(line, keys)
    return take_id(review, user, nulls), take_id(review, item, nulls), unit.check(_parse_time(review.get(time), time))


def _parse_time(value: object, key: str) -> int:
    if type(value) is int and 0 <= value <= MAX_TIMESTAMP:  # bool is not int here; nearly every line
        return value
    if value is None:
        raise BadLine(f"no {key}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise BadLine("timestamp not a whole number")
    return check_timestamp(value)
