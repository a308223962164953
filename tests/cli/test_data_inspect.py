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
    assert f"{4 + len(header)}: rating not from 0.5 to 5: 2{between}".replace("\t", "?") in findings
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
        *(("lines", "4"), ("kept", "3"), ("rejected", "label not 0 or 1: 1"), ("label 1", "2 in my_train.csv")),
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


def test_too_many_bad_lines_are_shown_and_marked() -> None:
    bad = [f"u{n}\x1b[31m: #\x85\u2028- x,\r,i" for n in range(7)]
    write("log.csv", "user,item,time", "u,i,5", *bad, "u,i,12", "u,j,7")
    findings, _ = inspect("log.csv")
    shown = findings.partition("First bad lines:\n")[2].splitlines()[:6]
    assert shown[0] == "  line 3: carriage return inside the line: u0?[31m: #??- x,?,i"
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
        ("numbers.csv", b"1,2,3\n4,5,6\n", "its first line holds numbers (1, 2, 3)"),
        ("other.json", b'{"a": 1, "b": 2}\n', "objects with the keys a, b"),
        ("broken.json", b"{\n{\n", "lines that begin with {, but are no objects"),
        ("header.csv", b"user,item,time\n", "no event in its 0 lines"),
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
