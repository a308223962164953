"""Randomly damaged logs: an account of every line, or a DataError, never anything else."""

import ast
import csv
import html
import json
import math
import random
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_runner import COLUMNS, Outcome, Runner, lines, literals, review

from din_train.config import ColumnsConfig
from din_train.config.data import NULL_VALUES
from din_train.errors import DataError
from din_train.logs import lines as lines_module

ALPHABET = [bytes([byte]) for byte in b"\t,\"'\\{}[]:\n\r\0 0159.-+eEnNaAui<&;|^\x7f\x80\xc3\xff"] + [
    "é".encode(),
    b"\xe2\x80\xa8",
    b"::",
    b"NaN",
    b"Infinity",
    b"null",
    b"true",
    b"1e999",
    b"9" * 25,
    b"9" * 400,
    b"[" * 200,
    b'{"asin": {"asin": 1}}',
    b', "asin": "z"',
    b", 'asin': 'z'",
    b"1400000000000",
]
NULLS = set(NULL_VALUES)
DELIMITERS = [pytest.param("\t", id="tsv"), pytest.param(",", id="csv", marks=pytest.mark.slow)]
LOGS, LINES = 10, 1_120  # the same 10,000 lines and more for each reader in fewer logs, which cost more than lines


def mutate(line: bytes, random_: random.Random) -> bytes:
    """A few letters cut out, put in, or both; now and then the end cut off or something said twice."""
    for _ in range(random_.choice((0, 0, 1, 1, 2, 5))):
        start = random_.randrange(len(line) + 1)
        end = min(len(line), start + random_.choice((0, 0, 1, 1, 3, 20, 10_000)))
        line = line[:start] + random_.choice([*ALPHABET, b"", line[end:], line[:start], b"-"]) + line[end:]
    return line


def damaged_logs(good: Sequence[bytes], header: bytes = b"") -> Iterator[bytes]:
    random_ = random.Random(1)  # noqa: S311 - not for secrets
    for _ in range(LOGS):
        yield header + b"\n".join(mutate(random_.choice(good), random_) for _ in range(LINES))


Got = TypeVar("Got")

Row = tuple[Any, ...]

# A line -> the first columns of its event, or None where they cannot be told: an independent, plain reading.
Parse = Callable[[bytes], Row | None]


def read_or_problems(read: Callable[[], Got]) -> Got | tuple[str, ...]:
    try:
        return read()
    except DataError as error:
        return error.problems


def read_all(read: Callable[[bytes], Outcome], logs: Iterator[bytes], parse: Parse) -> None:
    """Every line accounted for, and the kept rows those that a plain parse of the log's lines gives."""
    seen = 0
    for log in logs:
        got = read_or_problems(lambda log=log: read(log))  # type: ignore[misc]
        if isinstance(got, tuple):
            assert not any("\n" in problem for problem in got)
            continue
        report = got.report
        seen += report.lines
        assert report.lines == report.kept + sum(report.rejected.values()) + sum(report.skipped.values())
        assert report.kept == len(got.events)
        assert len(got.rejected) == sum(sum(each.rejected.values()) for each in got.log.reports)
        assert [event[-1] for event in got.events] == list(range(report.kept))
        rows = [row for line in log.split(b"\n") if (row := parse(line)) is not None]
        assert [event[: len(rows[0])] for event in got.events] == rows
    assert seen >= 10_000


GOOD_META = [{"asin": "i", "category": ["A", "B"], "title": "t"}, {"asin": "j", "category": [], "title": "t"}]


def test_reviews(runner: Runner) -> None:
    good = lines(review(), review("v", "j", 7.0, reviewText='It\'s "good"\n\t<b>')).split(b"\n")[:2]
    good.append(b'{"reviewerID": "u", "asin": "i", "x": {"asin": "j"}, "unixReviewTime": 5, "asin": "i"}')
    metadata = lines(*GOOD_META)
    keys = ("reviewerID", "asin", "unixReviewTime")
    read_all(lambda log: runner.amazon(log, metadata, max_bad_share=1), damaged_logs(good), plain_json(keys, 1))


