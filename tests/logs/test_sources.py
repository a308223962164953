"""Movielens, Taobao, the 2023 release, x1, tables of several files: layouts, labels, fields, what is left out."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_runner import Outcome, Runner, lines, literals, review, show_samples

from din_train.config import DataConfig
from din_train.errors import DataError
from din_train.logs import read_samples


def run(runner: Runner, **values: Any) -> Outcome:
    return runner.run(DataConfig.model_validate({"prepared": runner.folder, "max_bad_share": 0.5, **values}))


RATINGS = {
    "csv": b"userId,movieId,rating,timestamp\n1,10,4.0,900000000\n1,20,3.5,900000001\n007,10,5,900000002\n",
    "double colon": b"1::10::4::900000000\n1::20::3::900000001\n007::10::5::900000002\n",
    "tab": b"1\t10\t4\t900000000\n1\t20\t3\t900000001\n007\t10\t5\t900000002\n",
}
MOVIES = {
    "csv": b'movieId,title,genres\n10,"Heat, The (1995)",Action|Crime\n20,Caf\xc3\xa9,(no genres listed)\n',
    "double colon": b"10::Heat, The (1995)::Action|Crime\n20::Caf\xe9::\n",
    "bar": b"10|Heat, The (1995)|01-Jan-1995||http://x|0|1|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0\n"
    b"20|Caf\xe9|||http://y|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n",
}


@pytest.mark.parametrize("layout", RATINGS)
@pytest.mark.parametrize("movies", MOVIES)
def test_movielens_layouts_read_alike(runner: Runner, layout: str, movies: str) -> None:
    files = {"events": runner.file(RATINGS[layout]), "items": runner.file(MOVIES[movies])}
    got = run(runner, source="movielens", **files, item_fields=["year"])
    assert got.events == [("1", "10", 900000000, 1, 0), ("1", "20", 900000001, 0, 1), ("007", "10", 900000002, 1, 2)]
    assert got.items == [("10", "Action", "Heat, The (1995)", "1995"), ("20", None, "Café", None)]
    assert (got.log.labelled, got.log.ticks) == (True, 1)


def test_the_rating_that_is_a_click_is_the_configs(runner: Runner) -> None:
    files = {"events": runner.file(RATINGS["csv"]), "items": runner.file(MOVIES["csv"])}
    got = run(runner, source="movielens", **files, click_rating=3.5)
    assert [event[3] for event in got.events] == [1, 1, 1]


def test_bad_ratings(runner: Runner) -> None:
    bad = b"1::10::6::900000000\n1::10::x::900000000\n1::10::::900000000\n1::10::4\n1::10::0::900000000\n"
    files = {"events": runner.file(RATINGS["double colon"] * 3 + bad), "items": runner.file(MOVIES["csv"])}
    assert run(runner, source="movielens", **files, max_bad_share=0.9).report.rejected == {
        "rating not from 0.5 to 5": 2, "rating not a number": 1, "no rating": 1, "wrong number of fields": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "users", [b"1::F::25::7::55117\n007::M::56::1::x\n", b"1|25|F|7|55117\n007|56|M|1|x\n"], ids=["users.dat", "u.user"]
)
def test_movielens_users(runner: Runner, users: bytes) -> None:
    files = {"events": runner.file(RATINGS["tab"]), "items": runner.file(MOVIES["csv"]), "users": runner.file(users)}
    got = run(runner, source="movielens", **files, user_fields=["gender", "age"])
    assert got.log.users is not None
    assert [tuple(row.values()) for row in pq.read_table(got.log.users).to_pylist()] == [
        ("1", "F", "25"), ("007", "M", "56"),
    ]  # fmt: skip


def test_what_is_no_ratings_file(runner: Runner) -> None:
    files = {"events": runner.file(b"movieId,title,genres\n1,a,b\n"), "items": runner.file(MOVIES["csv"])}
    with pytest.raises(DataError, match="not of a MovieLens ratings file"):
        run(runner, source="movielens", **files)


TAOBAO = b"1,10,5,pv,1511544070\n1,11,5,buy,1511544071\n007,10,,cart,1511544072\n1,12,6,fav,1511544073\n"


@pytest.mark.parametrize("odd", [b"", b"1,2,3,look,1511544070\n"], ids=["fast", "slow"])
def test_taobao_keeps_the_behaviours_asked_for(runner: Runner, odd: bytes) -> None:
    got = run(runner, source="taobao", events=runner.file(TAOBAO + odd), behaviours=["pv", "cart"])
    assert got.events == [("1", "10", 1511544070, "5", 0), ("007", "10", 1511544072, None, 1)]
    report = got.report
    assert (report.kept, report.skipped) == (2, {"behaviour buy": 1, "behaviour fav": 1})
    assert report.rejected == ({"unknown behaviour type": 1} if odd else {})
    assert report.lines == report.kept + sum(report.skipped.values()) + sum(report.rejected.values())
    assert report.notes == {"no category": 1}


def test_taobaos_behaviour_as_context(runner: Runner) -> None:
    behaviours = ["pv", "buy", "cart", "fav"]
    values = {"behaviours": behaviours, "context_fields": ["behaviour", "hour"]}
    got = run(runner, source="taobao", events=runner.file(TAOBAO), **values)
    assert [event[4] for event in got.events] == ["pv", "buy", "cart", "fav"]


REVIEW_2023 = {"user_id": "u", "asin": "variant", "parent_asin": "p", "timestamp": 1_600_000_000_123}


def test_the_2023_release(runner: Runner) -> None:
    metadata = {
        "parent_asin": "p", "categories": ["A", "B &amp; C"], "main_category": "All", "title": "t", "store": "S",
        "price": "$1,009.50",
    }  # fmt: skip
    files = {"reviews": runner.file(lines(REVIEW_2023)), "items": runner.file(lines(metadata))}
    got = run(runner, source="amazon-2023", **files, item_fields=["store", "price", "main_category"])
    assert got.events == [("u", "p", 1_600_000_000_123, 0)]
    assert got.log.ticks == 1000
    assert got.items == [("p", "B & C", "t", "S", "1009.50", "All")]


@pytest.mark.parametrize(
    ("source", "record", "reason"),
    [
        ("amazon-2023", review(), "no user_id"),
        ("amazon-2014", REVIEW_2023, "no reviewerID"),
        ("amazon-2023", {**REVIEW_2023, "timestamp": 1_600_000_000}, "timestamp in seconds, not milliseconds"),
        ("amazon-2018", review(time=1_600_000_000_123), "timestamp in milliseconds, not seconds"),
    ],
)
def test_another_release_is_told(runner: Runner, source: str, record: dict[str, Any], reason: str) -> None:
    files = {"reviews": runner.file(lines(record) * 5), "items": runner.file(lines({"asin": "i", "parent_asin": "i"}))}
    with pytest.raises(DataError, match=reason):
        run(runner, source=source, **files)


def test_a_key_given_twice(runner: Runner) -> None:
    good, text = lines(review()), lines(review(text='"asin": "asin"'))
    twice = b'{"reviewerID": "u", "asin": "i", "asin": "j", "unixReviewTime": 5}\n'
    twice += b'{"reviewerID": "u", "a\\u0073in": "i", "asin": "j", "unixReviewTime": 5, "t": "asin", "x": "asin"}\n'
    got = runner.amazon(good + text + twice, lines({"asin": "i", "category": ["A"]}))
    assert (got.report.kept, got.report.rejected) == (2, {"asin given twice": 2})
    metadata = literals({"asin": "i", "categories": [["A"]]}) + b"{'asin': 'i', 'categories': [], 'asin': 'i'}\n"
    assert runner.amazon(good, metadata, "amazon-2014").log.reports[1].rejected == {"asin given twice": 1}


HEADER = "label,user_id,item_id,cate_id,item_history,cate_history\n"


def read_ready_made(runner: Runner, train: str, max_bad_share: float = 0.95) -> tuple[list[tuple[Any, ...]], Any]:
    files = {"train": runner.file(train.encode()), "test": runner.file((HEADER + "1,t,t,t,,\n").encode())}
    values = {"source": "x1", "prepared": runner.folder, "max_bad_share": max_bad_share, **files}
    data = DataConfig.model_validate(values)
    raw = read_samples(data, runner.folder, lambda _: None)
    rows = show_samples(raw)
    assert rows.pop() == (1, "t", "t", "t", "", "", "test", len(rows))
    return rows, raw.log.reports[0]


@pytest.mark.parametrize("odd", ["", '0,"u,1",j,d,a,x\n'], ids=["fast", "slow"])
def test_x1_rows_are_kept_in_order(runner: Runner, odd: str) -> None:
    rows, report = read_ready_made(runner, HEADER + "1,007,i,c,a^b,x^\n0,u,j,,,\n" + odd)
    expected = [(1, "007", "i", "c", "a^b", "x^", "train", 0), (0, "u", "j", None, "", "", "train", 1)]
    assert rows == expected + ([(0, "u,1", "j", "d", "a", "x", "train", 2)] if odd else [])
    assert report.kept == report.lines == len(rows)


def test_bad_x1_rows(runner: Runner) -> None:
    bad = {
        "2,u,i,c,a,x": "label like a rating",
        "yes,u,i,c,a,x": "label not 0 or 1",
        "NULL,u,i,c,a,x": "no label",
        "1,NULL,i,c,a,x": "no user_id",
        "1,u,nan,c,a,x": "no item_id",
        "1,u,i,c,a^None,x^y": "empty id in item_history",
        "1,u,i,c,[a;b],x": "history in brackets that is no list of ids",
        "1,,i,c,a,x": "empty user_id",
        "1,u,,c,a,x": "empty item_id",
        "1,u,i,c,a^,x^y": "empty id in item_history",
        "1,u,i,c,a^b,x": "item_history and cate_history of different lengths",
        "1,u,i,c,,x": "item_history and cate_history of different lengths",
        "1,u,i,c,a": "wrong number of fields",
        "1,u\0,i,c,a,x": "NUL character",
    }
    rows, report = read_ready_made(runner, HEADER + "1,u,i,c,a,x\n" + "".join(f"{line}\n" for line in bad))
    assert len(rows) == 1
    assert sum(report.rejected.values()) == len(bad)
    assert report.rejected["empty id in item_history"] == 2
    assert set(report.rejected) == set(bad.values())


@pytest.mark.parametrize("mark", ["|", ",", ";", " ", "\x01", "#", "::"])
def test_x1_histories_of_another_separator(runner: Runner, mark: str) -> None:
    rows = [("i1", "c1"), *[(f"i{n}{mark}i{n + 1}", f"c1{mark}c2") for n in range(20)]]
    text = HEADER + "".join(f'1,u,i{n},c,"{items}","{categories}"\n' for n, (items, categories) in enumerate(rows))
    with pytest.raises(DataError) as caught:
        read_ready_made(runner, text, max_bad_share=0.01)
    assert f"20 of 21 histories hold no '^' but {mark[0]!r}, which no item_id has, such as" in str(caught.value)
    data = {"source": "x1", "prepared": runner.folder, "history_separator": mark}
    paths = {"train": runner.file(text.encode()), "test": runner.file((HEADER + "1,t,t,t,,\n").encode())}
    raw = read_samples(DataConfig.model_validate({**data, **paths}), runner.folder, lambda _: None)
    histories = [row[4:6] for row in show_samples(raw)][:-1]
    assert histories == [("i1", "c1"), *[(f"i{n}^i{n + 1}", "c1^c2") for n in range(20)]]


def test_x1_ids_with_signs_of_their_own(runner: Runner) -> None:
    rows, report = read_ready_made(runner, HEADER + "1,u,a-b|c,x,d-e|f,x\n" * 200, max_bad_share=0.01)
    assert (len(rows), report.notes) == (200, {})
    rows, report = read_ready_made(runner, HEADER + "1,u,a,x,b,x\n" * 200 + "1,u,a,x,b;c,x\n", max_bad_share=0.01)
    assert report.notes == {"histories of one id with a letter that no item_id has": 1}


def test_x1_lists_blanks_and_missing_values(runner: Runner) -> None:
    text = (
        '1,u,i,c,"[1, 2]","[""x"", ""y""]"\n1,u,i,NULL,1 ^ 2,x ^ y\n0,u,i,c,None,None\n1,u,i,c,1^2,nan^y\n'
        "true,u,i,c,1,x\nF,u,i,c,,\n1,u,i,c,\"['a^b', 'c']\",x^y\n"
    )
    rows, report = read_ready_made(runner, HEADER + text, max_bad_share=0)
    assert report.rejected == {}
    assert [(row[0], *row[3:6]) for row in rows] == [
        (1, "c", "1^2", "x^y"), (1, None, "1^2", "x^y"), (0, "c", "", ""), (1, "c", "1^2", "^y"),
        (1, "c", "1", "x"), (0, "c", "", ""), (1, "c", "a^b^c", "x^y"),
    ]  # fmt: skip


def test_an_x1_file_that_lacks_a_column_or_rows(runner: Runner) -> None:
    with pytest.raises(DataError) as caught:
        read_ready_made(runner, "label,user_id,item_id,cate,item_history,cate_history\n1,u,i,c,,\n")
    assert str(caught.value) == (
        f"{runner.folder / 'input-1'}: data.columns.category: no column 'cate_id' in the header, which has label, "
        "user_id, item_id, cate, item_history, cate_history; did you mean 'cate'? (read as comma-separated)"
    )
    with pytest.raises(DataError, match=r"none of the columns label, .* check the path and the columns in the config"):
        read_ready_made(runner, "a,b\n1,2\n")
    with pytest.raises(DataError, match="no event in its 0 lines"):
        read_ready_made(runner, HEADER)


def test_a_part_that_lacks_a_field(runner: Runner) -> None:
    folder = fill_folder(runner.folder / "log")
    (folder / "a.tsv.gz").write_bytes(b"u\ti\tt\tbrand\nu\ta\t1\tB\n")
    with pytest.raises(DataError) as caught:
        run(runner, **TABLE, events=folder, item_fields=["brand"])
    (line,) = caught.value.problems
    assert line.startswith(f"{folder / 'b.csv'}: data.item_fields.brand: no column 'brand' in the header, which has")


TABLE = {"source": "table", "columns": {"user": "u", "item": "i", "timestamp": "t"}}


def fill_folder(folder: Path) -> Path:
    (folder / "day=2").mkdir(parents=True)
    (folder / "b.csv").write_text("t,u,i\n3,u,c\n")
    (folder / "a.tsv.gz").write_bytes(gzip.compress(b"u\ti\tt\nu\ta\t1\nu\tb\t2\n"))
    pq.write_table(pa.table({"u": ["u"], "i": ["d"], "t": [4]}), folder / "day=2" / "c.parquet")
    (folder / "_SUCCESS").write_text("")
    (folder / ".hidden").write_text("junk")
    return folder


def test_a_folder_of_files_is_one_log(runner: Runner) -> None:
    got = run(runner, **TABLE, events=fill_folder(runner.folder / "log"))
    assert got.events == [("u", "a", 1, 0), ("u", "b", 2, 1), ("u", "c", 3, 2), ("u", "d", 4, 3)]
    assert [report.path.name for report in got.log.reports] == ["a.tsv.gz", "b.csv", "c.parquet"]


@pytest.mark.parametrize(("pattern", "items"), [("*.csv", "c"), ("*.[ct]sv*", "abc"), ("**/*.parquet", "d")])
def test_a_glob_of_files(runner: Runner, pattern: str, items: str) -> None:
    got = run(runner, **TABLE, events=fill_folder(runner.folder / "log") / pattern)
    assert "".join(event[1] for event in got.events) == items


def test_a_glob_of_nothing(runner: Runner) -> None:
    with pytest.raises(DataError, match=r"data\.events: .*\*\.zip: no file there matches"):
        run(runner, **TABLE, events=fill_folder(runner.folder / "log") / "*.zip")


def test_a_part_without_rows_is_no_error(runner: Runner) -> None:
    folder = fill_folder(runner.folder / "log")
    (folder / "a0.csv").write_text("u,i,t\n")
    assert len(run(runner, **TABLE, events=folder).events) == 4


LABELLED = {"source": "table", "columns": {"user": "u", "item": "i", "timestamp": "t", "label": "y"}}


@pytest.mark.parametrize("odd", [b"", b"u,c,3,2\nu,c,3,\nu,c,3,N/A\nu,c,3,-1\n"], ids=["fast", "slow"])
def test_labels_in_text(runner: Runner, odd: bytes) -> None:
    got = run(
        runner, **LABELLED, events=runner.file(b"u,i,t,y\nu,a,1,1\nu,b,2,0\nu,b,2,0.0\n" + odd), max_bad_share=0.6
    )
    assert [event[3] for event in got.events] == [1, 0, 0]
    assert got.report.rejected == ({"label like a rating": 1, "no label": 2, "label -1": 1} if odd else {})


@pytest.mark.parametrize("words", [("True", "False"), ("true", "false"), ("T", "F"), ("t", "f"), ("1.0", "0.0")])
@pytest.mark.parametrize("form", ["text", "parquet"])
def test_true_and_false_are_labels(runner: Runner, words: tuple[str, str], form: str) -> None:
    path = runner.folder / "log"
    if form == "text":
        path.write_text(f"u,i,t,y\nu,a,1,{words[0]}\nu,b,2,{words[1]}\n")
    else:
        pq.write_table(pa.table({"u": ["u"] * 2, "i": ["a", "b"], "t": [1, 2], "y": list(words)}), path)
    got = run(runner, **LABELLED, events=path, max_bad_share=0)
    assert [event[3] for event in got.events] == [1, 0]


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        (
            "12345",
            "make data.columns.label a column of 1 where a rating counts as a click and else 0, or say in "
            "data.columns.label_at_least which numbers count as clicks, or leave data.columns.label out",
        ),
        (["0", "-1", "-1"], "data.columns.label has both 0 and -1: write one of them in place of the other"),
        (["yes", "no"], "let data.columns.label be such a column, or leave data.columns.label out"),
    ],
)
def test_advice_on_what_is_no_label(runner: Runner, values: Sequence[str], advice: str) -> None:
    log = "u,i,t,y\n" + "".join(f"u,i{n},{n},{value}\n" for n, value in enumerate(values))
    with pytest.raises(DataError) as caught:
        run(runner, **LABELLED, events=runner.file(log.encode()), max_bad_share=0.1)
    assert advice in str(caught.value)
    assert "or raise data.max_bad_share" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [([1, 0, 2], "label like a rating"), ([1.0, 0.0, 0.5], "label like a rating"), ([True, False, None], "no label")],
)
def test_labels_in_parquet(runner: Runner, labels: list[Any], reason: str) -> None:
    path = runner.folder / "log.parquet"
    pq.write_table(pa.table({"u": ["u"] * 3, "i": ["a", "b", "c"], "t": [1, 2, 3], "y": labels}), path)
    got = run(runner, **LABELLED, events=path)
    assert [event[3] for event in got.events] == [1, 0]
    assert got.report.rejected == {reason: 1}


def test_all_behaviours_left_out(runner: Runner) -> None:
    with pytest.raises(DataError, match=r"data\.behaviours: no row is of the type buy; the types are pv 2; name those"):
        run(runner, source="taobao", events=runner.file(b"1,2,3,pv,1511544070\n" * 2), behaviours=["buy"])


def test_null_words_are_missing_unless_the_config_says_otherwise(runner: Runner) -> None:
    log = b"u,i,t,b\nNULL,a,1,x\nu,nan,2,x\nu,a,3,None\nu,NA,4,NA\nu,none,5,none\n"
    got = run(runner, **TABLE, events=runner.file(log), item_fields=["b"], max_bad_share=0.6)
    assert got.report.rejected == {"no user": 1, "no item": 2}
    assert got.events == [("u", "a", 3, None, 0), ("u", "none", 5, "none", 1)]
    got = run(runner, **TABLE, events=runner.file(log), item_fields=["b"], null_values=["none"], max_bad_share=0.6)
    assert got.report.rejected == {"no item": 1}
    assert got.events[1] == ("u", "nan", 2, "x", 1)
    with pytest.raises(DataError, match=r"no item: 2, no user: 1.*take what is a value from data\.null_values"):
        run(runner, **TABLE, events=runner.file(log))


def test_a_field_that_is_no_column(runner: Runner) -> None:
    with pytest.raises(DataError, match=r"data\.item_fields\.brand: no column 'brand' in the header"):
        run(runner, **TABLE, events=runner.file(b"u,i,t\nu,a,1\n"), item_fields=["brand"])


SECONDS, MILLISECONDS = 1_400_000_000, 1_400_000_000_000


def table_of(*times: int) -> bytes:
    return b"u,i,t\n" + b"".join(b"u,i,%d\n" % time for time in times)


def test_seconds_among_milliseconds_are_refused_with_a_hint(runner: Runner) -> None:
    with pytest.raises(
        DataError, match=r"mixed units of time \(timestamp in seconds, not milliseconds: 1 of 3 lines\)"
    ):
        run(runner, **TABLE, events=runner.file(table_of(MILLISECONDS, SECONDS, MILLISECONDS)), max_bad_share=0.1)


def test_a_file_of_another_unit_is_refused_with_a_hint(runner: Runner) -> None:
    folder = runner.folder / "log"
    folder.mkdir()
    (folder / "a.csv").write_bytes(table_of(*range(SECONDS, SECONDS + 2000)))
    (folder / "b.csv").write_bytes(table_of(*range(MILLISECONDS, MILLISECONDS + 2000)))
    with pytest.raises(DataError, match=r"b\.csv: mixed units of time"):
        run(runner, **TABLE, events=folder)


def test_a_stray_line_in_another_unit_is_a_bad_line(runner: Runner) -> None:
    got = run(runner, **TABLE, events=runner.file(table_of(*[SECONDS] * 150, MILLISECONDS)), max_bad_share=0.01)
    assert got.report.rejected == {"timestamp in milliseconds, not seconds": 1}
    assert got.log.ticks == 1


@pytest.mark.parametrize(("ticks", "unit"), [(1, "s"), (10**3, "ms"), (10**6, "us"), (10**9, "ns")])
def test_the_unit_is_told_by_size_or_by_type(runner: Runner, ticks: int, unit: str) -> None:
    assert run(runner, **TABLE, events=runner.file(table_of(0, SECONDS * ticks, 5))).log.ticks == ticks
    path = runner.folder / "log.parquet"
    pq.write_table(pa.table({"u": ["u"], "i": ["a"], "t": pa.array([SECONDS], pa.timestamp(unit))}), path)
    if unit == "s":  # Parquet has no seconds
        ticks = 1000
    assert run(runner, **TABLE, events=path).log.ticks == ticks


def test_counters_have_no_unit(runner: Runner) -> None:
    got = run(runner, **TABLE, events=runner.file(table_of(0, 1, 2)))
    assert (got.log.ticks, len(got.events)) == (None, 3)


@pytest.mark.parametrize("name", ["007", " 7 ", "Zoë 𝄞", "a'b", "7.0"])
def test_ids_are_kept_exactly_by_every_reader(runner: Runner, name: str) -> None:
    line = f"{name},{name},{name},pv,1511544070\n".encode()
    assert run(runner, source="taobao", events=runner.file(line)).events[0][:2] == (name, name)
    rating = f"{name}::{name}::5::900000000\n".encode()
    files = {"events": runner.file(rating), "items": runner.file(f"{name}::t::Action\n".encode())}
    got = run(runner, source="movielens", **files)
    assert got.events[0][:2] == (name, name)
    assert got.items[0][0] == name
    record = {"user_id": name, "parent_asin": name, "timestamp": MILLISECONDS}
    files = {"reviews": runner.file(lines(record)), "items": runner.file(lines({"parent_asin": name}))}
    assert run(runner, source="amazon-2023", **files).events[0][:2] == (name, name)
    rows, _ = read_ready_made(runner, HEADER + f"1,{name},{name},{name},{name}^{name},{name}^{name}\n")
    in_history = name.strip()  # blanks beside a separator are no part of an id
    assert rows[0][1:6] == (name, name, name, f"{in_history}^{in_history}", f"{in_history}^{in_history}")
