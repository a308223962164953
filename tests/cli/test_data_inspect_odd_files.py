"""`din-train data inspect`: logs as they are in practice, and files that are none."""

import gzip
import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_inspector import START, assert_rows, fail, inspect, write

from din_train.config import ColumnsConfig
from din_train.config.rows import SequenceConfig


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_columns_that_number_the_rows_are_left_out_with_a_word() -> None:
    write("log.csv", "index,Unnamed: 0,user,item,time", *(f"{n + 1},{n},u{n % 3},i{n % 7},{n}" for n in range(20)))
    write("users.csv", ",user,age", *(f"{n},u{n},5" for n in range(3)))
    findings, config = inspect("log.csv")
    assert "not used, since it numbers the rows: 'index', 'Unnamed: 0'" in findings
    assert config.data.path_of("users") == Path("users.csv")
    assert "data.user_fields may be: age (of users.csv)" in findings
    pq.write_table(pa.table({"uid": ["u", "v"], "item": ["i", "i"], "ts": [5, 6], "__index_level_0__": [7, 3]}), "p")
    assert "it numbers the rows: '__index_level_0__'" in inspect("p")[0]


def test_columns_that_number_the_rows_of_each_file_anew() -> None:
    for part in range(3):
        rows = [f"{n},u{(part + n) % 5},i{n},{1_600_000_000 + 50 * part + n},1" for n in range(20)]
        write(f"log/{part}.csv", ",user,item,time,no", *rows)
    findings, config = inspect("log")
    assert "not used, since it numbers the rows: ''" in findings.splitlines()
    assert config.data.columns is not None
    assert config.data.columns.user == "user"


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_lists_that_grow_in_front_begin_with_the_newest(order: str) -> None:
    rows = []
    for n in range(40):
        history = [str(each) for each in range(n // 4)]
        rows.append(f"u{n % 4},{n // 4},{n % 3 % 2},{'|'.join(history if order == 'oldest_first' else history[::-1])}")
    write("log.csv", "user,item,label,item_seq", *rows)
    _, config = inspect("log.csv")
    assert config.data.sequences is not None
    assert config.data.sequences["history"].order == order


def test_a_line_of_units_and_headers_that_come_again_are_bad_lines() -> None:
    rows = [f"u{n % 3},i{n % 7},{START + n},{n % 5 + 1}" for n in range(120)]
    header = "user,item,time,stars"
    write("log.csv", header, "(id),(id),(s),", *rows[:60], header, *rows[60:])
    findings, config = inspect("log.csv")
    assert config.data.columns is not None
    assert (config.data.columns.timestamp, config.data.columns.label) == ("time", "stars")
    assert_rows(findings, ("kept", "120"), ("users", "3"))
    assert all(f"  line {line}: " in findings for line in (2, 63))


def test_what_differs_between_files_is_told_by_several() -> None:
    for kind, step in (("view", 0), ("purchase", 9)):
        rows = (f"u{n % 4},i{n % 9},{START + 60 * n + step}" for n in range(40))
        write(f"log/event_type={kind}/part.csv", "user,item,time", *rows)
    findings, config = inspect("log")
    assert config.data.columns is not None
    assert config.data.columns.events is not None
    assert (config.data.columns.events.click, config.data.columns.events.impression) == (("purchase",), ("view",))
    assert_rows(findings, ("impressions", "40"), ("clicks", "40 (100.0%)"))


def test_lists_of_unequal_lengths_are_parallel_if_most_are_not() -> None:
    rows = [f"u{n % 5},{n % 9},{n % 2},1|2|3,{'1|1' if n == 7 else '4|1|1'}" for n in range(40)]
    write("log.csv", "user,item,label,item_seq,cate_seq", *rows)
    findings, config = inspect("log.csv")
    assert config.data.sequences is not None
    assert config.data.sequences == {
        "history": SequenceConfig(item="item_seq", category="cate_seq", separator="|"),
    }
    assert "'cate_seq' is taken to be parallel to 'item_seq', though its list has another length in 1 of 40" in findings
    assert_rows(findings, ("rejected", "item_seq and cate_seq of different lengths: 1"))


def test_events_inside_the_lines_of_users_are_rows() -> None:
    lines = [{"uid": n, "hits": [{"sku": f"i{k}", "ts": START + n + k} for k in range(4)]} for n in range(9)]
    write("log.jsonl", *map(json.dumps, lines))
    findings, config = inspect("log.jsonl")
    assert "JSON lines, a row for each object of its lists 'hits'" in findings
    assert config.data.columns is not None
    assert (config.data.columns.user, config.data.columns.item) == ("uid", "hits.sku")
    assert config.data.columns.timestamp == "hits.ts"
    assert_rows(findings, ("lines", "36"), ("kept", "36"), ("users", "9"), ("items", "4"))


def test_objects_hold_columns() -> None:
    lines = [
        {"user": {"id": n % 3, "age": n}, "product": {"sku": n % 4}, "at": {"$date": f"2014-05-{n + 10}"}}
        for n in range(9)
    ]
    write("log.jsonl", *map(json.dumps, lines))
    findings, config = inspect("log.jsonl")
    assert config.data.columns is not None
    assert (config.data.columns.user, config.data.columns.item) == ("user.id", "product.sku")
    assert config.data.columns.timestamp == "at.$date"
    assert_rows(findings, ("users", "3"), ("items", "4"), ("last event", "2014-05-18 (UTC)"))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_lists_that_are_not_read_as_rows_come_with_a_query_that_makes_them_so(form: str) -> None:
    lines = [{"it's": n, "items": ["a", "b"], "times": [1, 2]} for n in range(3)]
    write("log.jsonl", *map(json.dumps, lines))
    if form == "parquet":
        structs = [{"uid": n, "events": [{"item": "a", "ts": 1}, {"item": "b", "ts": 2}]} for n in range(3)]
        pq.write_table(pa.Table.from_pylist(structs), "log.parquet")
    query = fail(f"log.{form}").partition("COPY (")[2].partition(") TO 'events.parquet'")[0]
    rows = duckdb.sql(query).fetchall()
    assert sorted(rows) == [(n, *pair) for n in range(3) for pair in (("a", 1), ("b", 2))]


def test_times_after_now_are_counted() -> None:
    write("log.csv", "user,item,time", *(f"u{n},i,{START + 3_000_000_000 * (n == 3)}" for n in range(5)))
    findings, _ = inspect("log.csv")
    assert_rows(findings, ("after now", "1 events; check the times and their unit"))


@pytest.mark.parametrize(
    ("header", "times", "said"),
    [
        ("order_date", ["42861.25", "42862.5"], "'42861.25', days since 1900, as a spreadsheet has them, it seems"),
        ("date,time", ["2014-05-13,08:15:00", "2014-05-14,09:00:00"], "'08:15:00', a time of day: join it with the"),
    ],
)
def test_what_is_no_time_is_explained(header: str, times: list[str], said: str) -> None:
    write("log.csv", f"user,item,{header}", *(f"u{n % 3},i{n % 4},{times[n % 2]}" for n in range(12)))
    findings, _ = inspect("log.csv")
    assert f"is not taken for the timestamp: it has {said}" in findings


def test_measures_and_names_of_other_roles_are_no_items() -> None:
    rows = (f"u{n % 3},s{n % 3},{n % 2},/p/{n % 4},{n}" for n in range(12))
    write("log.csv", "user_id,session_id,active_time,url,timestamp", *rows)
    _, config = inspect("log.csv")
    assert config.data.columns is not None
    assert config.data.columns.item == "url"


def test_a_category_by_position_is_of_the_log_or_of_its_items() -> None:
    write("log.tsv", *(f"u{n % 5}\tN{n % 6}\t{START + n}" for n in range(30)))
    write("news.tsv", *(f"N{n}\tc{n % 2}\tTitle {n}" for n in range(6)))
    findings, config = inspect("log.tsv")
    assert config.data.columns is not None
    assert (config.data.columns.item, config.data.columns.category) == (2, 2)
    assert_rows(findings, ("categories", "2"))
    write("log.tsv", *(f"u{n % 5}\tN{n % 6}\t{START + n}\tk{n % 3}" for n in range(30)))
    _, config = inspect("log.tsv")
    assert config.data.items is None  # whose position 4 would be taken for the category
    assert config.data.columns == ColumnsConfig(user=1, item=2, timestamp=3, category=4)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "is empty"),
        ("blank.csv", b"\n \n", "nothing in it but blank lines"),
        ("junk", bytes(range(256)) * 9, "its first line is no header (NUL character)"),
        ("noise.parquet", b"PAR1" + bytes(99), "cannot be read as Parquet"),
        (
            "prose.txt",
            b"Dear all, thank you\nfor, well, your, letter\nYours\n",
            "of no known format: its columns are Dear all,  thank you; expected a log",
        ),
        ("numbers.csv", b"1,2,3\n4,5,6\n", "of no known format: its columns are 1, 2, 3"),
        ("other.json", b'{"a": 1, "b": 2}\n', "its columns are a, b"),
        ("broken.json", b"{\n{\n", "begins like JSON, but has no JSON object"),
        ("header.csv", b"user,item,time\n", "no event in its 0 lines"),
        ("log.csv.xz", b"\xfd7zXZ\0\0\0", "packed with xz"),
        ("log.zip", b"PK\x03\x04abc", "packed with zip"),
        ("log.xlsx", b"PK\x03\x04abc", "a spreadsheet, which is not read; save its sheet as CSV"),
        ("comments.csv", b"# by me\nuser,item\nu,i\nu,j\n", "it begins with a comment, '#...'; remove such lines"),
        ("rows.libsvm", b"1 3:1 7:0.5\n0 2:1\n", "LIBSVM features; write the log that they were made of"),
        (
            "access.log",
            b'1.2.3.4 - u1 [13/May/2014:00:00:00 +0000] "GET /p/1" 200 5\n' * 3,
            "a web server's log",
        ),
        ("lfs.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "get it with `git lfs pull`"),
        ("page.csv", b"<!DOCTYPE html>\n<p>Not found</p>\n", "a web page, and not the file; fetch it again"),
        ("seq.txt", b"u1 3 4 5\nu2 3\nu3 5 6\n", "its lines have several lengths; if each holds a user's items"),
        ("cut.csv.gz", gzip.compress(b"user,item,time\n" * 99)[:-12], "ends early"),
        ("wide.csv", "user,item,time\n".encode("utf-16"), "no event in its 0 lines"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_what_is_no_log_ends_with_one_line(name: str, content: bytes, said: str) -> None:
    Path(name).write_bytes(content)
    line = fail(name)
    assert name in line
    assert said in line


def test_what_is_not_there_ends_with_one_line() -> None:
    Path("folder").mkdir()
    assert "no such file" in fail("none.csv")
    assert "no file there matches" in fail("folder")
    assert "no file there matches" in fail("*.csv")
    assert "is a device or a pipe" in fail("/dev/null")
