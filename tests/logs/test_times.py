"""The forms of time, of columns of any type; one log has one form, unit included, in all its files."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_runner import Outcome, Runner

from din_train.config import ColumnsConfig
from din_train.errors import DataError
from din_train.logs.time_unit import TICKS, TimeUnit, guess_unit
from din_train.logs.times import TimeReader, read_unix_seconds

COLUMNS = {"user": "u", "item": "i", "timestamp": "t"}
SECOND = 1_400_000_000  # 2014-05-13 16:53:20
MICROSECONDS = 10**6


@pytest.mark.parametrize(
    ("value", "unit"),
    [(0, None), (299_999_999, None), (300_000_000, "seconds"), (4_999_999_999, "seconds"), (5_000_000_000, None),
     (300_000_000_000, "milliseconds"), (4_999_999_999_999_999, "microseconds"), (2**62, "nanoseconds"),
     (2**63 - 1, None), (-SECOND, None)],
)  # fmt: skip
def test_the_range_of_each_unit(value: int, unit: str | None) -> None:
    assert guess_unit(value) == unit
    if unit is not None:
        _, bad = read([5, value], time_unit="seconds")
        assert bad == ({} if unit == "seconds" else {1: f"timestamp in {unit}, not seconds"})


def read(*chunks: Any, **keys: Any) -> tuple[list[int], dict[int, str]]:
    """The times of chunks of one column, one after the other, and the rows that have none."""
    reader = make_reader(**keys)
    times: list[int] = []
    bad: dict[int, str] = {}
    for chunk in chunks:
        column = chunk if isinstance(chunk, pa.Array) else pa.array(chunk)
        values, reasons = reader.read(column, np.ones(len(column), bool))
        for reason, mask in reasons.items():
            for row in np.flatnonzero(mask).tolist():
                bad.setdefault(len(times) + row, reason)
        times += values.tolist()
    return times, dict(sorted(bad.items()))


def make_reader(**keys: Any) -> TimeReader:
    return TimeReader(ColumnsConfig.model_validate({**COLUMNS, **keys}), frozenset({"NULL"}))


NOON = 1_396_872_000  # 2014-04-07T12:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2014-04-07T12:00:00Z", NOON * MICROSECONDS),
        ("2014-04-07 12:00:00", NOON * MICROSECONDS),
        ("2014-04-07T12:00", NOON * MICROSECONDS),
        ("2014-04-07T14:00:00+02:00", NOON * MICROSECONDS),
        ("2014-04-07 05:30:00 -0630", NOON * MICROSECONDS),
        ("2014-04-07T13:00:00+01", NOON * MICROSECONDS),
        ("2014-04-07 12:00:00 UTC", NOON * MICROSECONDS),
        ("2014-04-07T12:00:00.277Z", NOON * MICROSECONDS + 277_000),
        ("2014-04-07T12:00:00,5", NOON * MICROSECONDS + 500_000),
        ("2014-04-07T12:00:00.123456789Z", NOON * MICROSECONDS + 123_456),
        (" 2014-04-07 ", (NOON - 43_200) * MICROSECONDS),
    ],
)
def test_iso_8601(text: str, expected: int) -> None:
    assert read([text]) == ([expected], {})
    assert read_unix_seconds(pa.array([text]), ColumnsConfig(user="u", item="i"), frozenset())[0].tolist() == [
        expected // MICROSECONDS
    ]


def test_calendar_numbers_of_rows_that_are_no_log() -> None:
    """A clock's digits lie between the ranges of unix times."""
    numbers = pa.array([20140513, 201405131653, 20140513165320, SECOND])
    times, reasons = read_unix_seconds(numbers, ColumnsConfig(user="u", item="i"), frozenset())
    assert times.tolist() == [SECOND - SECOND % 86_400, SECOND - 20, SECOND, SECOND]
    assert not any(mask.any() for mask in reasons.values())


def test_what_is_no_time_of_a_log_in_iso_8601() -> None:
    texts = ["2014-04-07", "2014-02-30", "2014-04-07T25:00:00", "1969-12-31", "7", "20140407", str(SECOND), "soon",
             "NULL", "2014-4-7", "2014-04-07T12:00:00 CET"]  # fmt: skip
    assert read(texts)[1] == {
        1: "timestamp: no such date",
        2: "timestamp: no such date",
        3: "negative timestamp",
        4: "timestamp in whole numbers, not ISO 8601",
        5: "timestamp in YYYYMMDD, not ISO 8601",
        6: "timestamp in seconds, not ISO 8601",
        7: "timestamp not a number or a date",
        8: "no timestamp",
        9: "timestamp not a number or a date",
        10: "timestamp not a number or a date",
    }


