"""Randomly damaged logs: an account of every line, or a DataError, never anything else."""

import csv
import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_runner import COLUMNS, Outcome, Runner, lines, literals, review

from din_train.config import ColumnsConfig, DataConfig
from din_train.errors import DataError
from din_train.logs import lines as lines_module
from din_train.logs import read_x1
from din_train.logs.lines import split_lines
from din_train.logs.table_fast import parse_clean_block
from din_train.logs.table_rows import Layout, parse_row
from din_train.logs.time_unit import TimeUnit

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
LOGS, LINES = 25, 420  # 10,500 lines a reader


def mutate(line: bytes, random_: random.Random) -> bytes:
    """A few letters cut out, put in, or both; now and then the end cut off or something said twice."""
    for _ in range(random_.choice((0, 0, 1, 1, 2, 5))):
        start = random_.randrange(len(line) + 1)
        end = min(len(line), start + random_.choice((0, 0, 1, 1, 3, 20, 10_000)))
        line = line[:start] + random_.choice([*ALPHABET, b"", line[end:], line[:start], b"-"]) + line[end:]
    return line


def damaged_logs(good: list[bytes], header: bytes = b"") -> Iterator[bytes]:
    random_ = random.Random(1)  # noqa: S311 - not for secrets
    for _ in range(LOGS):
        yield header + b"\n".join(mutate(random_.choice(good), random_) for _ in range(LINES))


Got = TypeVar("Got")

# A line -> user, item, time, or None where they cannot be told: an independent, plain reading.
Parse = Callable[[bytes], tuple[str, str, int] | None]


def read_or_problems(read: Callable[[], Got]) -> Got | tuple[str, ...]:
    try:
        return read()
    except DataError as error:
        return error.problems


def read_all(read: Callable[[bytes], Outcome], logs: Iterator[bytes], parse: Parse | None = None) -> None:
    """Every line accounted for, and every kept row what a plain parse of some line of the log gives."""
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
        if parse is not None:
            rows = [row for line in log.split(b"\n") if (row := parse(line)) is not None]
            assert [event[:3] for event in got.events] == rows
    assert seen >= 10_000


GOOD_META = [{"asin": "i", "category": ["A", "B"], "title": "t"}, {"asin": "j", "category": [], "title": "t"}]


def test_reviews(runner: Runner) -> None:
    good = lines(review(), review("v", "j", 7.0, reviewText='It\'s "good"\n\t<b>')).split(b"\n")[:2]
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
    """json.loads with every pair, so that a key given twice is seen."""

    def parse(line: bytes) -> tuple[str, str, int] | None:
        try:
            pairs = json.loads(line.decode(), object_pairs_hook=lambda pairs: pairs, parse_constant=refuse)
            names = [name for name, _ in pairs] if line.lstrip().startswith(b"{") else []
            if any(names.count(key) != 1 for key in keys):
                return None
            user, item, time = (dict(pairs)[key] for key in keys)
            json.dumps(pairs, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return None
        texts = all(isinstance(each, str) and each and "\0" not in each for each in (user, item))
        if isinstance(time, bool) or not isinstance(time, (int, float)) or not 0 <= time < 2**63 or time != int(time):
            return None
        if not texts or is_of_another_unit(int(time), ticks):
            return None
        return user, item, int(time)

    return parse


def refuse(constant: str) -> None:
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
    reviews = lines(review(item="i"), review(item="j"))
    if release == "amazon-2023":
        reviews = lines(*({"user_id": "u", "parent_asin": item, "timestamp": 1_600_000_000_000} for item in "ij"))
    seen = 0

    def read(log: bytes) -> Outcome:
        got = runner.amazon(reviews, log, release, max_bad_share=1)
        report = got.log.reports[1]
        apart = report.notes.get("items no review mentions", 0) + report.notes.get("duplicate asin", 0)
        assert report.lines == report.kept + sum(report.rejected.values()) + apart
        assert report.kept == len(got.items)
        assert {item[0] for item in got.items} <= {"i", "j"}
        return got

    for log in damaged_logs(good):
        got = read_or_problems(lambda log=log: read(log))  # type: ignore[misc]
        if isinstance(got, Outcome):
            seen += got.log.reports[1].lines
    assert seen >= 10_000


TABLE_ROWS = (b"u\ti\t5\tA", b"v\tj\t1400000000.0\t", b'"w"\t"k"\t"6"\t"B"', b"x\tl\t007\t")


@pytest.mark.parametrize("delimiter", [b"\t", b","], ids=["tsv", "csv"])
def test_text_tables(runner: Runner, monkeypatch: pytest.MonkeyPatch, delimiter: bytes) -> None:
    good = [row.replace(b"\t", delimiter) for row in TABLE_ROWS]
    header = b"user\titem\ttime\tcategory\n".replace(b"\t", delimiter)
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 40)  # blocks of a few lines, good ones and bad ones
    read_all(lambda log: runner.table(log, max_bad_share=1), damaged_logs(good, header))