def test_reviews_of_2023(runner: Runner) -> None:
    keys = ("user_id", "parent_asin", "timestamp")
    good = [lines(dict(zip(keys, (user, item, time), strict=True)) | {"asin": "x", "text": "it's \"parent_asin\""})[:-1]
            for user, item, time in (("u", "i", 1_600_000_000_000), ("v", "j", 1_600_000_000_001.0))]  # fmt: skip
    metadata = lines(*({"parent_asin": each["asin"], "categories": ["A"]} for each in GOOD_META))
    read_all(lambda log: runner.amazon(log, metadata, "amazon-2023", max_bad_share=1), damaged_logs(good),
             plain_json(keys, 1000))  # fmt: skip


def plain_json(keys: tuple[str, str, str], ticks: int) -> Parse:
    def parse(line: bytes) -> Row | None:
        pairs = load_pairs(line)
        if pairs is None or any([name for name, _ in pairs].count(key) != 1 for key in keys):
            return None
        user, item, time = (dict(pairs)[key] for key in keys)
        if isinstance(time, bool) or not isinstance(time, (int, float)) or not 0 <= time < 2**63 or time != int(time):
            return None
        if not is_id(user) or not is_id(item) or is_of_another_unit(int(time), ticks):
            return None
        return user, item, int(time)

    return parse


def load_pairs(line: bytes) -> list[tuple[str, Any]] | None:
    """json.loads with every pair, so that a key given twice is seen; None for what is no object."""
    try:
        pairs = json.loads(
            line.decode(),
            object_pairs_hook=lambda pairs: pairs,
            parse_constant=refuse,
            parse_int=lambda text: int(text) if math.isfinite(float(text)) else refuse(text),
            parse_float=lambda text: float(text) if math.isfinite(float(text)) else refuse(text),
        )
        json.dumps(pairs, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return pairs if line.lstrip().startswith(b"{") else None


def is_id(value: object) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value and value not in NULLS


def none_if_null(text: str | None) -> str | None:
    return None if not text or text in NULLS else text


def refuse(constant: str) -> float:
    raise ValueError(constant)


def is_of_another_unit(time: int, ticks: int) -> bool:
    return any(3e8 * other <= time < 5e9 * other for other in (1, 10**3, 10**6, 10**9) if other != ticks)


@pytest.mark.parametrize("release", ["amazon-2014", "amazon-2018", "amazon-2023"])
def test_metadata(runner: Runner, release: str) -> None:
    of_2014 = [{"asin": "i", "categories": [["A"], ["B", "C"]], "title": "it's"}, {"asin": "j", "categories": []}]
    of_2023 = [{"parent_asin": each["asin"], "categories": each["category"], "price": 5} for each in GOOD_META]
    good = {
        "amazon-2014": literals(*of_2014), "amazon-2018": lines(*GOOD_META), "amazon-2023": lines(*of_2023)
    }[release].split(b"\n")[:2]  # fmt: skip
    good.append(good[0].replace(b"asin", b"x", 1)[:-1] + b", 'asin': 'i', 'asin': 'j'}")
    if release != "amazon-2014":
        good[-1] = good[-1].replace(b"'", b'"')
    reviews = lines(review(item="i"), review(item="j"))
    if release == "amazon-2023":
        reviews = lines(*({"user_id": "u", "parent_asin": item, "timestamp": 1_600_000_000_000} for item in "ij"))
    seen = 0
    for log in damaged_logs(good):
        got = read_or_problems(lambda log=log: runner.amazon(reviews, log, release, max_bad_share=1))  # type: ignore[misc]
        if not isinstance(got, Outcome):
            assert not any("\n" in problem for problem in got)
            continue
        report = got.log.reports[1]
        seen += report.lines
        apart = report.notes.get("items no review mentions", 0) + report.notes.get("duplicate asin", 0)
        assert report.lines == report.kept + sum(report.rejected.values()) + apart
        assert report.kept == len(got.items)
        expected: dict[str, str | None] = {}
        for line in log.split(b"\n"):
            item, category = plain_item(line, release) or ("", None)
            if item in ("i", "j"):
                expected[item] = expected.get(item) or category
        assert {item[0]: item[1] for item in got.items} == expected
    assert seen >= 10_000


def plain_item(line: bytes, release: str) -> tuple[str, str | None] | None:
    """Id and category by json.loads or ast.literal_eval."""
    pairs = load_literal_pairs(line) if release == "amazon-2014" else load_pairs(line)
    id_key = "parent_asin" if release == "amazon-2023" else "asin"
    key, other = ("category", "categories") if release == "amazon-2018" else ("categories", "category")
    names = [] if pairs is None else [name for name, _ in pairs]
    if pairs is None or names.count(id_key) != 1 or names.count(key) > 1 or (other in names and key not in names):
        return None
    item, path = dict(pairs)[id_key], dict(pairs).get(key)
    if release == "amazon-2014":
        path = path[-1] if isinstance(path, list) and path else None
    category = ""
    for name in path if isinstance(path, list) and not any(isinstance(each, tuple) for each in path) else []:
        text = html.unescape(name) if isinstance(name, str) else "<"
        if "<" in text or ">" in text:
            break
        category = text.replace("\0", "").encode(errors="replace").decode().strip()
    return (item, none_if_null(category)) if is_id(item) else None


def load_literal_pairs(line: bytes) -> list[tuple[Any, Any]] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(line.decode().strip(), mode="eval").body
            record = ast.literal_eval(tree)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if not isinstance(tree, ast.Dict):
        return None
    names = [ast.literal_eval(key) for key in tree.keys if key is not None]
    return [(name, record[name]) for name in names]


TABLE_ROWS = (b"u\ti\t5\tA", b"v\tj\t1400000000.0\t", b'"w"\t"k"\t"6"\t"B"', b"x\tl\t007\t")


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_text_tables(runner: Runner, monkeypatch: pytest.MonkeyPatch, delimiter: str) -> None:
    first = b"user\titem\ttime\tcategory\nu\ti\t1400000000\tA\n"
    good = [row.replace(b"\t", delimiter.encode()) for row in TABLE_ROWS]
    logs = damaged_logs(good, first.replace(b"\t", delimiter.encode()))
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 40)  # blocks of a few lines, good ones and bad ones

    def parse(line: bytes) -> Row | None:
        fields = split_plainly(line, delimiter, 4)
        event = None if fields is None else build_event(*fields[:3], unit_is_given=False)
        return None if fields is None or event is None else (*event, none_if_null(fields[3]))

    read_all(lambda log: runner.table(log, max_bad_share=1), logs, parse)


