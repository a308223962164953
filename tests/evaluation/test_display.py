"""The terminal shows the figures of the page."""

from dataclasses import replace

from record_factory import METRICS, describe_slice
from rich.console import Console
from rich.table import Table

from din_train.evaluation.display import build_metrics_table, build_slices_table


def read(table: Table) -> list[list[str]]:
    columns = [list(column.cells) for column in table.columns]
    return [[str(cell) for cell in row] for row in zip(*columns, strict=True)]


def test_metrics_with_intervals_and_what_they_stand_on() -> None:
    table = build_metrics_table(METRICS)
    assert [column.header for column in table.columns] == ["metric", "value", "90 % interval"]
    assert read(table) == [
        ["GAUC", "0.750000", "0.6543 to 0.8321"],
        ["AUC", "0.812500", "0.7100 to 0.9000"],
        ["logloss", "0.500000", ""],
        ["normalised entropy", "0.785000", ""],
        ["PCOC", "1.250000", ""],
        ["ECE", "0.062500", ""],
        ["rows", "6", "2 targets of 3 users"],
        ["users in GAUC", "2", "1 with one class left out; weighted by impressions"],
        ["epoch chosen", "2", "on: validation"],
    ]


def test_undefined_metrics_and_no_intervals() -> None:
    rows = read(build_metrics_table(replace(METRICS, gauc=None, intervals=None)))
    assert rows[:2] == [["GAUC", "undefined", ""], ["AUC", "0.812500", ""]]


def test_a_row_a_slice() -> None:
    slices = {"history_length": [describe_slice("1-4")], "brand": [describe_slice("[red]x", gauc=None)]}
    table = build_slices_table(slices)
    first, second = read(table)
    assert first == ["history length: 1-4", "1,234", "31", "0.6375", "0.6100", "0.3100", "0.9000", "1.1000", "0.0100"]
    assert second[3] == "-"
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(table)
    assert "brand: [red]x" in captured.get()  # a name is no markup
