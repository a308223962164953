"""CSV and TSV: headers, fields, and what is wrong with a line."""

import gzip

import pytest
from log_runner import COLUMNS, Runner

from din_train.config import ColumnsConfig
from din_train.errors import ConfigError, DataError
from din_train.logs import lines as lines_module

TSV = b"user\titem\ttime\tcategory\n"
CSV = b"user,item,time,category\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("delimiter", [b"\t", b","], ids=["tsv", "csv"])
def test_rows_become_events_in_order(runner: Runner, delimiter: bytes, pack: type[bytes]) -> None:
    text = b"time\tx\tuser\tcategory\titem\n9\t?\tb\tA\ti\n3\t?\ta\t\tj\n9\t?\tb\tA\ti"
    got = runner.table(pack(text.replace(b"\t", delimiter)))
    assert got.events == [("b", "i", 9, "A", 0), ("a", "j", 3, None, 1), ("b", "i", 9, "A", 2)]
    assert got.log.items is None
    report = got.report
    assert (report.lines, report.kept, report.rejected, report.notes) == (3, 3, {}, {"no category": 1})


def test_without_a_category_column_events_have_none(runner: Runner) -> None:
    columns = ColumnsConfig(user="user", item="item", timestamp="time")
    got = runner.table(TSV + b"u\ti\t5\tA\n", columns)
    assert got.events == [("u", "i", 5, 0)]
    assert got.report.notes == {}


@pytest.mark.parametrize(
    "name", ["007", " 7 ", "Zoë 𝄞", "7.0", "null", "NA", "True", "a'b", "\u2028", "\x0b\x0c\x1c\x85"]
)
@pytest.mark.parametrize("delimiter", ["\t", ","], ids=["tsv", "csv"])
def test_ids_are_kept_exactly(runner: Runner, name: str, delimiter: str) -> None:
    text = f"user\titem\ttime\tcategory\n{name}\t{name}\t5\t{name}\n".replace("\t", delimiter)
    values = {"events": text.encode(), "columns": COLUMNS.model_dump(), "null_values": []}
    assert runner.source("table", **values).events == [(name, name, 5, name, 0)]


def test_a_quote_between_tabs_is_a_character(runner: Runner) -> None:
    assert runner.table(TSV + b'"u"\t"i\t5\ta"b\n').events == [('"u"', '"i', 5, 'a"b', 0)]


def test_quoted_fields_between_commas(runner: Runner) -> None:
    got = runner.table(CSV + b'"u,1","i ""x""","5",""\nu,a"b,6,"A"\n')
    assert got.events == [("u,1", 'i "x"', 5, None, 0), ("u", 'a"b', 6, "A", 1)]


def test_a_quoted_header(runner: Runner) -> None:
    columns = ColumnsConfig(user="user, hashed", item="item", timestamp="time")
    assert runner.table(b'"user, hashed","item",time\nu,i,5\n', columns).events == [("u", "i", 5, 0)]


def test_windows_lines_and_byte_order_mark(runner: Runner) -> None:
    got = runner.table(b"\xef\xbb\xbf" + (TSV + b"u\ti\t5\tA\n\nv\tj\t6\tB\n").replace(b"\n", b"\r\n"))
    assert got.events == [("u", "i", 5, "A", 0), ("v", "j", 6, "B", 1)]