TAOBAO = b"1,10,5,pv,1511544070\n007,11,,buy,1511544071\nu v,\xc3\xa9,6,fav,1511544072".split(b"\n")


def test_taobao(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 200)

    def read(log: bytes) -> Outcome:
        values = {"source": "taobao", "events": runner.file(log), "prepared": runner.folder, "max_bad_share": 1}
        return runner.run(DataConfig.model_validate({**values, "behaviours": ["pv", "buy"]}))

    def parse(line: bytes) -> tuple[str, str, int] | None:
        fields = split_plainly(line, ",", 5)
        if fields is None or fields[3] not in ("pv", "buy"):
            return None
        return build_event(fields[0], fields[1], fields[4])

    read_all(read, damaged_logs(TAOBAO), parse)


@pytest.mark.parametrize("delimiter", ["::", "\t", ","], ids=["dat", "u.data", "csv"])
def test_movielens_ratings(runner: Runner, monkeypatch: pytest.MonkeyPatch, delimiter: str) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 200)
    good = [row.replace(",", delimiter).encode() for row in ("1,10,4,900000000", "2,11,3.5,900000001", "007,é,5,0")]
    header = b"userId,movieId,rating,timestamp\n" if delimiter == "," else good[0] + b"\n"
    movies = runner.file(b"10::t::Action\n")

    def read(log: bytes) -> Outcome:
        values = {"source": "movielens", "events": runner.file(log), "items": movies, "prepared": runner.folder}
        return runner.run(DataConfig.model_validate({**values, "max_bad_share": 1}))

    def parse(line: bytes) -> tuple[str, str, int] | None:
        fields = split_plainly(line, delimiter, 4)
        if fields is None or not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", fields[2], re.ASCII):
            return None
        return build_event(fields[0], fields[1], fields[3]) if 0.5 <= float(fields[2]) <= 5 else None

    read_all(read, damaged_logs(good, header), parse)


def test_labelled_tables(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 200)
    good = [b"u\ti\t5\t1", b"v\tj\t1400000000\t0", b"x\tl\t007\t1.0"]
    columns = ColumnsConfig(user="user", item="item", timestamp="time", label="label")
    logs = damaged_logs(good, b"user\titem\ttime\tlabel\nu\ti\t1400000000\t1\n")

    def parse(line: bytes) -> tuple[str, str, int] | None:
        fields = split_plainly(line, "\t", 4)
        if fields is None or fields[3] not in ("0", "1", "0.0", "1.0"):
            return None
        return build_event(fields[0], fields[1], fields[2])

    read_all(lambda log: runner.table(log, columns, max_bad_share=1), logs, parse)


def test_movies(runner: Runner) -> None:
    good = [b"10::Heat (1995)::Action|Crime", b'10,"Heat, The (1995)",Action', b"11|x|||u" + b"|0|1" * 9 + b"|0"]
    ratings = runner.file(b"1::10::4::900000000\n")
    seen = 0
    for log in damaged_logs(good):
        values = {"source": "movielens", "events": ratings, "items": runner.file(log), "prepared": runner.folder}
        got = read_or_problems(
            lambda values=values: runner.run(DataConfig.model_validate({**values, "max_bad_share": 1}))
        )  # type: ignore[misc]
        if isinstance(got, Outcome):
            report = got.log.reports[1]
            assert report.lines == report.kept + sum(report.rejected.values())
            assert report.kept == len(got.items) == len({item[0] for item in got.items})
            seen += report.lines
    assert seen >= 10_000


