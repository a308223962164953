"""One log, one unit of time: told by size, by a column's type or by the format, and held for all its files."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_runner import Outcome, Runner

from din_train.errors import DataError
from din_train.logs.rejects import BadLine
from din_train.logs.time_unit import TICKS, TimeUnit, guess_unit

COLUMNS = {"user": "u", "item": "i", "timestamp": "t"}
SECOND = 1_400_000_000


@pytest.mark.parametrize(
    ("value", "unit"),
    [(0, None), (299_999_999, None), (300_000_000, "seconds"), (4_999_999_999, "seconds"), (5_000_000_000, None),
     (300_000_000_000, "milliseconds"), (4_999_999_999_999_999, "microseconds"), (2**62, "nanoseconds"),
     (2**63 - 1, None), (-SECOND, None)],
)  # fmt: skip
def test_the_range_of_each_unit(value: int, unit: str | None) -> None:
    assert guess_unit(value) == unit
    if unit is not None:
        assert list(TimeUnit("seconds").find_other(np.array([5, value]))) == (
            [] if unit == "seconds" else [f"timestamp in {unit}, not seconds"]
        )


@pytest.mark.parametrize("unit", TICKS)
def test_one_value_or_a_column_tell_the_same(unit: str) -> None:
    values = [7, SECOND * TICKS[unit], SECOND, 0, SECOND * 1000]
    one, column = TimeUnit(), TimeUnit()
    bad = []
    for place, value in enumerate(values):
        try:
            one.check(value)
        except BadLine as caught:
            bad.append((place, caught.reason))
    found = column.find_other(np.array(values))
    assert one.unit == column.unit == unit
    assert sorted((int(place), reason) for reason, mask in found.items() for place in np.flatnonzero(mask)) == bad


def read_files(runner: Runner, *files: bytes | pa.Table, **values: Any) -> Outcome:
    folder = runner.folder / "log"
    folder.mkdir()
    for number, content in enumerate(files):
        path = folder / f"part-{number}"
        if isinstance(content, bytes):
            path.write_bytes(b"u,i,t\n" + content)
        else:
            pq.write_table(content, path)
    return runner.source("table", events=folder, **{"columns": COLUMNS, **values})


def typed(*times: int, unit: str) -> pa.Table:
    return pa.table({"u": ["u"] * len(times), "i": ["i"] * len(times), "t": pa.array(times, pa.timestamp(unit))})


def test_parquet_columns_of_two_units(runner: Runner) -> None:
    with pytest.raises(DataError) as caught:
        read_files(runner, typed(SECOND * 1000, unit="ms"), typed(SECOND * 10**6, unit="us"))
    assert str(caught.value) == (
        f"{runner.folder}/log/part-1: mixed units of time (microseconds here, milliseconds in the files before); "
        "write all files of the log with one unit"
    )


@pytest.mark.parametrize("first", ["text", "parquet"])
def test_text_and_parquet_of_two_units(runner: Runner, first: str) -> None:
    files = [b"u,i,%d\n" % SECOND * 20, typed(*[SECOND * 1000] * 20, unit="ms")]
    with pytest.raises(DataError, match=r"part-1: mixed units of time"):
        read_files(runner, *(files if first == "text" else files[::-1]))


def test_text_and_parquet_of_one_unit(runner: Runner) -> None:
    got = read_files(runner, b"u,i,0\nu,i,%d\n" % (SECOND * 1000), typed(SECOND * 1000 + 1, 3, unit="ms"))
    assert [event[2] for event in got.events] == [0, SECOND * 1000, SECOND * 1000 + 1, 3]
    assert got.log.ticks == 1000


def test_a_part_without_rows_has_no_say(runner: Runner) -> None:
    got = read_files(runner, typed(unit="us"), b"u,i,%d\n" % SECOND, typed(unit="ns"))
    assert (len(got.events), got.log.ticks) == (1, 1)


@pytest.mark.parametrize("form", ["text", "parquet"])
def test_zero_and_counters_are_kept_and_negative_times_are_not(runner: Runner, form: str) -> None:
    times = [0, 1, SECOND, -1, 20140501, 0]
    if form == "text":
        got = read_files(runner, b"".join(b"u,i,%d\n" % time for time in times))
    else:
        got = read_files(runner, pa.table({"u": ["u"] * 6, "i": ["i"] * 6, "t": times}))
    assert [event[2] for event in got.events] == [0, 1, SECOND, 20140501, 0]
    assert (got.report.rejected, got.log.ticks) == ({"negative timestamp": 1}, 1)


def test_a_line_that_is_bad_otherwise_tells_no_unit(runner: Runner) -> None:
    rows = b"u,i,%d,oops\n" % (SECOND * 1000) + b"u,i,%d,1\n" % SECOND * 3
    columns = {**COLUMNS, "label": "y"}
    got = runner.source("table", events=b"u,i,t,y\n" + rows, columns=columns)
    assert (got.report.kept, got.report.rejected, got.log.ticks) == (3, {"label not 0 or 1": 1}, 1)


@pytest.mark.parametrize(
    ("source", "row", "more"),
    [
        ("taobao", b"1,2,3,pv,%d\n", {}),
        ("movielens", b"1::2::3::%d\n", {"items": b"2::t::War\n"}),
        ("amazon-2018", b'{"reviewerID": "u", "asin": "i", "unixReviewTime": %d}\n', {"items": b'{"asin": "i"}\n'}),
    ],
)
def test_a_format_has_its_unit_whatever_comes_first(
    runner: Runner, source: str, row: bytes, more: dict[str, bytes]
) -> None:
    key = "reviews" if source == "amazon-2018" else "events"
    content = row % (SECOND * 1000) + row % SECOND * 9
    got = runner.source(source, **{key: content, **more}, max_bad_share=0.2)
    assert (got.report.kept, got.log.ticks) == (9, 1)
    assert got.report.rejected == {"timestamp in milliseconds, not seconds": 1}
    with pytest.raises(DataError, match=r"mixed units of time .*; convert the timestamps to one unit, or check data.s"):
        runner.source(source, **{key: content, **more}, max_bad_share=0.09)
