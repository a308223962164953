"""CSV and TSV: a header line, then one physical line an event.

Between commas a field may be quoted, but not across lines; between tabs a quote is a character like any other.
"""

from collections.abc import Iterator

from din_train.config import ColumnsConfig
from din_train.logs.event_writer import EventRow, EventWriter
from din_train.logs.lines import read_blocks, split_lines
from din_train.logs.log import Progress
from din_train.logs.rejects import BadLine, Rejects
from din_train.logs.table_fast import parse_clean_block
from din_train.logs.table_rows import Layout, is_blank, parse_header, parse_row


def read_text(columns: ColumnsConfig, rejects: Rejects, events: EventWriter, progress: Progress) -> None:
    """Write the rows of `rejects.report.path` as events.

    Raises:
        DataError: where the file cannot be read, lacks a column of `columns`, or is of another format.
    """
    report = rejects.report
    layout: Layout | None = None
    for first, block in read_blocks(report.path, progress):
        if layout is None:
            blank_lines, header, block = _cut_header(block)
            if not header:
                continue
            first += blank_lines + 1
            layout = parse_header(header, columns, report.path)
        clean = parse_clean_block(block, layout)
        if clean is None:
            events.add_rows(_read_rows(first, split_lines(block), layout, rejects))
        else:
            events.add_columns(clean)
            rows = len(clean.users)
            report.lines += rows
            report.kept += rows
            if layout.category is not None:
                report.note("no category", clean.categories.null_count)


def _read_rows(first: int, lines: list[bytes], layout: Layout, rejects: Rejects) -> Iterator[EventRow]:
    report = rejects.report
    for number, line in enumerate(lines, first):
        if is_blank(line, layout):
            continue
        report.lines += 1
        try:
            row = parse_row(line, layout)
        except BadLine as bad:
            rejects.add(number, bad.reason, line)
            continue
        report.kept += 1
        if layout.category is not None and row[3] is None:
            report.note("no category", 1)
        yield row


def _cut_header(block: bytes) -> tuple[int, bytes, bytes]:
    """Blank lines before the first line with something on it, that line, and what follows it."""
    blank_lines = 0
    while block:
        line, _, block = block.partition(b"\n")
        if line.strip():
            return blank_lines, line, block
        blank_lines += 1
    return blank_lines, b"", b""
