"""`din-train data inspect`: every source is recognised, counted, and given a config that loads."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from din_train.cli import cli
from din_train.config import Config, load_config

START = 1_400_000_000  # 2014-05-13


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, *lines: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    data = "".join(f"{line}\n" for line in lines).encode()
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def inspect(path: str) -> tuple[str, Config]:
    """The comments, without their marks, and the config that stdout is."""
    result = CliRunner().invoke(cli, ["data", "inspect", path])
    assert (result.exit_code, result.stderr) == (0, "")
    assert isinstance(yaml.safe_load(result.stdout), dict)
    Path("din-train.yaml").write_bytes(result.stdout_bytes)
    findings = result.stdout.partition("\n\n")[0].splitlines()
    assert all(line.startswith("#") for line in findings)
    return "\n".join(line[2:] for line in findings), load_config(Path("din-train.yaml"))


def edits() -> list[str]:
    """The keys that the config marks EDIT."""
    lines = Path("din-train.yaml").read_text(encoding="utf-8").partition("\nname:")[2].splitlines()
    return [line.partition(":")[0].strip() for line in lines if "# EDIT" in line]


def fail(path: str) -> str:
    """The one line that it ends with."""
    result = CliRunner().invoke(cli, ["data", "inspect", path])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def assert_rows(findings: str, *rows: tuple[str, str]) -> None:
    """That the findings have these rows, whatever their alignment."""
    found = [" ".join(line.split()) for line in findings.splitlines()]
    assert [row for row in rows if " ".join(row) not in found] == [], findings


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
    assert config.data.items == Path("logs", metadata)
    assert edits() == []


def test_amazon_reviews_of_2023_without_their_metadata() -> None:
    rows = [{"user_id": u, "parent_asin": i, "asin": i, "timestamp": (START + d) * 1000} for u, i, d in REVIEWS]
    write("Toys.jsonl.gz", *map(json.dumps, rows))
    write("meta_Toys.jsonl.gz", *(review(*each) for each in REVIEWS))  # not metadata at all
    findings, config = inspect("Toys.jsonl.gz")
    assert_rows(findings, ("lines", "3"), ("users", "2"), ("time unit", "milliseconds"))
    assert "EDIT data.items: no such file was found beside Toys.jsonl.gz" in findings
    assert (config.data.source, config.data.reviews) == ("amazon-2023", Path("Toys.jsonl.gz"))
    assert edits() == ["items"]


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
    assert (config.data.source, config.data.items) == (source, Path("meta_Toys.json"))
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
    assert edits() == ([] if with_movies else ["items"])
    if with_movies:
        assert_rows(findings, ("categories", "1"))
        assert config.data.items == Path(movies)
        of_movies, config = inspect(movies)
        assert "The ratings file is the one to inspect" in of_movies
        assert_rows(of_movies, ("lines", "1"))
        assert config.data.items == Path(movies)
        assert edits() == ["events"]


def test_movielens_users_are_told_apart() -> None:
    write("users.dat", "1::F::1::10::48067", "2::M::56::16::70072")
    findings, _ = inspect("users.dat")
    assert "MovieLens users, not the ratings" in findings
    assert edits() == ["events", "items"]


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
        *(("lines", "4"), ("kept", "3"), ("rejected", "label like a rating: 1"), ("label 1", "2 in my_train.csv")),
        *(("users", "2"), ("items", "2"), ("history length", "min 0, median 1, p90 1.8, p99 2, max 2")),
    )
    assert (config.data.protocol, config.data.train, edits()) == ("presampled", Path("my_train.csv"), ["test"])
    write("my_test.csv", *X1)
    findings, config = inspect("my_test.csv")
    assert_rows(findings, ("label 1", "2 in my_train.csv"), ("label 0", "1 in my_test.csv"))
    assert (config.data.train, config.data.test) == (Path("my_train.csv"), Path("my_test.csv"))
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
    write("log.csv", "who,item,when,event_time,label", *(f"u{n},i,x,2014-05-13 10:00,{n}" for n in range(9)))
    findings, config = inspect("log.csv")
    assert "columns: who, item, when, event_time, label" in findings
    assert "'event_time' is not taken for the timestamp: it has '2014-05-13 10:00', expected whole numbers" in findings
    assert "'label' is not taken for the label" in findings
    assert_rows(findings, ("lines", "9"))
    assert config.data.columns is not None
    assert (config.data.columns.item, config.data.columns.label) == ("item", None)
    assert edits() == ["user", "timestamp"]


def times(rows: int) -> list[int]:
    return [START + 60 * n for n in range(rows)]


def write_columns(name: str, **columns: Sequence[object]) -> None:
    """A CSV of users, items and times, and these columns."""
    count = len(next(iter(columns.values())))
    every = {"user": [f"u{n % 5}" for n in range(count)], "item": [f"i{n}" for n in range(count)], "time": times(count)}
    rows = zip(*{**every, **columns}.values(), strict=True)
    write(name, ",".join({**every, **columns}), *(",".join(map(str, row)) for row in rows))


def prepare() -> str:
    """What `prepare` says on stderr."""
    result = CliRunner().invoke(cli, ["prepare", "--config", "din-train.yaml"])
    assert result.exit_code == 0, result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("columns", "label", "share"),
    [
        ({"nonclk": [1, 1, 0, 1], "clk": [0, 0, 1, 0]}, "clk", "25.0%"),
        ({"converted": [0, 1, 1, 0], "clicked_ad": [0, 1, 1, 1]}, "converted", "50.0%"),
        ({"is_mobile": [0, 1, 1, 0], "ad_click_flag": [1, 1, 1, 0]}, "ad_click_flag", "75.0%"),
        ({"a: #": [0, 1, 1, 1], "b": [1, 0, 0, 0]}, "b", "25.0%"),  # opposites: the rarer is the click
        ({"b": [1.0, 0.0, 0.0, 0.0], "a: #": [0, 1, 1, 1]}, "b", "25.0%"),
        ({"isread": [1, 0, 0, 0], "rating": [5, 3, 4, 1]}, "isread", "25.0%"),
        ({"label": ["True", "False", "True", "True"]}, "label", "75.0%"),
    ],
)
def test_a_column_of_0_and_1_is_the_label_if_its_name_or_its_opposite_tells(
    columns: dict[str, list[Any]], label: str, share: str
) -> None:
    write_columns("log.csv", **{name: values * 5 for name, values in columns.items()})
    _, config = inspect("log.csv")
    assert config.data.columns is not None
    assert config.data.columns.label == label
    text = Path("din-train.yaml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("    label:"))
    assert line.endswith(f"# {share} of 20 rows are {'true' if 'True' in columns[label] else '1'}")
    assert "negatives:" not in text


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"is_mobile": [0, 1, 1, 1]}, "column 'is_mobile' holds 0 and 1 (75.0% are 1)"),
        ({"unclicked": [0, 1, 1, 1]}, "column 'unclicked' holds 0 and 1 (75.0% are 1)"),
        ({"click": [1, -1, 1, 1]}, "column 'click' holds -1 and 1 (75.0% are 1)"),
        ({"rating": [5, 3, 4, 1]}, "column 'rating' holds 1 to 5 (50.0% are 4 or more)"),
        ({"Book-Rating": [10, 0, 8, ""]}, "column 'Book-Rating' holds 0 to 10 (66.7% are 8 or more), none in 5"),
        ({"x": [1, 2, 3, 4, 5]}, "column 'x' holds 1 to 5 (40.0% are 4 or more)"),
        ({"watch_ratio": [0.5, 1.25, 0, 3]}, "column 'watch_ratio' holds 0 to 3 (median 0.875)"),
        ({"event": ["view", "view", "addtocart", "view"]}, "column 'event' holds view 15, addtocart 5"),
        ({"what": ["Page View", "page view", "add_to_cart", "x"]}, "column 'what' holds Page View 5, page view 5, "),
        ({"behavior_type": [1, 1, 4, 1]}, "column 'behavior_type' holds 1 15, 4 5"),
    ],
)
def test_what_may_tell_clicks_is_never_left_out_without_a_word(columns: dict[str, list[Any]], said: str) -> None:
    write_columns("log.csv", **{name: values * 5 for name, values in columns.items()})
    findings, config = inspect("log.csv")
    assert config.data.columns is not None
    assert config.data.columns.label is None
    rows = 5 * len(next(iter(columns.values())))
    line = next(line for line in findings.splitlines() if said in line)
    assert f"of {rows} rows, and is not used: all rows are taken as clicks; " in line
    lines = [line for line in prepare().splitlines() if "all rows are taken as clicks" in line]
    assert len(lines) == 1
    assert said.removeprefix("column ") in lines[0]
    assert lines[0].startswith("log.csv: ")


@pytest.mark.parametrize(
    "columns",
    [
        {"device": ["tv", "phone", "tv", ""], "price": [3, 5, 9, 12]},
        {"hour": [0, 1, 2, 23], "genre": ["Watches", "Books", "Play", "Toys"]},
        {"event": ["view"] * 4},
    ],
)
def test_other_columns_are_not_remarked_on(columns: dict[str, list[Any]]) -> None:
    write_columns("log.csv", **{name: values * 5 for name, values in columns.items()})
    findings, _ = inspect("log.csv")
    assert "not used" not in findings
    assert "taken as clicks" not in prepare()


def test_columns_that_the_config_names_are_used() -> None:
    write_columns("log.csv", kind=["view", "buy"] * 10, rating=[1, 5] * 10)
    inspect("log.csv")
    fields = "  context_fields: [kind]\n  prepared"
    Path("din-train.yaml").write_text(Path("din-train.yaml").read_text().replace("  prepared", fields))
    assert "column 'rating' holds 1 to 5" in (said := prepare())
    assert "'kind'" not in said


@pytest.mark.parametrize(("label", "request_column"), [("clk", "req_id"), ("plays", None)])
def test_a_column_of_request_ids_is_named_in_a_log_of_impressions(label: str, request_column: str | None) -> None:
    write_columns("log.csv", **{label: [0, 1, 0, 0], "req_id": ["a", "a", "b", "b"]})
    _, config = inspect("log.csv")
    assert config.data.columns is not None
    assert config.data.columns.request == request_column


def test_a_label_that_is_always_1_is_no_label() -> None:
    write_columns("log.csv", label=[1] * 20)
    findings, config = inspect("log.csv")
    assert "column 'label' is not taken for the label: it holds nothing but 1" in findings
    assert config.data.columns is not None
    assert config.data.columns.label is None


def test_only_the_first_rows_are_looked_at_and_that_is_said() -> None:
    write_columns("log.csv", rating=[1, 5] * 6_000)
    findings, _ = inspect("log.csv")
    assert "holds 1 to 5 (50.0% are 4 or more), of the first 10,000 rows, and is not used" in findings


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        ([f"A{n:013}X,{n},5,{START + n}" for n in range(9)], "column_1,column_2,column_3,timestamp"),
        ([f"A{n:013}X,B{n},{1 + n % 5}.0,{START + n}" for n in range(19)], "user_id,item_id,rating,timestamp"),
        ([f"u{n}\t2009-05-04T23:08:57Z\tx\ty" for n in range(9)], "column_1,timestamp,column_3,column_4 between tabs"),
    ],
)
def test_a_first_line_like_the_others_is_no_header(rows: list[str], header: str) -> None:
    write("log.csv", *rows)
    line = fail("log.csv")
    assert "log.csv: no header (its first line looks like the others: " in line
    assert line.endswith(f"put one first, such as {header}\n")


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
    ("lists", "form"),
    [
        (["1^2^3", "4^5"], "between '^'"),
        (["1 ^ 2", "3 ^ 4"], "between '^'"),
        (["B01 B02", "B03 B04"], "between blanks"),
        (['"1,2,3"', '"4,5"'], "between ','"),
        (['"[1, 2]"', "[]"], "between commas in brackets, as JSON or Python writes a list"),
        (["a1|a2", "a3|a4"], "between '|'"),
    ],
)
def test_columns_of_lists_are_said(lists: list[str], form: str) -> None:
    write_columns("log.csv", past=lists * 5, hist_1=[0] * 10, hist_2=[0] * 10, hist_3=[7] * 10)
    findings, _ = inspect("log.csv")
    assert f"histories or other lists are not read: 'past' ({form}), 'hist' (3 numbered columns)" in findings
    assert "is of numbers" not in findings


def test_what_is_between_the_values_of_ready_made_histories() -> None:
    write("my_train.csv", X1[0], "1,u1,a1,c1,b1|b2|b3,c1|c1|c1", "0,u1,b2,c1,b1|b2|b3,c1|c1|c1")
    findings, _ = inspect("my_train.csv")
    assert "item_history holds lists between '|', but each is one value as the config stands; add " in findings
    assert "data.history_separator: '|'" in findings
    write("my_train.csv", X1[0], "1,u1,a1,c1,b1 b2 b3,c1 c1 c1", "0,u1,b2,c1,b1 b2 b3,c1 c1 c1")
    assert "data.history_separator: ' '" in inspect("my_train.csv")[0]
    write("my_train.csv", X1[0], "1,u1,a1,c1,b1^b2^b3,c1^c1^c1", "0,u1,b2,c1,b1,c1")
    assert "but each" not in inspect("my_train.csv")[0]
    write("my_train.csv", X1[0], '1,u1,a1,c1,"[1, 2]","[3, 3]"', '0,u1,b2,c1,"[1, 2]","[3, 3]"')
    assert "but each" not in inspect("my_train.csv")[0]


def test_numbers_that_cannot_be_read_are_counted() -> None:
    write_columns("log.csv", price=["$5", "7", '"1,299.00"', "3"] * 5, share=["NA", *[0.5] * 19], title=["x 1"] * 20)
    findings, _ = inspect("log.csv")
    assert "column 'price' is of numbers, but in 10 of 20 rows it has none that can be read, such as '$5'" in findings
    assert "column 'share' is of numbers, but in 1 of 20 rows it has none that can be read, such as 'NA'" in findings
    assert "'title'" not in findings


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


def test_day_numbers_are_no_times() -> None:
    write("log.csv", "user,item,date", "u,i,20231115", "u,j,20231122")
    findings, _ = inspect("log.csv")
    assert "days as numbers (YYYYMMDD), which no date can be compared with" in findings


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
    findings, config = inspect("log.csv")
    assert "column 'when' is taken for the timestamp, as its values are unix times" in findings
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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "is empty"),
        ("blank.csv", b"\n \n", "nothing in it but blank lines"),
        ("junk", bytes(range(256)) * 9, "of no known format"),
        ("noise.parquet", b"PAR1" + bytes(99), "cannot be read as Parquet"),
        (
            "prose.txt",
            b"Dear all, thank you\nfor, well, your, letter\nYours\n",
            "of no known format: its first line is 'Dear",
        ),
        ("numbers.csv", b"1,2,3\n4,5,6\n", "no header (its first line looks like the others: 1, 2, 3)"),
        ("other.json", b'{"a": 1, "b": 2}\n', "objects with the keys a, b"),
        ("broken.json", b"{\n{\n", "lines that begin with {, but are no objects"),
        ("header.csv", b"user,item,time\n", "no event in its 0 lines"),
        ("semi.csv", b"user;item;time\nu;i;5\n", "its columns stand between ';' (user;item;time), which is not read"),
        ("log.csv.xz", b"\xfd7zXZ\0\0\0", "packed with xz"),
        ("log.zip", b"PK\x03\x04abc", "packed with zip"),
        ("cut.csv.gz", gzip.compress(b"user,item,time\n" * 99)[:-12], "ends early"),
        ("wide.csv", "user,item,time\n".encode("utf-16"), "of no known format"),
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


def test_a_folder_of_another_source_is_sent_to_its_file() -> None:
    write("logs/reviews.json", *(review(*each) for each in REVIEWS))
    assert "its first file, logs/reviews.json, is Amazon reviews, 2018 release" in fail("logs")


def test_nothing_is_left_in_the_folder() -> None:
    write("log.csv", "user,item,time", "u,i,1")
    before = sorted(Path().iterdir())
    assert CliRunner().invoke(cli, ["data", "inspect", "log.csv"]).exit_code == 0
    assert sorted(Path().iterdir()) == before
