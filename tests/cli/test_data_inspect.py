"""`din-train data inspect`: every source is recognised, counted, and given a config that loads."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from log_inspector import START, assert_rows, edits, fail, inspect, write

from din_train.cli import cli
from din_train.config.file_formats import FormatConfig, SideTableConfig
from din_train.config.rows import SequenceConfig


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def review(user: str, item: str, day: int, **others: Any) -> str:
    return json.dumps({"reviewerID": user, "asin": item, "unixReviewTime": START + 86_400 * day, **others})


REVIEWS = [("u1", "a", 0), ("u1", "b", 1), ("u2", "a", 2)]


@pytest.mark.parametrize(
    ("source", "others", "name", "metadata", "item"),
    [
        ("amazon-2014", {"helpful": [0, 0]}, "reviews_Toys_5.json.gz", "meta_Toys.json.gz", repr),
        ("amazon-2018", {"verified": True}, "Toys_5.json.gz", "meta_Toys.json.gz", json.dumps),
        ("amazon-2018", {"vote": "2", "verified": False}, "reviews.json", "meta.json", json.dumps),
    ],
)
def test_amazon_reviews_until_2018(
    source: str, others: dict[str, Any], name: str, metadata: str, item: Callable[[Any], str]
) -> None:
    write(f"logs/{name}", *(review(*each, **others) for each in REVIEWS), "{broken")
    key, path = ("categories", [["Toys"]]) if source == "amazon-2014" else ("category", ["Toys"])
    write(f"logs/{metadata}", *(item({"asin": asin, key: path}) for asin in ("a", "b", "c")))
    findings, config = inspect(f"logs/{name}")
    assert findings.startswith(f"logs/{name}: Amazon reviews, {source[-4:]} release\n")
    assert_rows(
        findings,
        *(("lines", "4"), ("kept", "3"), ("rejected", "not JSON: 1"), ("users", "2"), ("items", "2")),
        *(("categories", "1"), ("first event", "2014-05-13 (UTC)"), ("last event", "2014-05-15 (UTC)")),
        ("events a user", "min 1, median 1.5, p90 1.9, p99 2, max 2"),
    )
    assert f"First bad lines:\n  {name}:4: not JSON: {{broken" in findings
    assert (config.data.source, config.data.reviews) == (source, Path("logs", name))
    assert config.data.path_of("items") == Path("logs", metadata)
    assert edits() == []


def test_amazon_reviews_of_2023_without_their_metadata() -> None:
    rows = [{"user_id": u, "parent_asin": i, "asin": i, "timestamp": (START + d) * 1000} for u, i, d in REVIEWS]
    write("Toys.jsonl.gz", *map(json.dumps, rows))
    write("meta_Toys.jsonl.gz", *(review(*each) for each in REVIEWS))  # not metadata at all
    findings, config = inspect("Toys.jsonl.gz")
    assert_rows(findings, ("lines", "3"), ("users", "2"), ("time unit", "milliseconds"))
    assert (config.data.source, config.data.reviews) == ("amazon-2023", Path("Toys.jsonl.gz"))
    assert (config.data.items, edits()) == (None, [])


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("amazon-2014", "{'asin': 'a', 'title': \"it's\", 'categories': [['Toys']]}"),
        ("amazon-2018", '{"asin": "a", "category": ["Toys"], "verified": true}'),
        ("amazon-2023", '{"parent_asin": "a", "categories": [], "main_category": "Toys"}'),
    ],
)
def test_amazon_metadata_is_not_the_log(source: str, line: str) -> None:
    write("meta_Toys.json", line, "", line)
    findings, config = inspect("meta_Toys.json")
    assert f"Amazon metadata, {source[-4:]} release" in findings
    assert "The reviews file is the one to inspect" in findings
    assert_rows(findings, ("lines", "2"))
    assert (config.data.source, config.data.path_of("items")) == (source, Path("meta_Toys.json"))
    assert edits() == ["reviews"]


GENRES_100K = "0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0"


@pytest.mark.parametrize(
    ("ratings", "between", "header", "movies", "movie"),
    [
        ("ratings.csv", ",", ["userId,movieId,rating,timestamp"], "movies.csv", "10,Toy Story (1995),Animation"),
        ("ratings.dat", "::", [], "movies.dat", "10::Toy Story (1995)::Animation"),
        ("u.data", "\t", [], "u.item", f"10|Toy Story (1995)|01-Jan-1995||http://imdb|{GENRES_100K}"),
    ],
)
@pytest.mark.parametrize("with_movies", [True, False])
def test_movielens(
    ratings: str, between: str, header: list[str], movies: str, movie: str, *, with_movies: bool
) -> None:
    rows = [("1", "10", "4"), ("1", "11", "3"), ("2", "10", "5"), ("2", "12", "9")]
    write(ratings, *header, *(between.join((*each, str(START))) for each in rows))
    if with_movies:
        write(movies, *(["movieId,title,genres"] if header else []), movie)
    findings, config = inspect(ratings)
    assert f"{ratings}: MovieLens ratings" in findings
    assert_rows(
        findings,
        *(("lines", "4"), ("kept", "3"), ("rejected", "rating not from 0.5 to 5: 1"), ("users", "2"), ("items", "2")),
        *(("impressions", "3"), ("clicks", "2 (66.7%)")),
    )
    assert f"{4 + len(header)}: rating not from 0.5 to 5: 2{between}".replace("\t", "\\t") in findings
    assert (config.data.source, config.data.events, config.data.protocol) == ("movielens", Path(ratings), "user")
    assert (config.data.path_of("items"), edits()) == (Path(movies) if with_movies else None, [])
    if with_movies:
        assert_rows(findings, ("categories", "1"))
        of_movies, config = inspect(movies)
        assert "The ratings file is the one to inspect" in of_movies
        assert_rows(of_movies, ("lines", "1"))
        assert config.data.path_of("items") == Path(movies)
        assert edits() == ["events"]


def test_movielens_users_are_told_apart() -> None:
    write("users.dat", "1::F::1::10::48067", "2::M::56::16::70072")
    findings, _ = inspect("users.dat")
    assert "MovieLens users, not the ratings" in findings
    assert edits() == ["events"]


def test_taobao() -> None:
    kinds = ["pv", "pv", "buy", "pv", "look"]
    write("UserBehavior.csv", *(f"{n % 2},{n},7,{kind},{START + n}" for n, kind in enumerate(kinds)))
    findings, config = inspect("UserBehavior.csv")
    assert_rows(
        findings,
        *(("lines", "5"), ("kept", "3"), ("rejected", "unknown behaviour type: 1"), ("skipped", "behaviour buy: 1")),
        *(("users", "2"), ("items", "3"), ("categories", "1"), ("time unit", "seconds")),
    )
    assert "  line 5: unknown behaviour type: 0,4,7,look,1400000004" in findings
    assert (config.data.source, config.data.events) == ("taobao", Path("UserBehavior.csv"))
    assert edits() == []


X1 = ["label,user_id,item_id,cate_id,item_history,cate_history", "1,u1,a,c,b^d,c^c", "0,u1,b,c,,", "1,u2,a,c,b,c"]


def test_x1() -> None:
    write("my_train.csv", *X1, "2,u1,a,c,,")
    findings, config = inspect("my_train.csv")
    assert_rows(
        findings,
        *(("lines", "4"), ("kept", "3"), ("rejected", "label like a rating: 1")),
        *(("train rows", "3, 2 of them clicked (66.7%)"), ("users", "2"), ("items", "2")),
        ("history length", "min 0, median 1, p90 1.8, p99 2, max 2"),
    )
    assert (config.data.source, config.data.train) == ("rows", Path("my_train.csv"))  # there is no test file
    assert config.data.row_split is not None
    write("my_test.csv", *X1)
    findings, config = inspect("my_test.csv")
    assert_rows(findings, ("train rows", "3, 2 of them clicked (66.7%)"), ("test rows", "3, 2 of them clicked (66.7%)"))
    assert (config.data.source, config.data.train, config.data.test) == (
        "x1",
        Path("my_train.csv"),
        Path("my_test.csv"),
    )
    assert edits() == []


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("user_id,item_id,category,timestamp,click", ("user_id", "item_id", "category", "timestamp", "click")),
        (
            "visitorid\tsku\tCate ID\tunixReviewTime\tis_click",
            ("visitorid", "sku", "Cate ID", "unixReviewTime", "is_click"),
        ),
        ("UID,asin,cat,ts,label", ("UID", "asin", "cat", "ts", "label")),
    ],
)
def test_a_table_with_names_that_tell(header: str, columns: Sequence[str]) -> None:
    between = "\t" if "\t" in header else ","
    rows = [f"u{n % 3},i{n},c{n % 2},{(START + n) * 1000},{n % 2}" for n in range(6)]
    write("log.csv", header, *(each.replace(",", between) for each in rows))
    findings, config = inspect("log.csv")
    assert_rows(
        findings,
        *(("lines", "6"), ("kept", "6"), ("rejected", "0"), ("users", "3"), ("items", "6"), ("categories", "2")),
        *(("impressions", "6"), ("clicks", "3 (50.0%)"), ("time unit", "milliseconds")),
    )
    found = config.data.columns
    assert found is not None
    assert (found.user, found.item, found.category, found.timestamp, found.label) == tuple(columns)
    assert "negatives:" not in Path("din-train.yaml").read_text()
    assert edits() == []


def test_columns_that_nothing_tells_are_marked() -> None:
    write("log.csv", "who,item,when,time,label", *(f"u{n},i,x,soon,{n}" for n in range(9)))
    findings, config = inspect("log.csv")
    assert "columns: who, item, when, time, label" in findings
    assert "column 'time' is not taken for the timestamp: it has 'soon'" in findings
    assert_rows(findings, ("lines", "9"))
    assert config.data.columns is not None
    assert (config.data.columns.item, config.data.columns.label) == ("item", None)
    assert edits() == ["user", "timestamp"]


@pytest.mark.parametrize(
    ("rows", "user", "item", "time", "label"),
    [
        ([f"A{n % 7:013}X,{n % 5},5,{START + n}" for n in range(20)], 1, 2, 4, None),
        ([f"A{n % 7:013}X,B{n % 5},{1 + n % 5}.0,{START + n}" for n in range(20)], 1, 2, 4, 3),
        ([f"B00000000{n % 5},A{n % 7:013}X,{1 + n % 5}.0,{START + n}" for n in range(20)], 2, 1, 4, 3),
        ([f"u{n % 7}\t2009-05-04T23:08:{n + 10}Z\t{n}.25\t{n % 5}" for n in range(20)], 1, 4, 2, None),
    ],
)
def test_columns_of_a_log_without_header_are_positions(
    rows: Sequence[str], user: int, item: int, time: int, label: int | None
) -> None:
    write("log.csv", *rows)
    findings, config = inspect("log.csv")
    columns = config.data.columns
    assert columns is not None
    assert (columns.user, columns.item, columns.timestamp, columns.label) == (user, item, time, label)
    assert config.data.format is not None
    assert config.data.format.header is False
    assert_rows(findings, ("lines", "20"), ("kept", "20"), ("users", "7"), ("items", "5"))
    assert edits() == []


def test_a_header_of_values_is_refused_by_prepare_too() -> None:
    write("log.csv", *(f"A{n},{n},5,{START + n}" for n in range(9)))
    config = {"source": "table", "events": "log.csv", "prepared": "p"}
    columns = {"user": "A0", "item": "0", "timestamp": str(START)}
    values = {"name": "x", "data": {**config, "columns": columns}, "model": {"name": "din"}, "training": {"epochs": 1}}
    Path("c.yaml").write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(cli, ["prepare", "--config", "c.yaml"])
    assert result.exit_code == 1, result.stderr
    assert f"'{START}' is a time and no column's name" in result.stderr


@pytest.mark.parametrize(
    ("lists", "separator"),
    [
        (["1^2^3", "4^5"], "^"),
        (["1 ^ 2", "3 ^ 4"], "^"),
        (["1 2", "3 4"], " "),
        (['"1,2,3"', '"4,5"'], ","),
        (['"[1, 2]"', "[]"], None),
        (["1|2", "3|4"], "|"),
    ],
)
def test_rows_with_lists_of_items_hold_their_histories(lists: Sequence[str], separator: str | None) -> None:
    rows = [f"u{n % 5},{n % 7},{START + n},{n % 2},{lists[n % 2]}" for n in range(20)]
    write("log.csv", "user,item,time,click,past", *rows)
    findings, config = inspect("log.csv")
    assert config.data.source == "rows"
    assert config.data.sequences is not None
    assert config.data.sequences["history"] == SequenceConfig(item="past", separator=separator)
    assert_rows(findings, ("train rows", "20, 10 of them clicked (50.0%)"), ("history length", LENGTHS[lists[0]]))


LENGTHS = {
    **dict.fromkeys(("1^2^3", '"1,2,3"'), "min 2, median 2.5, p90 3, p99 3, max 3"),
    **dict.fromkeys(("1 ^ 2", "1 2", "1|2"), "min 2, median 2, p90 2, p99 2, max 2"),
    '"[1, 2]"': "min 0, median 1, p90 2, p99 2, max 2",
}


def test_numbered_columns_and_parallel_lists_are_one_sequence() -> None:
    rows = [f"u{n % 5},i{n % 6},c{n % 3},{n % 2},0,i{n % 4},i{n % 5}" for n in range(20)]
    write("train.csv", "user,item,cate,label,hist_1,hist_2,hist_3", *rows)
    _, config = inspect("train.csv")
    assert config.data.sequences == {"history": SequenceConfig(item="hist_*", padding="0")}
    assert config.data.row_split is not None
    table = {
        "user": ["u", "v"] * 6,
        "item": [1, 2, 3] * 4,
        "cate": ["a", "b", "a"] * 4,
        "label": [0, 1, 1, 0] * 3,
        "seen": [[1, 2], [2]] * 6,
        "seen_cate": [["a", "b"], ["b"]] * 6,
        "seen_type": [["x", "y"], ["x"]] * 6,
        "seen_time": [[START, START + 1], [START]] * 6,
    }
    for rows, split in ((12, "train"), (10, "val"), (11, "test")):
        pq.write_table(pa.table(table).slice(0, rows), f"my.{split}.parquet")
    _, config = inspect("my.train.parquet")
    assert config.data.sequences == {
        "history": SequenceConfig(
            item="seen", category="seen_cate", timestamp="seen_time", fields={"seen_type": "seen_type"}
        )
    }
    assert [config.data.train, config.data.validation, config.data.test] == [
        Path(f"my.{split}.parquet") for split in ("train", "val", "test")
    ]
    assert config.data.row_split is None


def test_what_joins_ready_made_histories_is_written() -> None:
    for between, separator in (("|", "|"), (" ", " "), ("^", "^")):
        history = between.join(("b1", "b2", "b3"))
        for split in ("train", "test"):
            user = f"u-{split}"
            write(f"my_{split}.csv", X1[0], f"1,{user},a1,c,{history},{history}", f"0,{user},b2,c,{history},{history}")
        _, config = inspect("my_train.csv")
        assert (config.data.source, config.data.history_separator) == ("x1", separator)


def test_several_genres_are_a_field_of_the_item() -> None:
    genres = ["Action|Drama", "Comedy", "Drama|Comedy", "Action"]
    rows = [f"u{n % 5},i{n % 4},{START + n},{genres[n % 4]}" for n in range(20)]
    write("log.csv", "user,item,time,genres", *rows)
    _, config = inspect("log.csv")
    assert config.data.item_fields == ("genres",)
    assert config.data.list_fields is not None
    assert config.data.list_fields["genres"].separator == "|"


def test_tables_of_items_and_users_beside_a_log_are_named() -> None:
    write("log.csv", "user,ad,time,clk", *(f"{n % 5},a{n % 4},{START + n},{n % 2}" for n in range(20)))
    write("ads.tsv", "adgroup\tcate_id\tbrand", *(f"a{n}\t{n % 2}\tx" for n in range(9)))
    write("people.csv", "userid;age", *(f"{n};20" for n in range(9)))
    write("other.csv", "day,count", *(f"{n},20" for n in range(9)))
    findings, config = inspect("log.csv")
    assert config.data.items == SideTableConfig(path=Path("ads.tsv"), key="adgroup")
    assert config.data.users == SideTableConfig(path=Path("people.csv"), key="userid")
    assert config.data.columns is not None
    assert config.data.columns.category == "cate_id"
    assert "data.item_fields may be: brand (of ads.tsv)" in findings
    assert_rows(findings, ("categories", "2"))


@pytest.mark.parametrize(
    ("name", "lines", "found"),
    [
        ("semi.csv", ["user;item;time", "u;i;5", "u;j;6"], {"delimiter": ";"}),
        ("log.tsv", ['"user"\t"item"\t"time"', '"u"\t"i"\t5', '"u"\t"j"\t6', '"v"\t"j"\t7'], {"quote": '"'}),
        (
            "latin.csv",
            ["user,item,time", *(f"M\u00fcller{n},caf\u00e9{n},{n + 5}" for n in range(9))],
            {"encoding": "latin-1"},
        ),
        ("spark.csv", ["user,item,time", 'u,"12\\" a, b",5', 'u,"13\\" a, b",6'], {"escape": "\\"}),
    ],
)
def test_the_dialect_is_written(name: str, lines: Sequence[str], found: dict[str, Any]) -> None:
    encoding = "latin-1" if name.startswith("latin") else "utf-8"
    Path(name).write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    findings, config = inspect(name)
    assert config.data.format == FormatConfig(**found)
    assert_rows(findings, ("lines", str(len(lines) - 1)), ("rejected", "0"))


@pytest.mark.parametrize(
    ("form", "first", "time_format"),
    [
        ("%m/%d/%Y %I:%M:%S %p", "2014-05-13", "%m/%d/%Y %I:%M:%S %p"),
        ("%a %b %d %H:%M:%S -0700 %Y", "2014-05-13", "%a %b %d %H:%M:%S %z %Y"),
        ("%d.%m.%Y", "2014-05-13", "%d.%m.%Y"),
        ("%Y-%m-%d %H:%M:%S UTC", "2014-05-13", None),
        ("%Y%m%d", "2014-05-13", None),
    ],
)
def test_forms_of_times_are_told(form: str, first: str, time_format: str | None) -> None:
    days = [datetime.fromtimestamp(START + 86_400 * n, UTC).strftime(form) for n in range(20)]
    write("log.csv", "user,item,date", *(f"u{n % 4},i{n % 5},{day}" for n, day in enumerate(days)))
    findings, config = inspect("log.csv")
    assert config.data.columns is not None
    assert (config.data.columns.timestamp, config.data.columns.time_format) == ("date", time_format)
    assert_rows(findings, ("first event", f"{first} (UTC)"), ("rejected", "0"))


def test_a_log_without_times_is_in_the_order_of_its_lines() -> None:
    write("log.csv", "User-ID;ISBN;Book-Rating", *(f"{n % 4};{n % 7};{n % 11}" for n in range(40)))
    _, config = inspect("log.csv")
    assert config.data.columns is not None
    assert (config.data.columns.timestamp, config.data.columns.label) == ("file-order", "Book-Rating")
    assert edits() == []


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("criteo.tsv", ["\t".join([str(n % 2), *["7"] * 13, *["68fd1e64"] * 26]) for n in range(20)]),
        (
            "avazu.csv",
            [
                "id,click,hour,C1,banner_pos,site_id,app_id,device_ip,C14,C15",
                *(f"{n},{n % 2},14102100,1005,0,1fbe,ec,dd,15,320" for n in range(20)),
            ],
        ),
    ],
)
def test_features_without_users_are_no_log_of_behaviours(name: str, lines: Sequence[str]) -> None:
    write(name, *lines)
    line = fail(name)
    assert "no behaviour log: " in line
    assert "Use models of features alone (DeepFM or DCN" in line


def test_equal_events_null_words_and_quotes_are_counted() -> None:
    rows = ["u\ti\t5", "u\ti\t5", "u\tj\t5", "none\ti\t6", "none\ti\t7", "u\tnone\t8", '"u"\t"i"\t9']
    rows += ["nan\ti\t9", "u\t\\N\t9"]  # of `data.null_values`
    write("log.tsv", "user\titem\ttime", *rows)
    assert_rows(
        inspect("log.tsv")[0],
        ("equal events", "1 (user, item and time of another)"),
        ("rejected", "2 (no user: 1, no item: 1)"),
        ("user ids", "that may stand for none: none: 2"),
        ("user ids", "in quotes, which are kept as a part of them: 1"),
        ("item ids", "that may stand for none: none: 1"),
        ("item ids", "in quotes, which are kept as a part of them: 1"),
    )


def test_day_numbers_are_days() -> None:
    write("log.csv", "user,item,date", "u,i,20231115", "u,j,20231122")
    findings, _ = inspect("log.csv")
    assert_rows(findings, ("first event", "2023-11-15 (UTC)"), ("last event", "2023-11-22 (UTC)"))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "item_id,category,price",
            "a table of items and not the log, inspect the log, and name this file in data.items",
        ),
        ("user_id,gender,age", "a table of users and not the log, inspect the log, and name this file in data.users"),
    ],
)
def test_a_side_table_is_not_taken_for_a_log(header: str, said: str) -> None:
    write("side.csv", header, *(f"x{n},{n % 2},{n % 5 + 1}" for n in range(10)))
    findings, _ = inspect("side.csv")
    assert said in findings
    assert "taken as clicks" not in findings


def test_times_are_told_by_value_where_no_name_tells() -> None:
    write("log.csv", "user,item,when", *(f"u,i{n},{START + n}" for n in range(5)))
    _, config = inspect("log.csv")
    assert "    timestamp: when                 # seconds\n" in Path("din-train.yaml").read_text()
    assert config.data.columns is not None
    assert config.data.columns.timestamp == "when"


def test_too_many_bad_lines_are_shown_and_marked() -> None:
    bad = [f"u{n}\x1b[31m: #\x85\u2028- x,\r,i" for n in range(7)]
    write("log.csv", "user,item,time", "u,i,5", *bad, "u,i,12", "u,j,7")
    findings, _ = inspect("log.csv")
    shown = findings.partition("First bad lines:\n")[2].splitlines()[:6]
    assert shown[0] == r"  line 3: carriage return inside the line: u0\x1b[31m: #\x85\u2028- x,\r,i"
    assert [line.split()[1] for line in shown[:5]] == ["3:", "4:", "5:", "6:", "7:"]
    assert shown[5] == ""
    assert "EDIT data.max_bad_share: log.csv has 7 bad lines of 10 (70.00%)" in findings
    assert_rows(
        findings, ("first event", "5"), ("time unit", "none that is known; only the order of the timestamps matters")
    )
    assert edits() == ["max_bad_share"]


@pytest.mark.parametrize("padding", ["-1", "0", "PAD"])
def test_ids_that_fill_empty_places_are_padding(padding: str) -> None:
    rows = [[f"u{n % 3}", f"i{n % 5}", *[f"i{each % 5}" for each in range(n % 4)]] for n in range(30)]
    write("rows.csv", "user,item,hist_0,hist_1,hist_2,hist_3", *(",".join((r + [padding] * 4)[:6]) for r in rows))
    findings, config = inspect("rows.csv")
    assert config.data.sequences is not None
    assert config.data.sequences["history"].padding == padding
    assert "history length min 0, median 1, p90 3, p99 3, max 3" in " ".join(findings.split())


@pytest.mark.parametrize(("step", "order"), [(1, "oldest_first"), (-1, "newest_first")])
def test_times_of_behaviours_tell_their_order(step: int, order: str) -> None:
    rows = []
    for n in range(30):
        seen = [(f"i{each % 5}", START + 60 * each) for each in range(n % 4)][::step]
        line = {"user": f"u{n % 3}", "item": f"i{n % 5}", "ts": START + 3600, "label": n % 2}
        rows.append(json.dumps({**line, "hist": [each for each, _ in seen], "hist_ts": [each for _, each in seen]}))
    write("rows.jsonl", *rows)
    _, config = inspect("rows.jsonl")
    assert config.data.sequences is not None
    assert config.data.sequences["history"].timestamp == "hist_ts"
    assert config.data.sequences["history"].order == order


def test_times_in_doubles_with_fractions_are_times() -> None:
    times = [1600000000000.5 + 1000 * row for row in range(4)]
    pq.write_table(pa.table({"user": ["u", "u", "v", "v"], "item": ["i", "j", "i", "k"], "ts": times}), "log.parquet")
    _, config = inspect("log.parquet")
    assert config.data.columns is not None
    assert config.data.columns.timestamp == "ts"


def test_the_largest_file_of_a_folder_tells_what_its_columns_are() -> None:
    rows = ["u,i,1,1", "u,j,2,0", "v,i,3,1"]
    for part in (1, 2):
        write(f"log/{part}.csv", "user,item,time,click", *rows[: 2 * part - 1])
    _, config = inspect("log")
    assert config.data.columns is not None
    assert config.data.columns.label == "click"


def test_parquet() -> None:
    times = pa.array([START * 10**6, START * 10**6 + 1, None], pa.timestamp("us"))
    table = {"customer": ["u", "u", "v"], "productId": [1, 2, 2], "time": times, "clicked": [True, False, True]}
    pq.write_table(pa.table({**table, "tags": [["a"], [], None]}), "log.parquet")
    findings, config = inspect("log.parquet")
    assert_rows(
        findings,
        *(("lines", "3"), ("kept", "2"), ("rejected", "no timestamp: 1"), ("users", "1"), ("items", "2")),
        *(("clicks", "1 (50.0%)"), ("time unit", "microseconds"), ("last event", "2014-05-13 (UTC)")),
    )
    assert config.data.columns is not None
    assert (config.data.columns.user, config.data.columns.item) == ("customer", "productId")


@pytest.mark.parametrize("path", ["my: log's", "my: log's/part-*.csv.gz", "."])
def test_a_folder_or_a_glob_is_one_table(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in range(3):
        write(f"my: log's/part-{part}.csv.gz", "user_id,item_id,ts", *(f"u{part},i{n},{n}" for n in range(part + 1)))
    write("my: log's/.hidden", "x")
    monkeypatch.chdir(Path("my: log's") if path == "." else Path())
    findings, config = inspect(path)
    assert "a table, comma-separated, in 3 files" in findings
    assert_rows(findings, ("lines", "6"), ("users", "3"), ("items", "3"))
    assert config.data.events == (Path.cwd() if path == "." else Path(path))


@pytest.mark.parametrize("name", [" user-id? ", "user_id: #", "'UID'", 'user "id"', "user id" + "_" * 90 + " " * 90])
def test_a_column_of_an_odd_name_stays_what_it_is(name: str) -> None:
    pq.write_table(pa.table({name: ["u"], "item": ["i"], "time": [1]}), "log.parquet")
    _, config = inspect("log.parquet")
    assert config.data.columns is not None
    assert config.data.columns.user == name


def test_nothing_is_left_in_the_folder() -> None:
    write("log.csv", "user,item,time", "u,i,1")
    before = sorted(Path().iterdir())
    assert CliRunner().invoke(cli, ["data", "inspect", "log.csv"]).exit_code == 0
    assert sorted(Path().iterdir()) == before


def test_a_folder_of_another_source_is_sent_to_its_file() -> None:
    write("logs/reviews.json", *(review(*each) for each in REVIEWS))
    assert "one of its files, logs/reviews.json, is Amazon reviews, 2018 release" in fail("logs")
