"""Items that came after training are scored by their category and fields; fields of every form in rows to score."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_factory import make_config, read_values, write_table

from din_train.batches import EvaluationBatches
from din_train.dataset.fields import NewItems
from din_train.dataset.names import read_names
from din_train.dataset.prepare import prepare_data
from din_train.dataset.store import PreparedData, open_store
from din_train.dataset.vocabulary import hash_values
from din_train.evaluation.calibration import UNCALIBRATED
from din_train.evaluation.evaluate import compute_scores
from din_train.logs.row_files import open_row_file
from din_train.model.build import build_model
from din_train.predict.input_columns import find_input_columns, parse_columns
from din_train.predict.input_rows import InputParser, InputRows
from din_train.predict.new_items import ItemsFile, describe_items_file
from din_train.predict.predict import RowScorer
from din_train.run_directory import RunDirectory
from din_train.scoring import OpenedRun

START = 1_600_000_000
HEADER = ["user", "item", "cat", "time", "genres", "price", "level", "tags", "type"]
ROWS = [
    ["u", "a", "x", START, "drama|war", 1, 1, "new|hot", "view"],
    ["u", "b", "y", START + 10, "war", 3, 2, "hot", "cart"],
    ["u", "c", "x", START + 20, "", 5, 3, "", "view"],
    ["v", "a", "x", START, "drama|war", 1, 1, "new", "buy"],
    ["v", "d", "z", START + 20, "comedy", 7, 4, "hot|new", "view"],
    ["v", "b", "y", START + 30, "war", 3, 2, "late", "cart"],
]
LOG: dict[str, Any] = {
    "columns": {"user": "user", "item": "item", "category": "cat", "timestamp": "time"},
    "item_fields": ["genres", "price", "level"],
    "context_fields": ["tags"],
    "behaviour_fields": ["type", "time_gap"],
    "list_fields": {"genres": {}, "tags": {}},
    "standardized_fields": ["price"],
    "numeric_fields": ["level"],
    "num_buckets": 2,
    "protocol": "paper",
}
REQUESTS = pa.table(
    {
        "user": ["u", "u", "v", "u"],
        "item": ["new1", "a", "new2", "new3"],
        "cat": ["y", "z", None, "nowhere"],
        "genres": ["war|unheard", "comedy", None, None],
        "price": ["5", "9", None, None],
        "level": ["9", "9", None, None],
        "tags": pa.array([["hot", "other"], ["new"], [], None]),
        "time": [START + 50, START + 15, START + 50, START + 50],
    }
)


def prepare(folder: Path, **changes: Any) -> PreparedData:
    write_table(folder / "log.tsv", HEADER, ROWS)
    config = make_config(folder, data=LOG, **changes)
    prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared)


def parse(
    data: PreparedData, folder: Path, table: pa.Table, *columns: str, items_file: ItemsFile | None = None
) -> InputRows:
    pq.write_table(table, folder / "rows.parquet")
    file = open_row_file(folder / "rows.parquet")
    found = find_input_columns(file, make_config(folder, data=LOG).data, parse_columns(columns))
    (chunk,) = file.read_chunks(1_000, lambda _: None)
    return InputParser(data, found, 100, items_file).parse(chunk)


def test_numbers_of_new_items_are_written_as_the_log_s_whatever_else_the_rows_have(tmp_path: Path) -> None:
    places = [HEADER.index(name) for name in ("price", "level")]
    rows = [[f"{value},5" if place in places else value for place, value in enumerate(row)] for row in ROWS]
    write_table(tmp_path / "log.tsv", HEADER, rows)  # 1.5, 2.5, ...
    prepare_data(make_config(tmp_path, data=LOG), force=False, progress=lambda _: None)
    data = open_store(tmp_path / "prepared")
    prices, nothing = {"price": ["9,999", "9.5"], "level": ["1,999", "€9"]}, pa.array([None, None], pa.string())
    table = pa.table({"user": ["u", "u"], "item": ["n", "m"], "tags": nothing, **prices})
    scale = data.manifest.field_values["price"]
    alone, together = parse(data, tmp_path, table.slice(0, 1)).new_items, parse(data, tmp_path, table).new_items
    assert alone is not None
    assert together is not None
    expected = (9.999 - (scale.mean or 0)) / (scale.standard_deviation or 1)
    assert alone.fields["price"].tolist() == [pytest.approx([expected, 0])]
    assert together.fields["price"].tolist() == [pytest.approx([expected, 0]), [0, 1]]
    assert (alone.fields["level"].tolist(), together.fields["level"].tolist()) == ([2], [2, 1])


def find_ids(data: PreparedData, field: str) -> dict[str | None, int]:
    return {value: each for each, value in read_values(data, field).items()}


def test_what_a_file_says_of_new_items(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    parsed = parse(data, tmp_path, REQUESTS)
    new = parsed.new_items
    assert new is not None
    categories, genres, tags = (find_ids(data, name) for name in ("category", "genres", "tags"))
    # a is known, so that its category and fields are those of the data set
    assert parsed.samples.target_item_ids.tolist() == [6, 2, 7, 8]
    assert new.category_ids.tolist() == [categories["y"], 1, 1]
    assert new.rows.tolist() == [1, 1, 1]
    assert new.fields["genres"].tolist() == [[genres["war"]], [1], [1]]
    # training items a (1), b (3), d (7): mean 11 / 3, variance 56 / 9
    assert new.fields["price"].tolist() == [[pytest.approx((5 - 11 / 3) / (56 / 9) ** 0.5), 0], [0, 1], [0, 1]]
    assert new.fields["level"].tolist() == [3, 1, 1]  # the upper bucket
    assert parsed.samples.context["tags"].tolist() == [[tags["hot"]], [tags["new"]], [1], [1]]
    # of one of three new items something is known, and the other two count as unknown
    assert parsed.described_items == 1
    assert parsed.matches["item"][:2] == (4, 2)


def test_without_columns_new_items_are_unknown(tmp_path: Path) -> None:
    parsed = parse(prepare(tmp_path), tmp_path, REQUESTS.select(["user", "item", "tags", "time"]))
    assert parsed.new_items is None
    assert parsed.samples.target_item_ids.tolist() == [1, 2, 1, 1]
    named = REQUESTS.rename_columns(["kind" if name == "cat" else name for name in REQUESTS.column_names])
    again = parse(prepare(tmp_path), tmp_path, named, "category=kind").new_items
    assert again is not None
    assert again.category_ids.tolist()[1:] == [1, 1]
    assert again.category_ids[0] > 1


ITEMS = pa.table(
    {
        "item": ["new1", "nothing", "new2", "late"],
        "category": ["x", "nowhere", None, "z"],
        "field genres": pa.array([["drama", "war", "unheard"], None, ["comedy"], ["other"]]),
        "field level": ["1", None, "much", "4"],
    }
)


def test_an_items_file_describes_candidates_and_histories(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    of_file = describe_items_file(data, read_names(data), ITEMS)
    assert of_file.names == ["new1", "new2", "late"]
    assert of_file.counted == {"category": (3, 1), "genres": (3, 1), "level": (3, 1)}
    categories, genres = (find_ids(data, name) for name in ("category", "genres"))
    requests = pa.table(
        {
            "user": ["u", "u", "v", "v"],
            "item": ["new1", "new3", "b", "late"],
            "history": [["a", "late", "new1"], ["gone"], ["new2"], []],
            "tags": ["hot"] * 4,
            "time": [START + 50] * 4,
        }
    )
    parsed = parse(data, tmp_path, requests, items_file=of_file)
    assert parsed.samples.target_item_ids.tolist() == [6, 1, 3, 8]
    assert parsed.event_item_ids.tolist() == [2, 8, 6, 1, 7]
    assert (parsed.described_items, parsed.described_behaviours) == (2, 3)
    assert parsed.matches["item"][:2] == (4, 1)
    assert parsed.matches["history"][:2] == (5, 1)
    new = parsed.new_items
    assert new is not None
    assert new.category_ids.tolist() == [categories["x"], 1, categories["z"]]
    assert new.rows.tolist() == [1, 1, 1]
    assert new.fields["genres"].tolist() == [[genres["drama"], genres["war"]], [genres["comedy"], 0], [1, 0]]
    assert new.fields["level"].tolist() == [2, 1, 3]
    assert new.fields["price"].tolist() == [[0, 1]] * 3


def test_a_row_s_own_columns_come_before_the_items_file(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    of_file = describe_items_file(data, read_names(data), ITEMS)
    categories, genres = (find_ids(data, name) for name in ("category", "genres"))
    parsed = parse(data, tmp_path, REQUESTS, items_file=of_file)
    # the file's three items are 6 to 8; each row of a new item is one of its own after these
    assert parsed.samples.target_item_ids.tolist() == [9, 2, 10, 11]
    new = parsed.new_items
    assert new is not None
    assert new.category_ids[3:].tolist() == [categories["y"], 1, 1]  # new1 is y by its row, and x by the file
    assert new.fields["genres"][3:].tolist() == [[genres["war"], 0], [genres["comedy"], 0], [1, 0]]
    assert new.fields["level"][3:].tolist() == [3, 1, 1]
    assert parsed.described_items == 2
    assert parsed.matches["item"][:2] == (4, 1)
    assert parsed.item_values == {"category": (2, 1), "genres": (1, 0), "price": (1, 0), "level": (1, 0)}


def test_hashed_items_have_the_row_of_their_hash(tmp_path: Path) -> None:
    data = prepare(tmp_path, vocabulary={"hash_buckets": {"item": 9, "category": 5}})
    new = parse(data, tmp_path, REQUESTS).new_items
    assert new is not None
    assert new.rows.tolist() == hash_values(pa.array(["new1", "new2", "new3"]), 9).tolist()
    assert new.category_ids.tolist() == [*hash_values(pa.array(["y"]), 5), 1, *hash_values(pa.array(["nowhere"]), 5)]


def test_a_new_item_like_a_known_one_scores_as_that_one_with_a_hidden_id(tmp_path: Path) -> None:
    """Training hides ids as `predict` meets new items: as candidates and in histories, in either form of a batch."""
    data = prepare(tmp_path)
    config = make_config(tmp_path, data=LOG, model={"name": "wide_deep", "item_bias": True})
    model = build_model(config.model, data, seed=1, fields=config.data)
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape) / 10)
    size = len(data.training_events)
    b = {name: values[3:4] for name, values in data.item_fields.items() if name != "category"}  # a is 2 and b is 3
    model.add_items(NewItems(data.item_category_ids[3:4], np.array([1], np.int32), b))

    def score(item: int, *, padded: bool) -> list[float]:
        inputs = {
            "target_item_id": np.array([item, 2], np.int32),
            "user_id": np.array([2, 3], np.int32),
            "history_item_ids": np.array([[2, 0], [item, 5]], np.int32),
            "history_length": np.array([1, 2], np.int32),
            "tags": np.array([[2, 0], [3, 2]], np.int32),
        }
        logits: list[float] = model.compute_logits(model.locate(inputs, padded=padded), training=False).numpy().tolist()
        return logits

    new = score(size, padded=False)
    assert min(abs(np.subtract(new, score(3, padded=False)))) > 1e-3
    for padded in (False, True):
        assert score(-3, padded=padded) == pytest.approx(new, abs=1e-5)


def test_a_new_item_like_a_known_one_scores_as_that_one_with_the_unknown_row(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    config = make_config(
        tmp_path, data=LOG, model={"name": "wide_deep", "item_bias": True, "behaviour_fields": ["type", "time_gap"]}
    )
    model = build_model(config.model, data, seed=1, fields=config.data)
    for weight in model.trainable_weights:  # no two rows are alike
        weight.assign(np.random.default_rng(1).normal(size=weight.shape) / 10)

    def score(table: pa.Table) -> list[float]:
        parsed = parse(data, tmp_path, table)
        if parsed.new_items is not None:
            model.add_items(parsed.new_items)
        batches = EvaluationBatches(
            data, parsed.samples, batch_size=9, max_history_length=100, behaviour_fields=model.behaviour_fields
        )
        scores: list[float] = compute_scores(model, batches).tolist()
        return scores

    like_b = {"cat": "y", "genres": "war", "price": "3", "level": "2", "tags": "hot", "time": START + 50}
    rows = [{"user": user, "item": item, **like_b} for user in "uv" for item in ("b", "brand-new", "another")]
    before = score(pa.Table.from_pylist(rows))
    assert before[1] == pytest.approx(before[2], abs=1e-6)
    assert abs(before[1] - before[0]) > 1e-3
    known = score(pa.Table.from_pylist([rows[0]]))
    assert known == pytest.approx(before[:1], abs=1e-6)
    # give b the unknown item's row in every table of items: nothing else tells it from the new one
    layers = [model.item_embedding, model.linear.candidate, model.linear.behaviours]
    for table in [*(layer.items for layer in layers), model.item_bias]:
        values = table.numpy()
        values[1] = values[3]  # a is 2 and b is 3
        table.assign(values)
    after = score(pa.Table.from_pylist(rows))
    assert after[1::3] == pytest.approx(after[0::3], abs=1e-6)


def test_stored_histories_of_equal_items_keep_their_own_types_and_times(tmp_path: Path) -> None:
    """U and v both begin with a, as a view and as a purchase; that their candidate is new changes no history."""
    data = prepare(tmp_path)
    config = make_config(tmp_path, data=LOG, model={"name": "din", "behaviour_fields": ["type", "time_gap"]})
    model = build_model(config.model, data, seed=1, fields=config.data)
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape) / 3)
    checkpoint: Any = None
    opened = OpenedRun(RunDirectory(tmp_path), "", config, data, model, checkpoint, UNCALIBRATED)

    def score(*rows: dict[str, Any]) -> list[float]:
        pq.write_table(pa.Table.from_pylist(list(rows)), tmp_path / "rows.parquet")
        file = open_row_file(tmp_path / "rows.parquet")
        parser = InputParser(data, find_input_columns(file, config.data, {}), 100)
        (chunk,) = file.read_chunks(1_000, lambda _: None)
        logits: list[float] = RowScorer(opened, file, parser, 0.0).score(chunk)[0]["logit"].to_pylist()
        return logits

    new = {"item": "new1", "cat": "y", "genres": "war", "price": "5", "level": "9", "tags": "hot"}
    u, v = ({"user": user, "time": START + seconds, **new} for user, seconds in (("u", 5), ("v", 9)))
    (of_u,), (of_v,) = score(u), score(v)
    assert abs(of_u - of_v) > 1e-3
    assert score(u, v) == pytest.approx([of_u, of_v], rel=1e-4)


def test_new_items_may_have_longer_lists_than_known_ones(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    config = make_config(tmp_path, data=LOG)
    model = build_model(config.model, data, seed=1, fields=config.data)
    fields = {
        "genres": np.array([[2, 3, 4]], np.int32),  # the known ones have two at most
        "price": np.array([[0.0, 1.0]], np.float32),
        "level": np.array([2], np.int32),
    }
    model.add_items(NewItems(np.array([2], np.int32), np.array([1], np.int32), fields))
    row = model.item_embedding.other_fields(np.array([len(data.training_events)], np.int32)).numpy()[0]
    table = model.item_embedding.other_fields.tables[0].numpy()
    assert row[:16] == pytest.approx((table[2] + table[3]) / 2)
