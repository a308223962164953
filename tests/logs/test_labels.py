"""Labels: 0 and 1, true and false, 1 and -1, and numbers from a least one on, in text and in Parquet."""

from typing import Any

import pyarrow as pa
import pytest
from log_runner import Outcome, Runner
from test_expressions import find_rows

from din_train.errors import DataError
from din_train.logs.labels import LabelRule

NULLS = frozenset({"NULL"})


def read(*chunks: Any, at_least: float | None = None) -> tuple[list[int | None], list[dict[str, list[int]]]]:
    """The labels of chunks of one log, and the rows of each that have none."""
    rule = LabelRule(at_least)
    labels, rows = [], []
    for chunk in chunks:
        values, reasons = rule.read(chunk if isinstance(chunk, pa.Array) else pa.array(chunk), NULLS)
        labels += values.to_pylist()
        rows.append(find_rows(reasons))
    return labels, rows


@pytest.mark.parametrize("values", [["1", "-1"], ["1.0", "-1.0"], [1, -1], [1.0, -1.0]])
def test_1_and_minus_1(values: list[Any]) -> None:
    assert read(values) == ([1, 0], [{}])
    assert read(values[:1], values[1:]) == ([1, 0], [{}, {}])


def test_a_log_has_one_of_0_and_minus_1() -> None:
    assert read(["1", "-1"], ["0", "1", "-1"]) == ([1, 0, None, 1, 0], [{}, {"label 0 among 1 and -1": [0]}])
    assert read(["1", "0"], ["-1", "1"]) == ([1, 0, None, 1], [{}, {"label -1": [0]}])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["4", "3.9", "5", "4.0"], [1, 0, 1, 1]),
        ([4, 3, 5, -1], [1, 0, 1, 0]),
        ([4.0, 3.999, 1e5, 0.5], [1, 0, 1, 0]),
        (pa.array(["4", "3"]).dictionary_encode(), [1, 0]),
    ],
)
def test_numbers_of_at_least(values: Any, expected: list[int]) -> None:
    assert read(values, at_least=4) == (expected, [{}])


def test_what_is_no_number() -> None:
    values = ["4", "x", "", None, "NULL", "1_0", "nan", "1e-05", " 5 "]
    labels, (rows,) = read(values, at_least=4)
    assert labels == [1, None, None, None, None, None, None, 0, 1]
    assert rows == {"label not a number": [1, 5, 6], "no label": [2, 3, 4]}


COLUMNS = {"user": "u", "item": "i", "timestamp": "t", "label": "y"}


def read_table(runner: Runner, rows: bytes, **columns: Any) -> Outcome:
    return runner.source("table", events=b"u,i,t,y,w\n" + rows, columns={**COLUMNS, **columns})


def test_a_bad_row_tells_nothing_of_the_labels(runner: Runner) -> None:
    got = read_table(runner, b",i,1,-1,\nu,a,1,0,\nu,b,2,1,\n")
    assert [event[3] for event in got.events] == [0, 1]
    assert got.report.rejected == {"empty user": 1}


def test_a_table_of_ratings_and_weights(runner: Runner) -> None:
    got = read_table(runner, b"u,a,1,4.5,1\nu,b,2,3,0.5\nu,c,3,5,\nu,d,4,5,-1\n", label_at_least=4, weight="w")
    assert got.events == [("u", "a", 1, 1, 1.0, 0), ("u", "b", 2, 0, 0.5, 1)]
    assert got.report.rejected == {"no weight": 1, "negative weight": 1}


def test_both_0_and_minus_1_are_refused_with_advice(runner: Runner) -> None:
    with pytest.raises(DataError, match=r"label 0 among 1 and -1: 3, "):
        read_table(runner, b"u,a,1,-1,\nu,b,2,1,\n" + b"u,c,3,0,\n" * 3 + b"u,d,4,x,\n")