def test_a_zone_is_of_times_that_do_not_name_theirs() -> None:
    texts = ["2014-07-07T12:00:00", "2014-01-07 12:00", "2014-07-07", "2014-07-07T12:00:00Z"]
    july, january = 1_404_734_400, 1_389_096_000  # noon in UTC
    expected = [july - 7200, january - 3600, july - 43_200 - 7200, july]
    assert read(texts, time_zone="Europe/Berlin")[0] == [each * MICROSECONDS for each in expected]
    assert read([20140707, 20140107], time_zone="Europe/Berlin")[0] == [july - 50_400, january - 46_800]
    naive, aware = (pa.array([july * 1000], pa.timestamp("ms", tz=zone)) for zone in (None, "Asia/Shanghai"))
    assert read(naive, aware, time_zone="Europe/Berlin")[0] == [(july - 7200) * 1000, july * 1000]


@pytest.mark.parametrize("kind", [str, int])
def test_calendar_numbers(kind: type) -> None:
    days = [kind(20140407), kind(201404071200), kind(20140407120001), kind(20160229)]
    assert read(days) == ([NOON - 43_200, NOON, NOON + 1, 1_456_704_000], {})
    assert make_reader().ticks is None
    others = [20140407, 20140230, 20141301, 20150229, 201404072400, 5, 0, SECOND]
    assert read([kind(each) for each in others])[1] == {
        **dict.fromkeys(range(1, 7), "timestamp: no such date"),
        7: "timestamp in seconds, not YYYYMMDD",
    }


def test_a_counter_is_no_calendar() -> None:
    assert read([1, 2, 20140407], [20140408]) == ([1, 2, 20140407, 20140408], {})
    assert read([SECOND, 20140407]) == ([SECOND, 20140407], {})  # in August 1970
    assert read([20140407, 0])[1] == {1: "timestamp: no such date"}


def test_texts_by_a_pattern() -> None:
    texts = ["07/04/2014 12:00", "7/4/2014 12:00", "30/02/2014 12:00", "2014-04-07", "NULL", "07/04/2014 12:00 x"]
    times, bad = read(texts, time_format="%d/%m/%Y %H:%M")
    assert times[:2] == [NOON * MICROSECONDS] * 2
    wrong = "timestamp not as data.columns.time_format says"
    assert bad == {2: wrong, 3: wrong, 4: "no timestamp", 5: wrong}
    assert read(["07Apr2014:12:00:00.25"], time_format="%d%b%Y:%H:%M:%S.%f")[0] == [NOON * MICROSECONDS + 250_000]
    assert read(["07/04/2014 14:00 +0200"], time_format="%d/%m/%Y %H:%M %z")[0] == [NOON * MICROSECONDS]
    in_berlin = read(["07/04/2014 14:00"], time_format="%d/%m/%Y %H:%M", time_zone="Europe/Berlin")
    assert in_berlin[0] == [NOON * MICROSECONDS]
    assert read([14097], time_format="%y%j") == ([(NOON - 43_200) * MICROSECONDS], {})
    with pytest.raises(DataError, match=r"data\.columns\.time_format: '%d %Q' cannot be read \(Failed to parse format"):
        read(["1"], time_format="%d %Q")


@pytest.mark.parametrize("unit", TICKS)
def test_a_fraction_of_a_number_is_cut_off(unit: str) -> None:
    number = SECOND * TICKS[unit]
    texts = [f"{number}.9", f" +{number}.0 ", "2.7", f"{number + 1}."]
    assert read(texts) == ([number, number, 2, number + 1], {2: "timestamp not a whole number"})
    assert read(["2.7", "5"], time_unit=unit) == ([2, 5], {})
    if unit == "seconds":
        floats = [SECOND + 0.75, 2.7, float("nan"), None, float("inf"), -1.5, 5.0]
        assert read(floats) == (
            [SECOND, 2, 0, 0, 0, 0, 5],
            {1: "timestamp not a whole number", 2: "no timestamp", 3: "no timestamp", 4: "timestamp too large",
             5: "negative timestamp"},
        )  # fmt: skip


