"""Which reviews become events, and why the others do not."""

import gzip
import json
import tracemalloc

import numpy as np
import pytest
from log_runner import Runner, lines, review

from din_train.errors import DataError
from din_train.logs.amazon_reviews import KEYS
from din_train.logs.amazon_reviews import parse_review as parse
from din_train.logs.rejects import BadLine
from din_train.logs.time_unit import TimeUnit

META = lines({"asin": "i", "category": ["A"]})


def parse_review(line: bytes) -> tuple[str, str, int]:
    return parse(line, KEYS["amazon-2018"], TimeUnit("seconds"))


def test_events_are_numbered_in_the_order_of_the_log(runner: Runner) -> None:
    reviews = lines(review("b", "i", 9), review("a", "j", 3), "oops", review("b", "i", 9))
    got = runner.amazon(gzip.compress(reviews), META)
    assert got.events == [("b", "i", 9, 0), ("a", "j", 3, 1), ("b", "i", 9, 2)]


@pytest.mark.parametrize("name", ["007", " 7 ", "Zoë 𝄞", "a\"b'c", "a\tb,c", "7.0", "null"])
def test_ids_are_kept_exactly(name: str) -> None:
    line = lines(review(user=name, item=name))
    assert parse_review(line) == (name, name, 5)


@pytest.mark.parametrize(
    ("time", "expected"), [(0, 0), (1400000000.0, 1400000000), (2**63 - 1, 2**63 - 1), (-0.0, 0), (1e9, 10**9)]
)
def test_whole_numbers_are_timestamps(time: float, expected: int) -> None:
    assert parse_review(lines(review(time=time))) == ("u", "i", expected)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"reviewerID": "u"', "not JSON"),
        (b"{'reviewerID': 'u', 'asin': 'i', 'unixReviewTime': 5}", "not JSON"),
        (b'{"reviewerID": "u", "asin": "i", "unixReviewTime": NaN}', "not JSON"),
        (b'{"reviewerID": "\xff", "asin": "i", "unixReviewTime": 5}', "invalid UTF-8"),
        (b"[" * 5000, "not JSON"),
        (b'{"reviewerID": "u", "x": ' + b"[" * 990 + b"]" * 990 + b', "asin": "i", "asin": "j"}', "nested too deeply"),
        ([review()], "not a JSON object"),
        (None, "not a JSON object"),
        ({"asin": "i", "unixReviewTime": 5}, "no reviewerID"),
        (review(user=None), "no reviewerID"),
        (review(user=7), "reviewerID not a string"),
        (review(user=""), "empty reviewerID"),
        (review(user="a\0b"), "NUL character"),
        ({"reviewerID": "u", "unixReviewTime": 5}, "no asin"),
        (review(item=7), "asin not a string"),
        (review(item=""), "empty asin"),
        ({"reviewerID": "u", "asin": "i"}, "no unixReviewTime"),
        (review(time=None), "no unixReviewTime"),
        (review(time="1400000000"), "timestamp not a whole number"),
        (review(time=True), "timestamp not a whole number"),
        (review(time=2.7), "timestamp not a whole number"),
        (review(time=[5]), "timestamp not a whole number"),
        (review(time=-1), "negative timestamp"),
        (review(time=-1.0), "negative timestamp"),
        (review(time=2**63), "timestamp too large"),
        (review(time=10**40), "timestamp too large"),
    ],
)
def test_bad_reviews(line: object, reason: str) -> None:
    with pytest.raises(BadLine) as caught:
        parse_review(lines(line))
    assert caught.value.reason == reason


def test_windows_lines_and_byte_order_mark(runner: Runner) -> None:
    reviews = b"\xef\xbb\xbf" + lines(review("a"), review("b")).replace(b"\n", b"\r\n")
    assert runner.amazon(reviews, META).events == [("a", "i", 5, 0), ("b", "i", 5, 1)]


def test_a_picture_is_no_log(runner: Runner) -> None:
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\n\xff\xfe\n"
    with pytest.raises(DataError, match=r"4 of 4 lines cannot be read \(invalid UTF-8: 2, not JSON: 2\)"):
        runner.amazon(picture, META)


def test_a_csv_is_no_amazon_log(runner: Runner) -> None:
    rows = b"user,item,time\n" + b"1,2,3\n" * 5000
    with pytest.raises(DataError, match=r"none of its first 1,000 lines .*check data.source \('amazon-2018'\)"):
        runner.amazon(rows, META)


def test_gzip_cut_short(runner: Runner) -> None:
    packed = gzip.compress(lines(*[review(user=f"user {n}") for n in range(5000)]))
    with pytest.raises(DataError, match=r"input-1: the gzip stream ends early after line [\d,]+; fetch the file again"):
        runner.amazon(packed[: len(packed) // 2], META)


def test_memory_does_not_grow_with_the_text_of_the_reviews(runner: Runner) -> None:
    peaks = []
    for text_length in (10, 200_000):  # 600 of the longer are 120 MB
        text = np.random.default_rng(1).bytes(text_length // 2).hex()  # packed to half of its length, as a text is
        line = json.dumps({"reviewerID": "u", "asin": "i", "unixReviewTime": 5, "reviewText": text}) + "\n"
        path = runner.folder / f"{text_length}.json.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(600):
                file.write(line.encode())
        tracemalloc.start()
        got = runner.amazon(path, META)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert got.report.kept == 600
    assert peaks[1] - peaks[0] < 10_000_000, peaks
