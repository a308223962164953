"""Events of delimited text, a block at a time: the quick way where every line is plainly good, else line by line."""

from collections.abc import Callable, Iterator

from din_train.logs.delimited import parse_lines, read_body
from din_train.logs.event_writer import EventRow, EventWriter, find_category
from din_train.logs.log import Progress
from din_train.logs.rejects import Rejects
from din_train.logs.table_fast import parse_clean_block
from din_train.logs.table_rows import Layout, parse_row
from din_train.logs.time_unit import TimeUnit


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