def test_blank_lines_are_no_lines_but_are_numbered(runner: Runner) -> None:
    got = runner.table(b"\n \n" + TSV + b"\nu\ti\t5\tA\n  \n\r\n\t\t\t\nu\ti\t6\tA\n")
    assert [row[2] for row in got.events] == [5, 6]
    assert (got.report.lines, got.report.rejected) == (3, {"empty user": 1})
    assert got.rejected[0]["line"] == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("0012", 12),
        ("1400000000.0", 1400000000),
        ("1400000000.", 1400000000),
        ("+5", 5),
        (" 5 ", 5),
        ("-0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("0" * 5000 + "7", 7),
    ],
)
def test_whole_numbers_are_timestamps(runner: Runner, text: str, expected: int) -> None:
    assert runner.table(TSV + f"u\ti\t{text}\tA\n".encode()).events == [("u", "i", expected, "A", 0)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"u\ti\t2.7\tA", "timestamp not a whole number"),
        (b"u\ti\tabc\tA", "timestamp not a number or a date"),
        (b"u\ti\t\tA", "no timestamp"),
        (b"u\ti\tnan\tA", "no timestamp"),
        (b"NULL\ti\t5\tA", "no user"),
        (b"u\t\\N\t5\tA", "no item"),
        (b"u\ti\t1e400\tA", "timestamp not a number or a date"),
        (b"u\ti\t1_000\tA", "timestamp not a number or a date"),
        (b"u\ti\t0x10\tA", "timestamp not a number or a date"),
        ("u\ti\t٣\tA".encode(), "timestamp not a number or a date"),
        (b"u\ti\t2014-07-23\tA", "timestamp in ISO 8601, not whole numbers"),
        (b"u\ti\t-5\tA", "negative timestamp"),
        (b"u\ti\t-" + b"9" * 5000 + b"\tA", "negative timestamp"),
        (b"u\ti\t9223372036854775808\tA", "timestamp too large"),
        (b"u\ti\t" + b"9" * 5000 + b"\tA", "timestamp too large"),
        (b"\ti\t5\tA", "empty user"),
        (b"u\t\t5\tA", "empty item"),
        (b"u\ti\t5", "wrong number of fields"),
        (b"u\ti\t5\tA\t", "wrong number of fields"),
        (b"u\0\ti\t5\tA", "NUL character"),
        (b"u\ti\t5\tA\0", "NUL character"),
        (b"u\ti\t5\t\xff", "invalid UTF-8"),
        (b"u\ti\t5\tA\rB", "carriage return inside the line"),
    ],
)
def test_bad_lines(runner: Runner, line: bytes, reason: str) -> None:
    got = runner.table(TSV + b"u\ti\t5\tA\n" + line + b"\nv\tj\t6\tB\n")
    assert got.events == [("u", "i", 5, "A", 0), ("v", "j", 6, "B", 1)]
    assert got.report.rejected == {reason: 1}
    assert (got.rejected[0]["line"], got.rejected[0]["reason"]) == (3, reason)
    assert got.rejected[0]["text"] == line.decode(errors="replace")[:200]


def test_bad_bytes_in_a_column_that_is_not_needed(runner: Runner) -> None:
    columns = ColumnsConfig(user="user", item="item", timestamp="time")
    got = runner.table(TSV + b"u\ti\t5\t\xff\nu\ti\t6\tA\n", columns)
    assert (got.report.rejected, [row[:3] for row in got.events]) == ({}, [("u", "i", 5), ("u", "i", 6)])


@pytest.mark.parametrize(
    "line", [b'"u,i,5,A', b'"u"x,i,5,A', b'u,"i\nB,5,A'], ids=["open", "trailing", "open across lines"]
)
def test_broken_quotes(runner: Runner, line: bytes) -> None:
    got = runner.table(CSV + b"u,i,5,A\n" + line + b"\n" + b"v,j,6,B\n" * 3)
    assert got.report.rejected["broken quotes"] == 1
    assert got.rejected[0]["line"] == 3
    assert [row[0] for row in got.events] == ["u", "v", "v", "v"]


def test_a_record_over_two_lines_is_one_row(runner: Runner) -> None:
    got = runner.table(CSV + b'u,i,5,"A\nB"\n' + b"v,,6,B\n" + b"v,j,6,B\n" * 3, max_bad_share=0.5)
    assert got.events[0][:4] == ("u", "i", 5, "A\nB")
    assert (got.report.lines, got.report.kept, got.rejected[0]["line"]) == (5, 4, 4)


def test_missing_columns_are_all_named_with_what_there_is(runner: Runner) -> None:
    with pytest.raises(DataError) as caught:
        runner.table(b"user_id,items,time,category\nu,i,5,A\n")
    path = runner.folder / "input-1"
    found = "in the header, which has user_id, items, time, category"
    assert caught.value.problems == (
        f"{path}: data.columns.user: no column 'user' {found}; did you mean 'user_id'? (read as comma-separated)",
        f"{path}: data.columns.item: no column 'item' {found}; did you mean 'items'? (read as comma-separated)",
    )


def test_a_file_without_header(runner: Runner) -> None:
    with pytest.raises(DataError, match="no column 'user', since its first line looks like the others"):
        runner.table(b"1,2268318,2520377,pv\n" * 10)


def test_a_column_given_twice(runner: Runner) -> None:
    with pytest.raises(DataError, match=r"the header has the column 'item' 2 times; expected it once, rename the"):
        runner.table(b"user,item,item,time,category\nu,i,i,5,A\n")
    assert runner.table(b"user,x,item,x,time,category\nu,,i,,5,A\n").events == [("u", "i", 5, "A", 0)]


