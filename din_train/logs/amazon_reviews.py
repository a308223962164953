"""Amazon reviews, 2014 and 2018 releases: one JSON object a line, one event a review."""

from collections.abc import Iterator

from din_train.logs.event_writer import EventRow, EventWriter
from din_train.logs.lines import read_lines
from din_train.logs.log import Progress
from din_train.logs.records import MAX_TIMESTAMP, check_timestamp, parse_json_object, take_id
from din_train.logs.rejects import BadLine, Rejects


def read_reviews(rejects: Rejects, events: EventWriter, progress: Progress) -> set[str]:
    """Write the reviews of `rejects.report.path` as events; returns the items they mention.

    Raises:
        DataError: where the file cannot be read, has too many bad lines, or no event.
    """
    mentioned: set[str] = set()
    events.add_rows(_read_rows(rejects, mentioned, progress))
    rejects.check_share()
    rejects.check_kept()
    return mentioned


def _read_rows(rejects: Rejects, mentioned: set[str], progress: Progress) -> Iterator[EventRow]:
    report = rejects.report
    for number, line in read_lines(report.path, progress):
        if not line or line.isspace():
            continue
        report.lines += 1
        try:
            user, item, timestamp = parse_review(line)
        except BadLine as bad:
            rejects.add(number, bad.reason, line)
            continue
        report.kept += 1
        mentioned.add(item)
        yield user, item, timestamp, None


def parse_review(line: bytes) -> tuple[str, str, int]:
    """User, item and unix seconds of one review; ids are kept exactly.

    Raises:
        BadLine: where one is missing or of the wrong type.
    """
    review = parse_json_object(line)
    return take_id(review, "reviewerID"), take_id(review, "asin"), _parse_time(review.get("unixReviewTime"))


def _parse_time(value: object) -> int:
    if type(value) is int and 0 <= value <= MAX_TIMESTAMP:  # bool is not int here; nearly every line
        return value
    if value is None:
        raise BadLine("no unixReviewTime")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise BadLine("timestamp not a whole number")
    return check_timestamp(value)
