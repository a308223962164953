"""Delimited lines: the header, and the fields of one event."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from din_train.errors import DataError
from din_train.logs.columns import find_columns
from din_train.logs.event_writer import EventRow
from din_train.logs.labels import LabelRule
from din_train.logs.records import decode_line, parse_timestamp
from din_train.logs.rejects import BadLine, SkippedLine
from din_train.logs.time_unit import TimeUnit

_LABEL_ITSELF = LabelRule()
FORMS = {"\t": "tab-separated", ",": "comma-separated"}


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


# The first line -> the layout, and whether that line is a header.
LayoutOf = Callable[[bytes], tuple[Layout, bool]]


def parse_header(line: bytes, wanted: Mapping[str, str], path: Path) -> tuple[str, list[str], dict[str, int]]:
    """Delimiter, names and places of the wanted columns of a header line: between tabs if it has one, else commas.

    Raises:
        DataError: where it is no header, or lacks a wanted column.
    """
    delimiter = "\t" if b"\t" in line else ","
    try:
        names = split_fields(line, delimiter)
    except BadLine as bad:
        raise DataError(
            f"{path}: its first line is no header ({bad.reason}); expected a CSV, TSV or Parquet file in UTF-8 "
            "with lines ended by newlines; check the path in the config"
        ) from None
    return delimiter, names, find_columns(wanted, names, path, FORMS[delimiter])


def parse_row(line: bytes, layout: Layout, unit: TimeUnit) -> EventRow:
    """User, item, timestamp, label if there is one, and texts of one event; ids are kept exactly.

    Raises:
        BadLine: where the line has not the layout's fields, or one of them cannot be used.
        SkippedLine: where it is of a type that is not wanted.
    """
    fields = split_fields(line, layout.delimiter)
    if len(fields) != layout.width:
        raise BadLine("wrong number of fields")
    user, item = fields[layout.user], fields[layout.item]
    if not user:
        raise BadLine("empty user")
    if not item:
        raise BadLine("empty item")
    timestamp = parse_timestamp(fields[layout.timestamp])
    label = () if layout.label is None else (layout.label_rule.parse(fields[layout.label]),)
    if layout.types is not None:
        _check_type(fields[layout.types.place], layout.types)
    unit.check(timestamp)  # last, so that no line that is bad otherwise tells the log's unit
    return (user, item, timestamp, *label, *(fields[place] or None for place in layout.texts.values()))


def _check_type(kind: str, types: WantedTypes) -> None:
    if kind not in types.known:
        raise BadLine("unknown behaviour type")
    if kind not in types.wanted:
        raise SkippedLine(f"behaviour {kind}")


def split_fields(line: bytes, delimiter: str) -> list[str]:
    r"""The fields of a line that ends in nothing or \r.

    Raises:
        BadLine: where it is not text, or its quotes do not match.
    """
    text = decode_line(line).removesuffix("\r")
    if "\0" in text:
        raise BadLine("NUL character")
    if "\r" in text:
        raise BadLine("carriage return inside the line")
    if delimiter != "," or '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        raise BadLine("broken quotes") from None


def is_blank(line: bytes, delimiter: str) -> bool:
    """Whether a line has nothing on it; tabs between no fields are something."""
    return not line.strip() and delimiter.encode() not in line


def cut_first_line(block: bytes) -> tuple[int, bytes, bytes]:
    """Blank lines before the first line with something on it, that line, and what follows it."""
    blank_lines = 0
    while block:
        line, _, block = block.partition(b"\n")
        if line.strip():
            return blank_lines, line, block
        blank_lines += 1
    return blank_lines, b"", b""


def name_columns(columns: Mapping[str, str | None], fields: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Dotted config key -> column name, of `data.columns` and of the declared fields that are columns."""
    named = {f"data.columns.{role}": name for role, name in columns.items() if name is not None}
    for key, names in fields.items():
        named |= {f"data.{key}.{name}": name for name in names}
    return named