def test_fields_that_differ_in_case_alone(runner: Runner) -> None:
    """To DuckDB a table has one column of such names; a field and a column with a role do not meet in one table."""
    text = b"user,item,time,Device,device,Category,\xc3\x89,\xc3\xa9\nu,i,5,a,b,C,x,y\n"
    columns = {"user": "user", "item": "item", "timestamp": "time", "category": "Category"}
    problem = "the fields 'Device' and 'device' differ only in small and large letters, so DuckDB takes them for one"
    for fields in (
        {"context_fields": ["Device", "device"]},
        {"item_fields": ["Device"], "behaviour_fields": ["device"]},
    ):
        with pytest.raises(ConfigError, match=problem):
            runner.source("table", events=text, columns=columns, **fields)
    fields = {"user_fields": ["\u00e9"], "context_fields": ["device", "\u00c9"]}
    got = runner.source("table", events=text, columns=columns, **fields)
    assert got.events == [("u", "i", 5, "C", "y", "b", "x", 0)]


def test_what_a_first_line_is_taken_for_is_noted_if_no_name_tells(runner: Runner) -> None:
    columns = ColumnsConfig(user=1, item=2, timestamp="file-order")
    got = runner.table(b"u,i\nv,j\nw,j\n", columns)
    assert [event[:2] for event in got.events] == [("v", "j"), ("w", "j")]
    assert got.report.notes == {"first line taken for a header (u, i), see data.format.header": 1}
    given = {"columns": columns.model_dump(exclude_none=True), "format": {"header": False}}
    got = runner.source("table", events=b"u,i\nv,j\nw,j\n", **given)
    assert (len(got.events), got.report.notes) == (3, {})
    named = ColumnsConfig(user="u", item=2, timestamp="file-order")
    assert runner.table(b"u,i\nv,j\nw,j\n", named).report.notes == {}


def test_a_header_alone_is_no_log(runner: Runner) -> None:
    with pytest.raises(DataError, match="no event in its 0 lines; check that the file is whole, and check"):
        runner.table(TSV)
    with pytest.raises(DataError, match="is empty, expected a header and rows; check the path"):
        runner.table(b"\n\n")


def test_json_lines_are_a_table_too(runner: Runner) -> None:
    got = runner.table(b'{"user": 7, "item": "i", "time": 5, "category": "A", "more": [1]}\n' * 2)
    assert got.events == [("7", "i", 5, "A", 0), ("7", "i", 5, "A", 1)]
    with pytest.raises(DataError) as caught:
        runner.table(b'{"reviewerID": "u", "asin": "i"}\n' * 2000)
    (line,) = caught.value.problems
    assert (
        "none of the columns user, item, time, category is in its header, which has reviewerID, asin (read as" in line
    )
    assert line.isprintable()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "invalid UTF-8"),
        (b"user,it\xffem\n", "invalid UTF-8"),
        (b"\0" * 100, "NUL character"),
        (b"user,item,time\ru,i,5\r", "carriage return inside the line"),
    ],
)
def test_what_is_no_text_table(runner: Runner, content: bytes, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        runner.table(content)
    assert str(caught.value) == (
        f"{runner.folder / 'input-1'}: its first line is no header ({reason}); expected a CSV, TSV or Parquet file in "
        "UTF-8 with lines ended by newlines; check the path in the config"
    )


def test_a_thousand_bad_lines_at_the_start_stop_the_reading(runner: Runner) -> None:
    rows = TSV + b"u\ti\tyesterday\tA\n" * 1000 + b"u\ti\t5\tA\n" * 9000
    with pytest.raises(DataError, match=r"none of its first 1,000 lines .* check data.source \('table'\) and data.col"):
        runner.table(rows, max_bad_share=1)


def test_small_blocks_and_bad_lines_between_change_nothing(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [b"u%d\ti%d\t%d\t%s\n" % (n % 7, n % 13, n, b"" if n % 5 else b"A") for n in range(3000)]
    rows[1500] = b"oops\n"
    whole = runner.table(TSV + b"".join(rows))
    events, whole_bytes = whole.events, whole.log.events.read_bytes()
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 500)
    pieces = runner.table(whole.report.path)
    assert pieces.log.events.read_bytes() == whole_bytes
    assert (pieces.report, pieces.rejected) == (whole.report, whole.rejected)
    assert [event[4] for event in events] == list(range(2999))
    assert pieces.rejected == [
        {"file": str(whole.report.path), "line": 1502, "reason": "wrong number of fields", "text": "oops"}
    ]


def test_row_groups_are_cut_at_the_same_rows(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("din_train.logs.event_writer.ROW_GROUP_ROWS", 7)
    got = runner.table(TSV + b"".join(b"u\ti\t%d\tA\n" % n for n in range(23)))
    assert got.events == [("u", "i", n, "A", n) for n in range(23)]


def test_columns_of_the_config_are_used(runner: Runner) -> None:
    assert COLUMNS.timestamp == "time"
    one = ColumnsConfig(user="category", item="user", timestamp="time", category="item")
    assert runner.table(TSV + b"u\ti\t5\tA\n", one).events == [("A", "u", 5, "i", 0)]
