"""The real logs, by their known counts."""

import gzip
import io
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from log_runner import Runner

from din_train.config import ColumnsConfig, DataConfig
from din_train.logs.amazon_metadata import parse_item_2018, read_metadata
from din_train.logs.log import FileReport
from din_train.logs.rejects import Rejects

pytestmark = pytest.mark.real_logs


@pytest.mark.parametrize(
    ("name", "events", "users", "items", "categories"),
    [
        ("amazon_sports_5core_2014.tsv.gz", 296_337, 35_598, 18_357, 959),
        ("amazon_beauty_5core_2014.tsv.gz", 198_502, 22_363, 12_101, 195),
    ],
)
def test_tables(
    runner: Runner, real_logs: Path, name: str, events: int, users: int, items: int, categories: int
) -> None:
    columns = ColumnsConfig(user="user", item="item", timestamp="timestamp", category="cate")
    got = runner.table(real_logs / name, columns, max_bad_share=0)
    assert (got.report.lines, got.report.kept, got.report.notes) == (events, events, {})
    table = pq.read_table(got.log.events)
    assert [len(table[column].unique()) for column in ("user", "item", "category")] == [users, items, categories]
    assert table["ordinal"].to_pylist() == list(range(events))
    if name.startswith("amazon_sports"):
        first = {"user": "1", "item": "1", "timestamp": 1390694400, "category": "6", "ordinal": 0}
        assert table.slice(0, 1).to_pylist() == [first]


def test_gift_cards(runner: Runner, real_logs: Path) -> None:
    folder = real_logs / "gift_cards"
    got = runner.amazon(
        folder / "Gift_Cards_5.json.gz", folder / "meta_Gift_Cards.json.gz", "amazon-2018", max_bad_share=0
    )
    reviews, metadata = got.log.reports
    assert (reviews.lines, reviews.kept) == (2_972, 2_972)
    assert len({event[0] for event in got.events}) == 458
    assert got.events[0] == ("A31UBHTUUIFJUT", "B004LLIKVU", 1529193600, 0)
    assert (metadata.lines, metadata.kept) == (1_547, 148)
    assert metadata.notes == {"items no review mentions": 1_399, "junk category": 5, "category from main_cat": 2}
    assert {item[0] for item in got.items} == {event[1] for event in got.events}
    assert [item for item in got.items if item[1] is None] == []


def read_whole_metadata(path: Path, folder: Path) -> tuple[int, FileReport]:
    """As if reviews mentioned every item; returns how many lines have a category, and the report."""
    with gzip.open(path) as file:
        found = [parse_item_2018(line) for line in file]
    data = DataConfig(source="amazon-2018", reviews=path, items=path, prepared=folder, max_bad_share=0)
    report = FileReport(path)
    read_metadata("amazon-2018", {item.asin for item in found}, Rejects(io.BytesIO(), report, data), lambda _: None)
    return sum(item.category is not None for item in found), report


def test_gift_cards_metadata_has_junk_categories(real_logs: Path, tmp_path: Path) -> None:
    path = real_logs / "gift_cards" / "meta_Gift_Cards.json.gz"
    with_category, report = read_whole_metadata(path, tmp_path)
    assert (report.kept, with_category, report.notes) == (
        1_547,
        1_542,
        {"junk category": 5, "category from main_cat": 5},
    )


def test_magazine_metadata_has_duplicates(real_logs: Path, tmp_path: Path) -> None:
    path = real_logs / "magazine" / "meta_Magazine_Subscriptions.json.gz"
    with_category, report = read_whole_metadata(path, tmp_path)
    assert (report.lines, report.kept, with_category) == (3_385, 2_320, 2_883)
    with gzip.open(path) as file:
        without = {orjson.loads(line)["asin"] for line in file if not orjson.loads(line)["category"]}
    assert report.notes == {"duplicate asin": 1_065, "category from main_cat": len(without)}
