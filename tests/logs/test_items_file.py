"""A file of items read by itself: in the format of the run's own, or of any table."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from din_train.config import DataConfig
from din_train.errors import ConfigError, DataError
from din_train.logs.items_file import read_items_file

TABLE: dict[str, Any] = {
    "source": "table",
    "events": "log.tsv",
    "columns": {"user": "user", "item": "item", "category": "cat", "timestamp": "time"},
    "prepared": "prepared",
    "item_fields": ["brand"],
}


def read(path: Path, text: str | bytes, known: tuple[str, ...] = (), **data: Any) -> list[dict[str, Any]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    table, _ = read_items_file(DataConfig.model_validate(TABLE | data), path, set(known))
    return [{key: row[key] for key in row if key != "title"} for row in table.to_pylist()]


def test_items_that_are_known_are_left_out(tmp_path: Path) -> None:
    text = "item,brand,cat\na,A,x\nb,,y\nc,C,\n"
    assert read(tmp_path / "items.csv", text, ("a",)) == [
        {"item": "b", "category": "y", "field brand": None},
        {"item": "c", "category": None, "field brand": "C"},
    ]


def test_key_and_dialect_are_those_of_the_run_s_own_file(tmp_path: Path) -> None:
    side = {"path": "items.csv", "key": "asin", "format": {"delimiter": ";"}}
    found = read(tmp_path / "new.csv", "asin;cat\nb,1;y\n", items=side)
    assert found == [{"item": "b,1", "category": "y"}]


def test_lists_in_json_lines(tmp_path: Path) -> None:
    lines = orjson.dumps({"item": 7, "brand": ["A", "B"], "cat": "x"})
    found = read(tmp_path / "items.jsonl", lines, list_fields={"brand": {}})
    assert found == [{"item": "7", "category": "x", "field brand": ["A", "B"]}]


def test_columns_that_the_log_has_by_position_have_their_roles_names(tmp_path: Path) -> None:
    columns = {"user": 1, "item": 2, "category": 3, "timestamp": 4}
    found = read(tmp_path / "items.csv", "category,item\nx,a\n", columns=columns, item_fields=[])
    assert found == [{"item": "a", "category": "x"}]


@pytest.mark.parametrize(
    ("data", "text", "expected"),
    [
        (
            {"source": "movielens", "click_rating": 4, "items": "m.csv", "columns": None, "item_fields": ["year"]},
            "movieId,title,genres\n5,Heat (1995),Crime|Drama\n6,New,(no genres listed)\n",
            [
                {"item": "5", "category": "Crime", "field year": "1995"},
                {"item": "6", "category": None, "field year": None},
            ],
        ),
        (
            {"source": "amazon-2014", "reviews": "r.json", "events": None, "columns": None, "item_fields": []},
            "{'asin': 'a', 'categories': [['A', 'x']]}\n{'asin': 'B1', 'categories': [['A', 'y']]}\n",
            [{"item": "B1", "category": "y"}],
        ),
        (
            {"source": "x1", "train": "t.csv", "test": "t.csv", "events": None, "columns": None, "item_fields": []},
            "item_id,cate_id\na,x\nb,y\n",
            [{"item": "b", "category": "y"}],
        ),
    ],
)
def test_other_sources_have_their_own_files(
    tmp_path: Path, data: dict[str, Any], text: str, expected: list[dict[str, Any]]
) -> None:
    data = {key: value for key, value in (TABLE | data).items() if value is not None}
    (tmp_path / "items").write_text(text)
    table, _ = read_items_file(DataConfig.model_validate(data), tmp_path / "items", {"a"})
    assert [{key: row[key] for key in row if key != "title"} for row in table.to_pylist()] == expected


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has none of the columns cat, brand \(read as comma-separated"):
        read(tmp_path / "items.csv", "item,colour\na,red\n")
    with pytest.raises(DataError, match=r"data.columns.item: no column 'item' in the header"):
        read(tmp_path / "items.csv", "id,cat\na,x\n")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "items.csv", "item,cat\na,x\n,y\n,z\n")
    with pytest.raises(DataError, match="No such file"):
        read_items_file(DataConfig.model_validate(TABLE), tmp_path / "nowhere.csv", set())
