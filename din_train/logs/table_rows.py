"""One event of delimited text: which field of a line is what."""

from collections.abc import Mapping
from dataclasses import dataclass

from din_train.logs.delimited import split_row
from din_train.logs.event_writer import EventRow
from din_train.logs.labels import LabelRule
from din_train.logs.null_values import NullValues
from din_train.logs.records import parse_timestamp
from din_train.logs.rejects import BadLine, SkippedLine
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