TAOBAO = b"1,10,5,pv,1511544070\n007,11,,buy,1511544071\nu v,\xc3\xa9,6,fav,1511544072".split(b"\n")


def test_taobao(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 200)

    def read(log: bytes) -> Outcome:
        return runner.source("taobao", events=log, behaviours=["pv", "buy"], max_bad_share=1)

    def parse(line: bytes) -> Row | None:
        fields = split_plainly(line, ",", 5)
        if fields is None or fields[3] not in ("pv", "buy"):
            return None
        event = build_event(fields[0], fields[1], fields[4])
        return None if event is None else (*event, none_if_null(fields[2]))

    read_all(read, damaged_logs(TAOBAO, TAOBAO[0] + b"\n"), parse)  # the first line tells how many fields there are


@pytest.mark.parametrize(
    "delimiter",
    [
        pytest.param("::", id="dat"),
        pytest.param("\t", id="u.data", marks=pytest.mark.slow),
        pytest.param(",", id="csv"),
    ],
)
def test_movielens_ratings(runner: Runner, monkeypatch: pytest.MonkeyPatch, delimiter: str) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 200)
    good = [row.replace(",", delimiter).encode() for row in ("1,10,4,900000000", "2,11,3.5,900000001", "007,é,5,0")]
    header = b"userId,movieId,rating,timestamp\n" if delimiter == "," else good[0] + b"\n"

    def read(log: bytes) -> Outcome:
        return runner.source("movielens", events=log, items=b"10::t::Action\n", max_bad_share=1)

    def parse(line: bytes) -> Row | None:
        fields = split_plainly(line, delimiter, 4)
        if fields is None or not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", fields[2], re.ASCII):
            return None
        event = build_event(fields[0], fields[1], fields[3]) if 0.5 <= float(fields[2]) <= 5 else None
        return None if event is None else (*event, int(float(fields[2]) >= 4))

    read_all(read, damaged_logs(good, header), parse)


LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "true": 1, "false": 0, "t": 1, "f": 0}


def test_labelled_tables(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 200)
    good = [b"u\ti\t5\t1", b"v\tj\t1400000000\t0", b"x\tl\t007\t1.0"]
    columns = ColumnsConfig(user="user", item="item", timestamp="time", label="label")
    logs = damaged_logs(good, b"user\titem\ttime\tlabel\nu\ti\t1400000000\t1\n")

    def parse(line: bytes) -> Row | None:
        fields = split_plainly(line, "\t", 4)
        if fields is None or fields[3].lower() not in LABELS:
            return None
        event = build_event(fields[0], fields[1], fields[2], unit_is_given=False)
        return None if event is None else (*event, LABELS[fields[3].lower()])

    read_all(lambda log: runner.table(log, columns, max_bad_share=1), logs, parse)


def read_beside(
    runner: Runner, key: str, logs: Iterator[bytes], parse: Callable[[bytes], Row | None], *, merge: bool, **values: Any
) -> None:
    """A file of items or users beside the events: every line accounted for, every row what a plain parse gives."""
    seen = 0
    for log in logs:
        got = read_or_problems(lambda log=log: runner.source(**{**values, key: log, "max_bad_share": 1}))  # type: ignore[misc]
        if not isinstance(got, Outcome):
            assert not any("\n" in problem for problem in got)
            continue
        report = got.log.reports[-1]
        seen += report.lines
        assert report.lines == report.kept + sum(report.rejected.values()) + sum(report.notes.values())
        expected: dict[str, Row] = {}
        for line in log.split(b"\n"):
            row = parse(line)
            if row is None:
                continue
            first = expected.setdefault(row[0], row)
            if merge:
                expected[row[0]] = tuple(one or two for one, two in zip(first, row, strict=True))
        assert (got.items if key == "items" else got.users) == list(expected.values())
    assert seen >= 10_000


@pytest.mark.parametrize("layout", ["csv", "dat", "100k"])
def test_movies(runner: Runner, layout: str) -> None:
    flags = b"|0|1" * 9 + b"|0"
    good, header = {
        "csv": ([b'10,"Heat, The (1995)",Action|Crime', b"11,x::y,(no genres listed)"], b"movieId,title,genres\n"),
        "dat": ([b"10::Heat (1995)::Action|Crime", b"11::Caf\xe9::"], b"0::t::War\n"),
        "100k": ([b"11|x|||u" + flags, b"12|y|||u" + b"|0" * 18 + b"|1"], b"0|t|||u" + flags + b"\n"),
    }[layout]  # fmt: skip

    def parse(line: bytes) -> Row | None:
        if layout == "csv":
            fields = None if line.startswith(b"movieId,") else split_plainly(line, ",", 3)
        else:
            delimiter, width = ("::", 3) if layout == "dat" else ("|", 24)
            fields = split_latin_1(line, delimiter, width)
        if fields is None or not is_id(fields[0]):
            return None
        if layout == "100k":
            flags = [place for place, flag in enumerate(fields[6:]) if flag == "1"]
            return fields[0], GENRES[flags[0]] if flags else None, fields[1] or None
        genres = [genre for genre in fields[2].split("|") if genre not in ("", "(no genres listed)", "unknown", *NULLS)]
        return fields[0], genres[0] if genres else None, fields[1] or None

    values = {"source": "movielens", "events": runner.file(b"1::10::4::900000000\n")}
    read_beside(runner, "items", damaged_logs(good, header), parse, merge=False, **values)


