"""Delimited text: perhaps a header line, then one physical line an event.

Between commas a field may be quoted, but not across lines; between tabs a quote is a character like any other.
"""

from collections.abc import Iterator

from din_train.logs.event_writer import EventRow, EventWriter
from din_train.logs.lines import read_blocks, split_lines
from din_train.logs.log import Progress
from din_train.logs.rejects import BadLine, Rejects, SkippedLine
from din_train.logs.table_fast import parse_clean_block
from din_train.logs.table_rows import Layout, LayoutOf, cut_first_line, is_blank, parse_row
from din_train.logs.time_unit import TimeUnit


def read_text(layout_of: LayoutOf, rejects: Rejects, events: EventWriter, unit: TimeUnit, progress: Progress) -> None:
    """Write the rows of `rejects.report.path` as events.

    Raises:
        DataError: where the file cannot be read, lacks a column, or is of another format.
    """
    report = rejects.report
    layout: Layout | None = None
    for first, block in read_blocks(report.path, progress):
        if layout is None:
            blank_lines, line, rest = cut_first_line(block)
            if not line:
                continue
            layout, is_header = layout_of(line)
            if is_header:
                first, block = first + blank_lines + 1, rest
        clean = parse_clean_block(block, layout, unit)
        if clean is None:
            events.add_rows(_read_rows(first, split_lines(block), layout, rejects, unit))
            continue
        columns, left_out = clean
        events.add_columns(columns)
        report.kept += len(columns[0])
        report.lines += len(columns[0]) + sum(left_out.values())
        for what, count in left_out.items():
            report.skip(what, count)
        if "category" in layout.texts:
            place = list(layout.texts).index("category") - len(layout.texts)
            report.note("no category", columns[place].null_count)


def _read_rows(first: int, lines: list[bytes], layout: Layout, rejects: Rejects, unit: TimeUnit) -> Iterator[EventRow]:
    report = rejects.report
    category = list(layout.texts).index("category") - len(layout.texts) if "category" in layout.texts else None
    for number, line in enumerate(lines, first):
        if is_blank(line, layout.delimiter):
            continue
        report.lines += 1
        try:
            row = parse_row(line, layout, unit)
        except BadLine as bad:
            rejects.add(number, bad.reason, line)
            continue
        except SkippedLine as skipped:
            report.skip(skipped.what, 1)
            continue
        report.kept += 1
        if category is not None and row[category] is None:
            report.note("no category", 1)
        yield row
