"""Randomly damaged logs: an account of every line, or a DataError, never anything else."""

import random
from collections.abc import Callable, Iterator
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_runner import COLUMNS, Outcome, Runner, lines, literals, review

from din_train.errors import DataError
from din_train.logs import lines as lines_module
from din_train.logs.lines import split_lines
from din_train.logs.table_fast import parse_clean_block
from din_train.logs.table_rows import Layout, parse_row
from din_train.logs.time_unit import TimeUnit

ALPHABET = [bytes([byte]) for byte in b"\t,\"'\\{}[]:\n\r\0 0159.-+eEnNaAui<&;\x7f\x80\xc3\xff"] + [
    "é".encode(),
    b"\xe2\x80\xa8",
]


def mutate(line: bytes, random_: random.Random) -> bytes:
    for _ in range(random_.choice((0, 1, 1, 2, 5))):
        start = random_.randrange(len(line) + 1)
        end = min(len(line), start + random_.choice((0, 0, 1, 1, 3, 20)))
        line = line[:start] + random_.choice([*ALPHABET, b"", line[end:], b"-", b"9" * 25]) + line[end:]
    return line


def damaged_logs(good: list[bytes], header: bytes = b"") -> Iterator[bytes]:
    random_ = random.Random(1)  # noqa: S311 - not for secrets
    for _ in range(100):
        yield header + b"\n".join(mutate(random_.choice(good), random_) for _ in range(20))


def read_or_problems(read: Callable[[], Outcome]) -> Outcome | tuple[str, ...]:
    try:
        return read()
    except DataError as error:
        return error.problems


def read_all(read: Callable[[bytes], Outcome], logs: Iterator[bytes]) -> list[Outcome]:
    outcomes = []
    for log in logs:
        got = read_or_problems(lambda log=log: read(log))  # type: ignore[misc]
        if isinstance(got, tuple):
            assert not any("\n" in problem for problem in got)
            continue
        report = got.report
        assert report.lines == report.kept + sum(report.rejected.values())
        assert report.kept == len(got.events)
        assert len(got.rejected) == sum(sum(each.rejected.values()) for each in got.log.reports)
        assert [event[-1] for event in got.events] == list(range(report.kept))
        outcomes.append(got)
    assert len(outcomes) > 30
    return outcomes


GOOD_META = [{"asin": "i", "category": ["A", "B"], "title": "t"}, {"asin": "j", "category": [], "title": "t"}]


def test_reviews(runner: Runner) -> None:
    good = lines(review(), review("v", "j", 7.0, reviewText='It\'s "good"\n\t<b>')).split(b"\n")
    metadata = lines(*GOOD_META)
    read_all(lambda log: runner.amazon(log, metadata, max_bad_share=1), damaged_logs(good))


@pytest.mark.parametrize("release", ["amazon-2014", "amazon-2018"])
def test_metadata(runner: Runner, release: str) -> None:
    of_2014 = [{"asin": "i", "categories": [["A"], ["B", "C"]], "title": "it's"}, {"asin": "j", "categories": []}]
    good = (literals(*of_2014) if release == "amazon-2014" else lines(*GOOD_META)).split(b"\n")
    reviews = lines(review(item="i"), review(item="j"))

    def read(log: bytes) -> Outcome:
        got = runner.amazon(reviews, log, release, max_bad_share=1)
        report = got.log.reports[1]
        apart = report.notes.get("items no review mentions", 0) + report.notes.get("duplicate asin", 0)
        assert report.lines == report.kept + sum(report.rejected.values()) + apart
        assert report.kept == len(got.items)
        return got

    read_all(read, damaged_logs(good))


TABLE_ROWS = (b"u\ti\t5\tA", b"v\tj\t1400000000.0\t", b'"w"\t"k"\t"6"\t"B"', b"x\tl\t007\t")


@pytest.mark.parametrize("delimiter", [b"\t", b","], ids=["tsv", "csv"])
def test_text_tables(runner: Runner, monkeypatch: pytest.MonkeyPatch, delimiter: bytes) -> None:
    good = [row.replace(b"\t", delimiter) for row in TABLE_ROWS]
    header = b"user\titem\ttime\tcategory\n".replace(b"\t", delimiter)
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 40)  # blocks of a few lines, good ones and bad ones
    read_all(lambda log: runner.table(log, max_bad_share=1), damaged_logs(good, header))


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
