"""The sample generator: raw files as the 2014 release has them, equal for equal seeds, with the planted structure."""

import ast
import gzip
import itertools
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scripts_factory import REPOSITORY, load_script

from din_train.config import DataConfig
from din_train.logs import read_log

SHIPPED = REPOSITORY / "data" / "sample"
FILES = ("reviews_Sample.json.gz", "meta_Sample.json.gz")
SMALL = ("--users=60", "--items=150", "--categories=9", "--reviews=700", "--metadata-rows=170")

Make = Callable[..., Result]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("make_sample")


@pytest.fixture
def make(script: ModuleType) -> Make:
    return lambda *arguments: CliRunner().invoke(script.main, [str(each) for each in arguments])


def read_reviews(folder: Path) -> list[dict[str, Any]]:
    with gzip.open(folder / FILES[0]) as file:
        return [json.loads(line) for line in file]


def read_metadata(folder: Path) -> list[dict[str, Any]]:
    with gzip.open(folder / FILES[1], "rt", encoding="utf-8") as file:
        return [ast.literal_eval(line) for line in file]


@pytest.fixture(scope="module")
def histories() -> list[list[str]]:
    """The shipped sample's users, each a list of leaf categories in the order of time."""
    leaf = {row["asin"]: row["categories"][-1][-1] for row in read_metadata(SHIPPED)}
    users: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for review in read_reviews(SHIPPED):
        users[review["reviewerID"]].append((review["unixReviewTime"], leaf[review["asin"]]))
    return [[category for _, category in sorted(events, key=lambda event: event[0])] for events in users.values()]


def test_what_is_shipped_is_what_the_script_writes_and_small(make: Make, tmp_path: Path) -> None:
    assert make(tmp_path).exit_code == 0
    for name in FILES:  # the content: another zlib may pack it into other bytes
        assert gzip.decompress((tmp_path / name).read_bytes()) == gzip.decompress((SHIPPED / name).read_bytes())
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 1_000_000
    assert "**generated**" in (SHIPPED / "README.md").read_text(encoding="utf-8")


def test_equal_seeds_give_equal_bytes_and_others_do_not(make: Make, tmp_path: Path) -> None:
    for folder, seed in (("one", 3), ("same", 3), ("other", 4)):
        assert make(tmp_path / folder, *SMALL, "--seed", seed).exit_code == 0
    for name in FILES:
        one, same, other = ((tmp_path / folder / name).read_bytes() for folder in ("one", "same", "other"))
        assert one == same != other


def test_sizes_are_as_asked(make: Make, tmp_path: Path) -> None:
    assert make(tmp_path, *SMALL).exit_code == 0
    reviews, metadata = read_reviews(tmp_path), read_metadata(tmp_path)
    pairs = [(review["reviewerID"], review["asin"]) for review in reviews]
    assert len(pairs) == len(set(pairs)) == 700  # nobody reviews an item twice
    users, counts = np.unique([user for user, _ in pairs], return_counts=True)
    assert (len(users), counts.min() >= 5) == (60, True)
    reviewed = {item for _, item in pairs}
    assert len(reviewed) == 150
    assert len({row["asin"] for row in metadata}) == len(metadata) == 170
    assert len({row["categories"][-1][-1] for row in metadata if row["asin"] in reviewed}) == 9


def test_rows_have_the_keys_of_the_release() -> None:
    review, row = read_reviews(SHIPPED)[0], read_metadata(SHIPPED)[0]
    keys = {"reviewerID", "asin", "helpful", "reviewText", "overall", "summary", "unixReviewTime", "reviewTime"}
    assert keys <= review.keys() <= keys | {"reviewerName"}
    assert {"asin", "title", "imUrl", "categories"} <= row.keys()
    assert all(isinstance(path, list) and path for path in row["categories"])
    with gzip.open(SHIPPED / FILES[1]) as file, pytest.raises(json.JSONDecodeError):
        json.loads(file.readline())


def test_the_product_reads_every_line(tmp_path: Path) -> None:
    data = DataConfig(
        source="amazon-2014", reviews=SHIPPED / FILES[0], items=SHIPPED / FILES[1], prepared=tmp_path, max_bad_share=0
    )
    reviews, metadata = read_log(data, tmp_path, lambda _: None).reports
    assert (reviews.lines, reviews.kept, reviews.rejected) == (24_000, 24_000, {})
    assert (metadata.lines, metadata.kept, metadata.rejected) == (1_100, 1_000, {})


def test_interests_come_in_bursts(histories: list[list[str]]) -> None:
    """An event is of its predecessor's category far more often than any two events of the log are."""
    same = np.mean([a == b for history in histories for a, b in itertools.pairwise(history)])
    _, counts = np.unique([category for history in histories for category in history], return_counts=True)
    by_chance = np.sum((counts / counts.sum()) ** 2)
    assert same > 0.5
    assert by_chance < 0.05


def test_users_hold_several_interests_that_drift(histories: list[list[str]]) -> None:
    """Several categories a user, and fewer of them shared between the two halves than there would be without drift."""
    assert 2 <= np.median([len(set(history)) for history in histories]) <= 6
    long = [history for history in histories if len(history) >= 16]
    halves = [(set(history[: len(history) // 2]), set(history[len(history) // 2 :])) for history in long]
    new = np.mean([len(second - first) / len(second) for first, second in halves])
    mixed = [history[::2] + history[1::2] for history in long]  # the same events, the two halves interleaved
    halves = [(set(history[: len(history) // 2]), set(history[len(history) // 2 :])) for history in mixed]
    assert new > 1.3 * np.mean([len(second - first) / len(second) for first, second in halves])


def test_items_of_a_category_follow_a_long_tail() -> None:
    leaf = {row["asin"]: row["categories"][-1][-1] for row in read_metadata(SHIPPED)}
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for review in read_reviews(SHIPPED):
        counts[leaf[review["asin"]]][review["asin"]] += 1
    of_category = [sorted(items.values(), reverse=True) for items in counts.values() if len(items) >= 10]
    top_shares = [sum(items[: len(items) // 5]) / sum(items) for items in of_category]
    assert len(of_category) >= 20
    assert np.mean(top_shares) > 0.35  # the top fifth of a category's items; 0.2 without a tail


def test_the_electronics_preset_has_electronics_counts(script: ModuleType) -> None:
    preset = script.PRESETS["electronics"]
    counts = {key: preset[key] for key in ("users", "items", "categories", "reviews", "metadata_rows")}
    assert counts == {
        "users": 192_403,
        "items": 63_001,
        "categories": 801,
        "reviews": 1_689_188,
        "metadata_rows": 498_196,
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--users=300", "--reviews=1200"), "received 1,200 reviews, expected at least 1,500 (5 x users)"),
        (("--items=10",), "expected at least"),
        (("--users=0",), "Invalid value for '--users'"),
        (("--preset=books",), "Invalid value for '--preset'"),
    ],
)
def test_sizes_that_do_not_go_together(make: Make, tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    result = make(tmp_path / "new", *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert not (tmp_path / "new").exists()
