"""Delimited text, whatever its lines mean: the first line tells the layout, then one physical line a record.

Between commas a field may be quoted, but not across lines; between tabs a quote is a character like any other.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.csv

from din_train.errors import DataError
from din_train.logs.columns import find_columns
from din_train.logs.lines import read_blocks, split_lines
from din_train.logs.log import Progress
from din_train.logs.records import decode_line
from din_train.logs.rejects import BadLine, Rejects, SkippedLine

FORMS = {"\t": "tab-separated", ",": "comma-separated"}

Layout = TypeVar("Layout")
Record = TypeVar("Record")

# Delimiter, names and places of the wanted columns.
Header = tuple[str, list[str], dict[str, int]]


def read_body(
    path: Path, find_layout: Callable[[bytes], tuple[Layout, bool]], progress: Progress
) -> Iterator[tuple[Layout, int, bytes]]:
    """Yield (layout, number of the first line, whole lines) a block at a time.

    Args:
        find_layout: the first line with something on it -> the layout, and whether that line is a header.

    Raises:
        DataError: where the file cannot be read to its end.
    """
    layout: Layout | None = None
    for first, block in read_blocks(path, progress):
        if layout is None:
            blank_lines, line, rest = _cut_first_line(block)
            if not line:
                continue
            layout, is_header = find_layout(line)
            if is_header:
                first, block = first + blank_lines + 1, rest
        yield layout, first, block


def parse_lines(
    first: int, block: bytes, delimiter: str, parse: Callable[[bytes], Record], rejects: Rejects
) -> Iterator[Record]:
    """The records of a block's lines; what is not blank is counted, and rejected or skipped where `parse` does.

    Args:
        first: number of the first line.
        parse: a line -> its record; raises BadLine or SkippedLine.
    """
    for number, line in enumerate(split_lines(block), first):
        if is_blank(line, delimiter):
            continue
        rejects.report.lines += 1
        try:
            record = parse(line)
        except BadLine as bad:
            rejects.add(number, bad.reason, line)
            continue
        except SkippedLine as skipped:
            rejects.report.skip(skipped.what, 1)
            continue
        yield record


def parse_header(line: bytes, wanted: Mapping[str, str], path: Path) -> Header:
    """Delimiter, names and places of the wanted columns of a header line.

    Raises:
        DataError: where it is no header, or lacks a wanted column.
    """
    delimiter, names = parse_names(line, path)
    return delimiter, names, find_columns(wanted, names, path, FORMS[delimiter])


def parse_names(line: bytes, path: Path) -> tuple[str, list[str]]:
    """Delimiter and names of a header line: between tabs if it has one, else commas.

    Raises:
        DataError: where it is no header.
    """
    delimiter = "\t" if b"\t" in line else ","
    try:
        return delimiter, split_fields(line, delimiter)
    except BadLine as bad:
        raise DataError(
            f"{path}: its first line is no header ({bad.reason}); expected a CSV, TSV or Parquet file in UTF-8 "
            "with lines ended by newlines; check the path in the config"
        ) from None


def split_row(line: bytes, delimiter: str, width: int) -> list[str]:
    """The fields of a line that must have `width` of them.

    Raises:
        BadLine: where it has not, or see `split_fields`.
    """
    fields = split_fields(line, delimiter)
    if len(fields) != width:
        raise BadLine("wrong number of fields")
    return fields


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


def split_columns(block: bytes, delimiter: str, width: int, places: Sequence[int]) -> list[Any] | None:
    """The fields at `places` of whole lines at once, as string columns; None where any line is blank or odd.

    Where it gives columns, `split_row` gives the same fields a line.
    """
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if not block or b"\r" in block or b"\0" in block or b"\n\n" in block or block.startswith(b"\n"):
        return None
    split = _split_quoted if delimiter == "," and b'"' in block else _split_plain
    try:
        return split(block, delimiter, width, places)
    except (UnicodeDecodeError, csv.Error, pa.ArrowInvalid):
        return None


def _split_plain(block: bytes, delimiter: str, width: int, places: Sequence[int]) -> list[Any] | None:
    """Columns of lines without quotes."""
    block.decode()  # pyarrow checks only the columns it is asked for
    if len(delimiter) > 1:
        if b"\t" in block:
            return None
        block, delimiter = block.replace(delimiter.encode(), b"\t"), "\t"
    names = [str(place) for place in range(width)]
    needed = [names[place] for place in dict.fromkeys(places)]
    table = pyarrow.csv.read_csv(
        pa.BufferReader(block),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=needed, column_types=dict.fromkeys(needed, pa.string()), strings_can_be_null=False
        ),
    )
    return [table[names[place]].combine_chunks() for place in places]


def _split_quoted(block: bytes, delimiter: str, width: int, places: Sequence[int]) -> list[Any] | None:
    """Columns of lines with quotes; None where a field goes on across lines or their number differs."""
    lines = block.decode().removesuffix("\n").split("\n")
    rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    if len(rows) != len(lines) or any(len(row) != width for row in rows):
        return None
    return [pa.array([row[place] for row in rows], pa.string()) for place in places]


def is_blank(line: bytes, delimiter: str) -> bool:
    """Whether a line has nothing on it; tabs between no fields are something."""
    return not line.strip() and delimiter.encode() not in line


def _cut_first_line(block: bytes) -> tuple[int, bytes, bytes]:
    """Blank lines before the first line with something on it, that line, and what follows it."""
    blank_lines = 0
    while block:
        line, _, block = block.partition(b"\n")
        if line.strip():
            return blank_lines, line, block
        blank_lines += 1
    return blank_lines, b"", b""