GENRES = [
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]


@pytest.mark.parametrize("delimiter", ["::", "|"])
def test_movielens_users(runner: Runner, delimiter: str) -> None:
    good = [row.replace("::", delimiter).encode() for row in ("1::F::25::7::55117", "007::M::56::1::x", "v::::::::")]

    def parse(line: bytes) -> Row | None:
        fields = split_latin_1(line, delimiter, 5)
        if fields is None or not is_id(fields[0]):
            return None
        age, gender = (fields[2], fields[1]) if delimiter == "::" else (fields[1], fields[2])
        return fields[0], none_if_null(age), none_if_null(gender)

    values = {
        "source": "movielens",
        "events": runner.file(b"1::10::4::900000000\n"),
        "items": runner.file(b"1::t::War\n"),
    }
    logs = damaged_logs(good, good[1] + b"\n")
    read_beside(runner, "users", logs, parse, merge=False, **values, user_fields=["age", "gender"])


def split_latin_1(line: bytes, delimiter: str, width: int) -> list[str] | None:
    """The fields of a line that is UTF-8, or else Latin-1."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    fields = text.removesuffix("\r").split(delimiter)
    return fields if len(fields) == width and "\0" not in text else None


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_side_tables(runner: Runner, monkeypatch: pytest.MonkeyPatch, delimiter: str) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 200)
    good = [row.replace(b"\t", delimiter.encode()) for row in (b"i\tA\t5", b"007\t\t", b'"k"\t"B"\t6', b"i\tB\t7")]

    def parse(line: bytes) -> Row | None:
        fields = split_plainly(line, delimiter, 3)
        return None if fields is None or not is_id(fields[0]) else tuple(map(none_if_null, fields))

    header = b"item\tcategory\tprice\n".replace(b"\t", delimiter.encode())
    values = {"source": "table", "events": runner.file(b"user,item,time\nu,i,5\n"), "columns": COLUMNS.model_dump()}
    logs = (log.partition(b"\n")[2] for log in damaged_logs(good, b"\n"))
    named = (header + log for log in logs)
    read_beside(runner, "items", named, skip(parse, header.strip()), merge=True, **values, item_fields=["price"])


def skip(parse: Callable[[bytes], Row | None], header: bytes) -> Callable[[bytes], Row | None]:
    return lambda line: None if line == header else parse(line)


def test_x1(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 200)
    header = b"label,user_id,item_id,cate_id,item_history,cate_history\n"
    good = [b"1,u,i,c,a^b,x^y", b"0,007,j,,,", b"1,v,\xc3\xa9,c,a,x"]
    seen = 0
    for log in damaged_logs(good, header):
        got = read_or_problems(lambda log=log: runner.ready_made(log, header + good[0] + b"\n", max_bad_share=1))  # type: ignore[misc]
        if isinstance(got[0], str):
            assert not any("\n" in str(problem) for problem in got)
            continue
        rows, raw = got
        report = raw.log.reports[0]
        assert report.lines == report.kept + sum(report.rejected.values())
        seen += report.lines
        expected = [row for line in log.split(b"\n")[1:] if (row := parse_x1(line)) is not None]
        assert [row[:7] for row in rows[:-1]] == [(*row, "train") for row in expected]
        assert rows[-1][:7] == (1, "u", "i", "c", "a^b", "x^y", "test")
        assert [row[7] for row in rows] == list(range(len(rows)))
    assert seen >= 10_000


def parse_x1(line: bytes) -> tuple[int | str | None, ...] | None:
    fields = split_plainly(line, ",", 6)
    if fields is None:
        return None
    label, user, item, category, items, categories = fields
    histories = [split_history(text) for text in (items, categories)]
    if label.lower() not in LABELS or not is_id(user) or not is_id(item) or None in histories:
        return None
    of_items, of_categories = (history or [] for history in histories)
    if not all(of_items) or len(of_items) != len(of_categories or of_items[:1]):
        return None
    joined = ("^".join(of_items), "^".join(of_categories))
    return (LABELS[label.lower()], user, item, none_if_null(category), *joined)


def split_history(text: str) -> list[str] | None:
    """Ids joined by `^`, missing ones empty; None for what is in brackets, of which none is a list in these logs."""
    text = text.strip(" \t")
    if text.startswith("["):
        return [] if text == "[]" else None
    ids = [each.strip(" \t") for each in text.split("^")]
    return [] if none_if_null(text) is None else [none_if_null(each) or "" for each in ids]


def split_plainly(line: bytes, delimiter: str, width: int) -> list[str] | None:
    """The fields of a line, None where it is not text or they are not as many."""
    try:
        text = line.decode().removesuffix("\r")
        quoted = delimiter == "," and '"' in text
        fields = next(csv.reader([text], strict=True)) if quoted else text.split(delimiter)
    except (UnicodeDecodeError, csv.Error, StopIteration):
        return None
    return fields if len(fields) == width and "\0" not in text and "\r" not in text else None


def build_event(user: str, item: str, time: str, *, unit_is_given: bool = True) -> Row | None:
    digits = re.fullmatch(r" *\+?([0-9]+)(\.[0-9]*)? *| *-0+(\.0*)? *", time, re.ASCII)
    if not is_id(user) or not is_id(item) or digits is None or len((digits[1] or "0").lstrip("0")) > 19:
        return None
    seconds = int(digits[1] or 0)
    has_fraction = bool((digits[2] or ".").strip(".0"))
    if has_fraction and not unit_is_given and not 300_000_000 <= seconds < 5_000_000_000:
        return None
    return None if seconds >= 2**63 or is_of_another_unit(seconds, 1) else (user, item, seconds)


def test_lines_of_ten_megabytes(runner: Runner) -> None:
    long = b"9" * 10_000_000
    reviews = (
        lines(review())
        + b'{"reviewerID": "'
        + long
        + b'", "asin": 5}\n'
        + long
        + b"\n"
        + lines(review(text="x" * 10**7))
    )
    got = runner.amazon(reviews, lines(*GOOD_META), max_bad_share=1)
    assert (got.report.lines, got.report.kept) == (4, 2)
    assert all(len(row["text"]) <= 200 for row in got.rejected)
    taobao = b"1,2,3,pv,1511544070\n" + long + b"\n1,2,3,pv," + long + b"\n"
    report = runner.source("taobao", events=taobao, max_bad_share=1).report
    assert report.rejected == {"wrong number of fields": 1, "timestamp too large": 1}
    movies = b"1::t::War\n2::" + long + b"::War\n" + long + b"\n"
    ratings = b"1::1::4::900000000\n1::1::" + long + b"::900000000\n"
    got = runner.source("movielens", events=ratings, items=movies, max_bad_share=1)
    assert got.report.rejected == {"rating not a number": 1}
    assert [len(item[2]) for item in got.items] == [1, len(long)]
    header = b"label,user_id,item_id,cate_id,item_history,cate_history\n"
    history = b"^".join([b"1"] * 3_000_000)
    rows, raw = runner.ready_made(
        header + b"1,u,i,c," + history + b"," + history + b"\n" + long + b"\n", header + b"1,u,i,c,,\n"
    )
    assert (len(rows), raw.log.reports[0].rejected) == (2, {"wrong number of fields": 1})
    table = b"user,item,time,category\nu,i,5,A\nu,i,6," + long + b'\nu,i,7,"' + long + b'"\n'
    report = runner.table(table).report
    assert (report.kept, report.rejected) == (2, {"broken quotes": 1})  # Python's csv takes 128 KiB between quotes


def test_parquet_cut_anywhere(runner: Runner) -> None:
    path = runner.folder / "log"
    columns = {"user": ["u", "v"], "item": ["i", "j"], "time": [5, 6], "category": ["A", "B"]}
    pq.write_table(pa.table(columns), path)
    whole = path.read_bytes()
    for length in range(1, len(whole), 7):
        with pytest.raises(DataError):
            runner.table(whole[:length])
    assert runner.table(whole, COLUMNS).report.kept == 2
