"""Events of delimited text, a block at a time: the quick way if every line is plainly good, else line by line."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from din_train.logs.delimited import parse_lines, read_body, split_columns, split_row
from din_train.logs.event_writer import EventColumns, EventRow, EventWriter, find_category
from din_train.logs.labels import LabelRule
from din_train.logs.log import Progress
from din_train.logs.records import NullValues, drop_null_values, find_null_values, parse_timestamp
from din_train.logs.rejects import BadLine, Rejects, SkippedLine
from din_train.logs.time_unit import TimeUnit

_LABEL_ITSELF = LabelRule()


@dataclass(frozen=True)
class WantedTypes:
    """Events of several types, of which some are wanted.

    place: of the type's field. known: every type there is. wanted: those to keep.
    """

    place: int
    known: tuple[str, ...]
    wanted: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """How a line is cut into fields, and which field is which.

    delimiter: a tab, a comma (fields may be quoted) or `::`.
    texts: name in the events file (`category`, a declared field) -> place; an empty field is null.
    nulls: texts that stand for no value, as an empty field does.
    """

    delimiter: str
    width: int
    user: int
    item: int
    timestamp: int
    texts: Mapping[str, int]
    label: int | None = None
    label_rule: LabelRule = _LABEL_ITSELF
    types: WantedTypes | None = None
    nulls: NullValues = frozenset()


def parse_row(line: bytes, layout: Layout, unit: TimeUnit) -> EventRow:
    """User, item, timestamp, label if there is one, and texts of one event; ids are kept exactly.

    Raises:
        BadLine: where the line has not the layout's fields, or one of them cannot be used.
        SkippedLine: where it is of a type that is not wanted.
    """
    fields = split_row(line, layout.delimiter, layout.width)
    user, item = fields[layout.user], fields[layout.item]
    if not user:
        raise BadLine("empty user")
    if not item:
        raise BadLine("empty item")
    for role, place in (("user", layout.user), ("item", layout.item), ("timestamp", layout.timestamp)):
        if fields[place] in layout.nulls:
            raise BadLine(f"no {role}")
    timestamp = parse_timestamp(fields[layout.timestamp])
    label = () if layout.label is None else (_parse_label(fields[layout.label], layout),)
    if layout.types is not None:
        _check_type(fields[layout.types.place], layout.types)
    unit.check(timestamp)  # last, so that no line that is bad otherwise tells the log's unit
    texts = (fields[place] for place in layout.texts.values())
    return (user, item, timestamp, *label, *(None if not text or text in layout.nulls else text for text in texts))


def _parse_label(text: str, layout: Layout) -> int:
    return layout.label_rule.parse("" if text in layout.nulls else text)


def _check_type(kind: str, types: WantedTypes) -> None:
    if kind not in types.known:
        raise BadLine("unknown behaviour type")
    if kind not in types.wanted:
        raise SkippedLine(f"behaviour {kind}")


_PLAIN_TIMESTAMP = r"\A[0-9]{1,18}\z"  # 18 digits always fit int64


def parse_clean_block(block: bytes, layout: Layout, unit: TimeUnit) -> tuple[EventColumns, dict[str, int]] | None:
    """Parse whole lines at once.

    Returns:
        The events, and how many are left out by type; None where any line is blank or bad, or has its timestamp in an
        unusual form.
    """
    places = [layout.user, layout.item, layout.timestamp, *layout.texts.values()]
    places += [] if layout.label is None else [layout.label]
    places += [] if layout.types is None else [layout.types.place]
    fields = split_columns(block, layout.delimiter, layout.width, places)
    if fields is None:
        return None
    users, items, digits, *rest = fields
    types = None if layout.types is None else rest.pop()
    labels = None if layout.label is None else layout.label_rule.parse_column(rest.pop())
    if layout.label is not None and labels is None:
        return None
    good = (
        pc.all(pc.match_substring_regex(digits, _PLAIN_TIMESTAMP)),
        pc.all(pc.not_equal(users, "")),
        pc.all(pc.not_equal(items, "")),
        pc.all(pc.invert(find_null_values(users, layout.nulls))),
        pc.all(pc.invert(find_null_values(items, layout.nulls))),
    )
    if not all(each.as_py() for each in good):
        return None
    timestamps = digits.cast(pa.int64())
    if unit.find_other(timestamps.to_numpy()):
        return None
    texts = [drop_null_values(text, layout.nulls) for text in rest]
    events = [users, items, timestamps, *([] if labels is None else [labels]), *texts]
    return (events, {}) if layout.types is None else _take_wanted(events, types, layout.types)


def _take_wanted(events: list[Any], kinds: Any, types: WantedTypes) -> tuple[EventColumns, dict[str, int]] | None:
    counts = {each["values"]: each["counts"] for each in pc.value_counts(kinds).to_pylist()}
    if not counts.keys() <= set(types.known):
        return None
    wanted = pc.is_in(kinds, pa.array(types.wanted, pa.string()))
    left_out = {f"behaviour {kind}": count for kind, count in counts.items() if kind not in types.wanted}
    return [column.filter(wanted) for column in events], left_out


def read_text(
    find_layout: Callable[[bytes], tuple[Layout, bool]],
    rejects: Rejects,
    events: EventWriter,
    unit: TimeUnit,
    progress: Progress,
) -> None:
    """Write the rows of `rejects.report.path` as events.

    Args:
        find_layout: the first line -> the layout, and whether that line is a header.

    Raises:
        DataError: where the file cannot be read, lacks a column, or is of another format.
    """
    report = rejects.report
    for layout, first, block in read_body(report.path, find_layout, progress):
        clean = parse_clean_block(block, layout, unit)
        if clean is None:
            events.add_rows(_read_rows(first, block, layout, rejects, unit))
            continue
        columns, left_out = clean
        events.add_columns(columns)
        report.kept += len(columns[0])
        report.lines += len(columns[0]) + sum(left_out.values())
        for what, count in left_out.items():
            report.skip(what, count)
        category = find_category(layout.texts)
        if category is not None:
            report.note("no category", columns[category].null_count)


def _read_rows(first: int, block: bytes, layout: Layout, rejects: Rejects, unit: TimeUnit) -> Iterator[EventRow]:
    report, category = rejects.report, find_category(layout.texts)
    for row in parse_lines(first, block, layout.delimiter, lambda line: parse_row(line, layout, unit), rejects):
        report.kept += 1
        if category is not None and row[category] is None:
            report.note("no category", 1)
        yield row