def test_x1(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 200)
    header = b"label,user_id,item_id,cate_id,item_history,cate_history\n"
    good = [b"1,u,i,c,a^b,x^y", b"0,007,j,,,", b"1,v,\xc3\xa9,c,a,x"]
    seen = 0
    for log in damaged_logs(good, header):
        files = {"train": runner.file(log), "test": runner.file(header + good[0] + b"\n")}
        values = {"source": "x1", "prepared": runner.folder, "max_bad_share": 1, **files}
        data = DataConfig.model_validate(values)
        raw = read_or_problems(
            lambda data=data, files=files: read_x1(data, files["train"], files["test"], runner.folder, lambda _: None)
        )
        if isinstance(raw, tuple):
            assert not any("\n" in problem for problem in raw)
            continue
        report = raw.reports[0]
        assert report.lines == report.kept + sum(report.rejected.values())
        seen += report.lines
        rows = [tuple(row.values())[:6] for row in pq.read_table(raw.rows).to_pylist()][:-1]
        assert rows == [row for line in log.split(b"\n")[1:] if (row := parse_x1(line)) is not None]
    assert seen >= 10_000


def parse_x1(line: bytes) -> tuple[str | None, ...] | None:
    fields = split_plainly(line, ",", 6)
    if fields is None:
        return None
    label, user, item, category, items, categories = fields
    good = label in ("0", "1") and user and item and (not items or all(items.split("^")))
    good = good and items.count("^") == categories.count("^") and (items or not categories)
    return (label, user, item, category or None, items, categories) if good else None


def split_plainly(line: bytes, delimiter: str, width: int) -> list[str] | None:
    """The fields of a line, None where it is not text or they are not as many."""
    try:
        text = line.decode().removesuffix("\r")
        quoted = delimiter == "," and '"' in text
        fields = next(csv.reader([text], strict=True)) if quoted else text.split(delimiter)
    except (UnicodeDecodeError, csv.Error, StopIteration):
        return None
    return fields if len(fields) == width and "\0" not in text and "\r" not in text else None


def build_event(user: str, item: str, time: str) -> tuple[str, str, int] | None:
    digits = re.fullmatch(r" *\+?([0-9]+)(\.0*)? *| *-0+(\.0*)? *", time, re.ASCII)
    if not user or not item or digits is None or len((digits[1] or "0").lstrip("0")) > 19:
        return None
    seconds = int(digits[1] or 0)
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
    values = {"source": "taobao", "events": runner.file(taobao), "prepared": runner.folder, "max_bad_share": 1}
    report = runner.run(DataConfig.model_validate(values)).report
    assert report.rejected == {"wrong number of fields": 1, "timestamp too large": 1}


@pytest.mark.parametrize("delimiter", ["\t", ","], ids=["tsv", "csv"])
def test_the_fast_path_reads_what_the_slow_path_reads(delimiter: Literal["\t", ","]) -> None:
    layout = Layout(delimiter, width=4, user=0, item=1, timestamp=2, texts={"category": 3})
    good = [row.replace(b"\t", delimiter.encode()) for row in TABLE_ROWS]
    random_, compared = random.Random(2), 0  # noqa: S311 - not for secrets
    for _ in range(5000):
        block = mutate(random_.choice(good), random_) + b"\n" + good[0] + random_.choice((b"", b"\n", b"\r\n"))
        clean = parse_clean_block(block, layout, TimeUnit())
        if clean is not None:
            compared += 1
            rows = list(zip(*(column.to_pylist() for column in clean[0]), strict=True))
            assert rows == [parse_row(line, layout, TimeUnit()) for line in split_lines(block)], block
    assert compared > 1000


def test_parquet_cut_anywhere(runner: Runner) -> None:
    path = runner.folder / "log"
    columns = {"user": ["u", "v"], "item": ["i", "j"], "time": [5, 6], "category": ["A", "B"]}
    pq.write_table(pa.table(columns), path)
    whole = path.read_bytes()
    for length in range(1, len(whole), 7):
        with pytest.raises(DataError):
            runner.table(whole[:length])
    assert runner.table(whole, COLUMNS).report.kept == 2