@pytest.mark.parametrize("kind", [pa.decimal128(38, 0), pa.decimal128(25, 3), pa.uint64(), pa.float64(), pa.binary()])
def test_numbers_of_other_types(kind: pa.DataType) -> None:
    numbers = [str(SECOND), "7"] if pa.types.is_binary(kind) else [SECOND, 7]
    assert read(pa.array(numbers).cast(kind)) == ([SECOND, 7], {})


def test_floats_that_cannot_hold_unix_times() -> None:
    """Unix seconds in 32 bits are whole multiples of 128, so the order of events is lost."""
    reason = "timestamp rounded to a float of few bits"
    column = pa.array([float(SECOND + 1), 2.0**24, 2.0**24 - 1, 7.0], pa.float32())
    assert read(column)[1] == {0: reason, 1: reason}


def test_dates() -> None:
    assert read(pa.array([16_167, None], pa.date32())) == ([NOON - 43_200, 0], {1: "no timestamp"})
    assert read(pa.array([NOON * 1000 - 43_200_000], pa.date64()))[0] == [NOON - 43_200]


@pytest.mark.parametrize("unit", TICKS)
def test_the_first_value_that_tells_decides(unit: str) -> None:
    values = [7, SECOND * TICKS[unit], SECOND, 0, SECOND * 1000]
    bad = {row: f"timestamp in {name}, not {unit}" for row, name in ((2, "seconds"), (4, "milliseconds"))
           if name != unit}  # fmt: skip
    assert read(values)[1] == bad
    assert read(values[:1], values[1:3], values[3:])[1] == bad
    assert read([str(value) for value in values])[1] == bad
    one = TimeUnit()
    for value in values[:2]:
        one.check(value)
    assert one.unit == unit


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


def test_iso_8601_in_files_of_a_log(runner: Runner) -> None:
    got = read_files(runner, b"u,i,2014-04-07T12:00:00Z\nu,i,soon\n", b"v,j,2014-04-07T12:00:00.5Z\n")
    assert [event[2] for event in got.events] == [NOON * MICROSECONDS, NOON * MICROSECONDS + 500_000]
    assert (got.log.ticks, got.report.rejected) == (MICROSECONDS, {"timestamp not a number or a date": 1})


def test_numbers_among_iso_8601_are_refused_with_a_hint(runner: Runner) -> None:
    with pytest.raises(DataError, match=r"part-1: mixed units of time \(timestamp in seconds, not ISO 8601: 2 of 2 li"):
        read_files(runner, b"u,i,2014-04-07\n", b"u,i,%d\n" % SECOND * 2)


def test_a_log_without_times_is_in_the_order_of_its_files(runner: Runner) -> None:
    columns = {**COLUMNS, "timestamp": "file-order"}
    got = read_files(runner, b"u,a,x\nu,,x\nu,b,x\n", b"v,c,x\n", columns=columns)
    assert [event[:3] for event in got.events] == [("u", "a", 0), ("u", "b", 2), ("v", "c", 3)]
    assert got.log.ticks is None


def test_a_header_in_the_middle_of_a_log_without_times(runner: Runner) -> None:
    got = runner.table(
        b"user,item\na,1\nuser,item\nb,2\n", ColumnsConfig(user="user", item="item", timestamp="file-order")
    )
    assert got.events == [("a", "1", 0, 0), ("b", "2", 2, 1)]
    assert got.report.rejected == {"the header again": 1}


def test_days_of_a_log_are_unix_seconds(runner: Runner) -> None:
    got = read_files(runner, b"u,i,20140407\nu,i,20140408\nu,i,20140431\n")
    assert [event[2] for event in got.events] == [NOON - 43_200, NOON + 43_200]
    assert (got.log.ticks, got.report.rejected) == (1, {"timestamp: no such date": 1})


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


@pytest.mark.parametrize("other", ["7", "+7", " 7", "007", "7.5", "", None, "NULL", "9" * 18, "9" * 19, "9" * 20, "x"])
def test_a_number_is_the_same_beside_any_other(other: str | None) -> None:
    alone = read([other], [str(SECOND)], time_unit="seconds")
    assert read([other, str(SECOND)], time_unit="seconds") == alone
    assert read(pa.array(["x", other, str(SECOND), "x"])[1:3], time_unit="seconds") == alone
