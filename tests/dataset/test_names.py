"""What ids stand for, and the hash by which rows are told apart."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from log_factory import prepare_events

from din_train.dataset.names import hash_rows, read_names
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData

EVENTS = [("u1", "a", "x", 1), ("u1", "b", "y", 2), ("u1", "a", "x", 3), ("u2", "c", "x", 1), ("u2", "a", "x", 2)]


def prepare(folder: Path) -> PreparedData:
    return prepare_events(folder, EVENTS, data={"protocol": "paper"})[0]


def test_names_are_by_id_and_null_for_padding_and_unknown(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    names = read_names(data)
    assert names.users.to_pylist() == [None, None, "u1", "u2"]
    assert names.items.to_pylist()[:2] == [None, None]
    assert sorted(names.items.to_pylist()[2:]) == ["a", "b", "c"]
    categories = names.values("category")
    of_item = {name: categories[data.item_category_ids[n]] for n, name in enumerate(names.items.to_pylist()) if name}
    assert of_item == {"a": "x", "b": "y", "c": "x"}


def test_rows_hash_alike_whatever_their_ids_and_unlike_where_they_differ(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    samples = data.samples(Split.TEST, 10)
    expected = hash_rows(data, samples)
    renumbered = tmp_path / "renumbered"
    renumbered.mkdir()
    shutil.copy(data.folder / "manifest.json", renumbered)
    for name in ("users", "vocabularies"):
        pq.write_table(pq.read_table(data.folder / f"{name}.parquet"), renumbered / f"{name}.parquet")
    items = pq.read_table(data.folder / "items.parquet")
    pq.write_table(items.take(pa.array([2, 1, 0])), renumbered / "items.parquet")
    turned = np.array([0, 1, 4, 3, 2], np.int32)[samples.target_item_ids]
    assert hash_rows(replace(data, folder=renumbered), replace(samples, target_item_ids=turned)) == expected
    for change in (
        {"labels": 1 - samples.labels},
        {"user_ids": samples.user_ids[::-1].copy()},
        {"target_item_ids": turned},
    ):
        assert hash_rows(data, replace(samples, **change)) != expected
    assert hash_rows(data, samples.take(np.arange(len(samples) - 1))) != expected
