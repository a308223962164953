"""Item, user and context fields reach the store, the batches and the model."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from log_factory import make_config, read_samples, read_values, write_table

from din_train.batches import EvaluationBatches, build_batch
from din_train.dataset.fields import BucketIds
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.dataset.time_fields import VALUES, compute_time_field
from din_train.dataset.vocabulary import number_buckets, number_values
from din_train.errors import DataError
from din_train.model.build import build_model

DAY = 86_400
HEADER = ["user", "item", "category", "time", "brand", "price", "age", "device"]
ROWS = [
    ["u", "a", "x", 1_400_000_000, "acme", 1, 20, "phone"],
    ["u", "b", "y", 1_400_000_000 + DAY, "bolt", 2, 20, "phone"],
    ["u", "c", "x", 1_400_000_000 + 5 * DAY, "", "", 20, "desk"],
    ["u", "d", "x", 1_400_000_000 + 5 * DAY + 3600, "acme", 9, 20, ""],
    ["v", "a", "x", 1_400_000_000, "other", 1, "", "phone"],
    ["v", "c", "x", 1_400_000_000, "", "", "", "phone"],
    ["v", "e", "x", 1_400_000_000, "acme", 5, "", "desk"],
]
FIELDS: dict[str, Any] = {
    "item_fields": ["brand", "price"],
    "user_fields": ["age"],
    "context_fields": ["device", "weekday", "hour", "days_since_last"],
    "numeric_fields": ["price"],
    "num_buckets": 2,
    "protocol": "paper",
}


def prepare(folder: Path, rows: list[list[Any]], **data: Any) -> PreparedData:
    write_table(folder / "log.tsv", HEADER, rows)
    config = make_config(folder, data={**FIELDS, **data})
    prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared)


def test_every_field_has_its_values_and_ids(tmp_path: Path) -> None:
    data = prepare(tmp_path, ROWS)
    assert read_values(data, "brand") == {2: "acme", 3: "bolt"}  # the first an item has; the most frequent first
    assert read_values(data, "price") == {2: "[-inf, 2)", 3: "[2, inf)"}
    assert read_values(data, "age") == {2: "20"}
    assert read_values(data, "device") == {2: "phone", 3: "desk"}
    # padding, unknown, a, c (two events each), b, d, e
    assert data.item_fields["brand"].tolist() == [0, 1, 2, 1, 3, 2, 2]
    assert data.item_fields["price"].tolist() == [0, 1, 2, 1, 3, 3, 3]
    assert data.user_fields["age"].tolist() == [0, 1, 2, 1]
    assert data.num_values == {
        "category": 4, "brand": 4, "price": 4, "age": 3, "device": 4, "weekday": 9, "hour": 26, "days_since_last": 15,
    }  # fmt: skip


def test_context_is_the_positives_and_its_negatives_share_it(tmp_path: Path) -> None:
    data = prepare(tmp_path, ROWS)
    train = data.samples(Split.TRAIN, 100)
    rows = read_samples(data, Split.TRAIN)
    assert [row["target"] for row in rows if row["label"]] == ["b", "c", "c"]
    assert train.context["device"].tolist() == [2, 2, 3, 3, 2, 2]
    # 2014-05-13 16:53:20 UTC was a Tuesday
    assert train.context["weekday"].tolist() == [4, 4, 8, 8, 3, 3]
    assert train.context["hour"].tolist() == [18] * 6
    assert train.context["days_since_last"].tolist() == [3, 3, 5, 5, 2, 2]  # 1 day, 4 days, none
    test = data.samples(Split.TEST, 100)
    assert test.context["device"].tolist() == [1, 1, 3, 3]  # u's last has none


def test_values_of_too_few_training_events_are_unknown(tmp_path: Path) -> None:
    rows = [
        [*row[:7], device]
        for row, device in zip(ROWS, ["new", "phone", "phone", "test", "phone", "phone", "test"], strict=True)
    ]
    data = prepare(tmp_path, rows)
    assert read_values(data, "device") == {2: "phone", 3: "test", 4: "new"}
    write_table(tmp_path / "log.tsv", HEADER, rows)
    config = make_config(tmp_path, data=FIELDS, vocabulary={"min_count": 1})
    prepare_data(config, force=False, progress=lambda _: None)
    data = open_store(config.data.prepared)
    assert read_values(data, "device") == {2: "phone", 3: "new"}  # `test` is on test targets alone
    assert set(data.samples(Split.TEST, 100).context["device"].tolist()) == {1}


def test_batches_carry_context_and_every_group_reaches_the_score(tmp_path: Path) -> None:
    data = prepare(tmp_path, ROWS)
    samples = data.samples(Split.TRAIN, 100)
    inputs, _ = build_batch(data, samples, np.arange(4), 100)
    assert inputs["device"].tolist() == [2, 2, 3, 3]
    config = make_config(tmp_path, model={"name": "din", "mlp": {"hidden_units": [8]}}).model
    model = build_model(config, data, seed=1)
    before = model.score(inputs).numpy()
    batches = EvaluationBatches(data, samples, batch_size=4, max_history_length=100)
    assert model.score(next(iter(batches))[0]).numpy().tolist() == before.tolist()
    for table, row in (
        (model.item_embedding.other_fields.tables[0], 2),
        (model.profile_embedding.tables[0], 2),
        (model.context_embedding.tables[0], 2),
    ):
        values = table.numpy()
        table.assign(values + 10.0 * (np.arange(len(values))[:, None] == row))
        assert not np.allclose(model.score(inputs).numpy(), before)
        table.assign(values)
    assert model.score(inputs).numpy().tolist() == before.tolist()


def test_fields_from_tables_beside_the_events(tmp_path: Path) -> None:
    write_table(
        tmp_path / "items.tsv", ["item", "category", "brand", "price"], [["a", "z", "new", 3], ["e", "", "", 7]]
    )
    write_table(tmp_path / "users.tsv", ["user", "age"], [["v", 33], ["nobody", 1]])
    beside = {"items": str(tmp_path / "items.tsv"), "users": str(tmp_path / "users.tsv")}
    data = prepare(tmp_path, ROWS, **beside)
    assert read_values(data, "category") == {2: "z"}
    assert read_values(data, "brand") == {2: "new"}
    assert read_values(data, "age") == {2: "33"}
    assert data.user_fields["age"].tolist() == [0, 1, 1, 2]


def test_time_fields_need_unix_times(tmp_path: Path) -> None:
    rows = [[*row[:3], place, *row[4:]] for place, row in enumerate(ROWS)]
    with pytest.raises(DataError, match=r"data\.context_fields: weekday: needs unix times"):
        prepare(tmp_path, rows)


def test_gaps_by_powers_of_two() -> None:
    days = np.array([0, 1, 2, 3, 4, 7, 8, 100_000])
    ids = compute_time_field("days_since_last", days * DAY + 5, np.zeros(8, np.int64))
    names = [VALUES["days_since_last"][place - 2] for place in ids]
    assert names == ["0", "1", "2-3", "2-3", "4-7", "4-7", "8-15", "2048-"]
    assert compute_time_field("days_since_last", np.array([5]), np.array([-1])).tolist() == [1]


def test_values_are_numbered_by_weight_then_by_first_appearance() -> None:
    ids, values = number_values(pa.array(["b", None, "a", "c", "b"]), np.array([1, 9, 2, 3, 2]))
    assert (ids.tolist(), values) == ([2, 1, 4, 3, 2], ["b", "c", "a"])


def test_buckets_hold_equal_shares_and_junk_is_unknown() -> None:
    ids, values = number_buckets(np.array([1, 2, 3, 4, np.nan]), 2)
    assert (ids.tolist(), values) == ([2, 3, 3, 3, 1], ["[-inf, 2)", "[2, inf)"])
    ids, values = number_buckets(np.array([5.0, 5, 5]), 4)
    assert (ids.tolist(), values) == ([2, 2, 2], ["[-inf, inf)"])
    assert number_buckets(np.array([np.nan]), 4)[1] == []


def test_buckets_hold_equal_shares_of_the_weight() -> None:
    numbers = np.array([9.0, 1, 5, 2, 3, np.nan])
    ids, values = number_buckets(numbers, 2, np.array([0, 1, 3, 1, 1, 7]))  # of 1, 2, 3, 5, 5, 5 half are at most 3
    assert values == ["[-inf, 3)", "[3, inf)"]
    assert ids.tolist() == [3, 2, 3, 2, 3, 1]
    assert number_buckets(numbers, 2, np.zeros(6, np.int64))[1] == ["[-inf, 3)", "[3, inf)"]


def test_a_bucket_is_found_again_by_its_name() -> None:
    numbers = np.array([1234567.0, 1234568.0, 0.1, 12.99])
    ids, values = number_buckets(numbers, 4)
    assert values == ["[-inf, 12.99)", "[12.99, 1234567.0)", "[1234567.0, inf)"]
    found = BucketIds(values).find(pa.array(["1234567", "1,234,566", "12.99", "x", None]))
    assert found.tolist() == [4, 3, 3, 1, 1]
    assert ids.tolist() == [4, 4, 2, 3]
