"""CSV and TSV lines: the header, and the fields of one event."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from din_train.config import ColumnsConfig
from din_train.errors import DataError
from din_train.logs.columns import find_columns
from din_train.logs.records import decode_line, parse_timestamp
from din_train.logs.rejects import BadLine

_FORMS = {"\t": "tab-separated", ",": "comma-separated"}


@dataclass(frozen=True)
class Layout:
    """How a line is cut into fields, and which field is which."""

    delimiter: Literal["\t", ","]
    width: int
    user: int
    item: int
    timestamp: int
    category: int | None


def parse_header(line: bytes, columns: ColumnsConfig, path: Path) -> Layout:
    """The layout that a header line tells: between tabs if it has one, else between commas.

    Raises:
        DataError: where it is no header, or lacks a column of `columns`.
    """
    delimiter: Literal["\t", ","] = "\t" if b"\t" in line else ","
    try:
        names = split_fields(line, delimiter)
    except BadLine as bad:
        raise DataError(
            f"{path}: its first line is no header ({bad.reason}); expected a CSV, TSV or Parquet file in UTF-8 "
            "with lines ended by newlines; check data.events"
        ) from None
    places = find_columns(columns, names, path, _FORMS[delimiter])
    return Layout(
        delimiter=delimiter,
        width=len(names),
        user=places["user"],
        item=places["item"],
        timestamp=places["timestamp"],
        category=places.get("category"),
    )


def parse_row(line: bytes, layout: Layout) -> tuple[str, str, int, str | None]:
    """User, item, timestamp and category of one event; ids are kept exactly.

    Raises:
        BadLine: where the line has not the header's fields, or one of them cannot be used.
    """
    fields = split_fields(line, layout.delimiter)
    if len(fields) != layout.width:
        raise BadLine("wrong number of fields")
    user, item = fields[layout.user], fields[layout.item]
    if not user:
        raise BadLine("empty user")
    if not item:
        raise BadLine("empty item")
    category = None if layout.category is None else fields[layout.category] or None
    return user, item, parse_timestamp(fields[layout.timestamp]), category


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
    if delimiter == "\t" or '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        raise BadLine("broken quotes") from None


def is_blank(line: bytes, layout: Layout) -> bool:
    """Whether a line has nothing on it; tabs between no fields are something."""
    return not line.strip() and layout.delimiter.encode() not in line
