"""Parquet tables: column types, rejected rows, damaged files."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_runner import COLUMNS, Runner

from din_train.config import ColumnsConfig
from din_train.errors import DataError
from din_train.logs import table


def write(folder: Path, **columns: Any) -> Path:
    """Columns that are not given are good: three rows."""
    good = {"user": ["u", "v", "w"], "item": ["i", "j", "k"], "time": [5, 6, 7], "category": ["A", "B", "C"]}
    path = folder / "log"  # no suffix: known by its content
    pq.write_table(pa.table({**good, **columns}), path)
    return path


def test_rows_become_events_in_order(runner: Runner) -> None:
    got = runner.table(write(runner.folder, other=[1.5, None, 2.5]))
    assert got.events == [("u", "i", 5, "A", 0), ("v", "j", 6, "B", 1), ("w", "k", 7, "C", 2)]
    assert (got.report.lines, got.report.kept, got.report.rejected, got.report.notes) == (3, 3, {}, {})


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["007", "7", " Zoë "]), ["007", "7", " Zoë "]),
        (pa.array(["007", "7", "é"], pa.large_string()), ["007", "7", "é"]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["b", "a", "b"]),
        (pa.array([7, -1, 2**62]), ["7", "-1", str(2**62)]),
        (pa.array([7, 8, 2**64 - 1], pa.uint64()), ["7", "8", str(2**64 - 1)]),
        (pa.array([7, 8, 9], pa.int8()), ["7", "8", "9"]),
    ],
)
def test_ids_are_text_or_whole_numbers(runner: Runner, column: Any, expected: list[str]) -> None:
    got = runner.table(write(runner.folder, user=column, item=column, category=column))
    assert [(row[0], row[1], row[3]) for row in got.events] == [(each, each, each) for each in expected]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_timestamps_keep_their_unit_and_so_their_order(runner: Runner, unit: str) -> None:
    numbers = [1_400_000_000_300, 1_400_000_000_100, 1_400_000_000_200]
    got = runner.table(write(runner.folder, time=pa.array(numbers, pa.timestamp(unit))))
    assert [row[2] for row in got.events] == numbers


def test_timestamps_with_a_time_zone(runner: Runner) -> None:
    noon = datetime.datetime(2014, 7, 23, 12, tzinfo=datetime.UTC)
    times = pa.array([noon] * 3, pa.timestamp("us", tz="Europe/Berlin"))
    assert runner.table(write(runner.folder, time=times)).events[0][2] == int(noon.timestamp()) * 10**6


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"user": ["u", None, "w"]}, "no user"),
        ({"item": pa.array([1, None, 3])}, "no item"),
        ({"time": [5, None, 7]}, "no timestamp"),
        ({"time": pa.array([5, None, 7], pa.timestamp("ms"))}, "no timestamp"),
        ({"user": ["u", "", "w"]}, "empty user"),
        ({"user": ["u", "None", "w"]}, "no user"),
        ({"item": pa.array(["i", "\\N", "k"]).dictionary_encode()}, "no item"),
        ({"item": pa.array(["i", "", "k"]).dictionary_encode()}, "empty item"),
        ({"item": ["i", "a\0b", "k"]}, "NUL character"),
        ({"time": [5, -1, 7]}, "negative timestamp"),
        ({"time": pa.array([5, -1, 7], pa.timestamp("ms"))}, "negative timestamp"),
        ({"time": pa.array([5, 2**63, 7], pa.uint64())}, "timestamp too large"),
    ],
)
def test_bad_rows(runner: Runner, columns: dict[str, Any], reason: str) -> None:
    got = runner.table(write(runner.folder, **columns))
    assert got.report.rejected == {reason: 1}
    assert (got.report.lines, got.report.kept) == (3, 2)
    assert (got.rejected[0]["line"], got.rejected[0]["reason"]) == (2, reason)
    assert [row[4] for row in got.events] == [0, 1]


@pytest.mark.parametrize(
    ("labels", "reason", "shown"),
    [
        (pa.array([1, 0, 2**60 + 1]), "label not 0 or 1", str(2**60 + 1)),
        (pa.array([1, 0, 2**64 - 1], pa.uint64()), "label not 0 or 1", str(2**64 - 1)),
        (pa.array([1, 0, 0.5], pa.float16()), "label like a rating", "0.5"),
        (pa.array([1.0, 0.0, float("nan")]), "no label", "nan"),
        (pa.array([1, 0, -1], pa.int8()), "label -1", "-1"),
        (pa.array(["1", "false", "maybe"]), "label not 0 or 1", "maybe"),
        (pa.array(["True", "0", "NULL"]).dictionary_encode(), "no label", "NULL"),
    ],
)
def test_what_is_no_label(runner: Runner, labels: Any, reason: str, shown: str) -> None:
    columns = ColumnsConfig(user="user", item="item", timestamp="time", label="y")
    got = runner.table(write(runner.folder, y=labels), columns)
    assert got.events == [("u", "i", 5, 1, 0), ("v", "j", 6, 0, 1)]
    assert got.report.rejected == {reason: 1}
    assert got.rejected[0]["text"] == f"w\tk\t7\t{shown}"


def test_labels_of_another_type(runner: Runner) -> None:
    path = write(runner.folder, y=pa.array([0, 1, 1], pa.timestamp("ms")))
    with pytest.raises(
        DataError, match=r"data\.columns\.label: column 'y' is of type timestamp\[ms\], expected numbers, true"
    ):
        runner.table(path, ColumnsConfig(user="user", item="item", timestamp="time", label="y"))


def test_the_text_of_a_rejected_row(runner: Runner) -> None:
    got = runner.table(write(runner.folder, time=[5, -1, 7]))
    assert got.rejected[0]["text"] == "v\tj\t-1\tB"


@pytest.mark.parametrize("role", ["user", "item", "category"])
def test_bytes_that_are_no_text(runner: Runner, role: str) -> None:
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffc")])
    got = runner.table(write(runner.folder, **{role: broken}))
    assert got.report.rejected == {"invalid UTF-8": 1}
    assert [row[2] for row in got.events] == [5, 7]


def test_no_category_is_null_and_noted(runner: Runner) -> None:
    got = runner.table(write(runner.folder, category=["<NA>", None, "C"]))
    assert [row[3] for row in got.events] == [None, None, "C"]
    assert got.report.notes == {"no category": 2}
    nothing = runner.table(write(runner.folder, category=pa.nulls(3)))
    assert nothing.report.notes == {"no category": 3}
    unnamed = runner.table(write(runner.folder), ColumnsConfig(user="user", item="item", timestamp="time"))
    assert [row[3:] for row in unnamed.events] == [(0,), (1,), (2,)]  # the ordinal
    assert unnamed.report.notes == {}


def test_columns_of_other_types(runner: Runner) -> None:
    path = write(runner.folder, user=[True, False, True], time=[True, False, True], category=[[1], [2], [3]])
    with pytest.raises(DataError) as caught:
        runner.table(path)
    assert caught.value.problems == (
        f"{path}: data.columns.user: column 'user' is of type bool, expected text or whole numbers; "
        "convert the column, or name another",
        f"{path}: data.columns.timestamp: column 'time' is of type bool, expected numbers, timestamps, dates, or "
        "text; convert the column, or name another",
        f"{path}: data.columns.category: column 'category' is of type list<element: int64>, expected text, "
        "numbers, or true and false; convert the column, or name another",
    )


def test_a_missing_column(runner: Runner) -> None:
    path = write(runner.folder)
    with pytest.raises(DataError) as caught:
        runner.table(path, COLUMNS.model_copy(update={"timestamp": "tme"}))
    assert str(caught.value) == (
        f"{path}: data.columns.timestamp: no column 'tme' in the header, which has user, item, time, category; "
        "did you mean 'time'? (read as Parquet)"
    )


def test_rows_are_numbered_across_batches(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CHUNK_ROWS", 4)
    times = [n if n % 9 else -n - 1 for n in range(30)]  # bad: rows 1, 10, 19, 28
    path = write(runner.folder, user=["u"] * 30, item=["i"] * 30, time=times, category=["A"] * 30)
    got = runner.table(path)
    assert [row["line"] for row in got.rejected] == [1, 10, 19, 28]
    assert [(row[2], row[4]) for row in got.events] == [(n, place) for place, n in enumerate(n for n in times if n > 0)]


def test_no_rows(runner: Runner) -> None:
    path = write(
        runner.folder,
        **{name: pa.array([], pa.string()) for name in ("user", "item", "category")},
        time=pa.array([], pa.int64()),
    )
    with pytest.raises(DataError, match="no event in its 0 lines"):
        runner.table(path)


def test_a_thousand_bad_rows_at_the_start_stop_the_reading(runner: Runner) -> None:
    path = write(runner.folder, user=["u"] * 3000, item=["i"] * 3000, time=[-1] * 3000, category=["A"] * 3000)
    with pytest.raises(DataError, match=r"none of its first 1,000 lines can be read \(negative timestamp: 1,000; "):
        runner.table(path)


def test_damaged_files(runner: Runner) -> None:
    whole = write(runner.folder).read_bytes()
    for damaged in (b"PAR1", whole[: len(whole) // 2], whole[:-100] + b"\0" * 92 + whole[-8:]):
        with pytest.raises(DataError) as caught:
            runner.table(damaged)
        assert "cannot be read as Parquet (" in str(caught.value)
        assert "\n" not in str(caught.value)
