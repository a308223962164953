"""Rows that training never looks up have the mean of those that it does, in every table and on disk."""

from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import make_config, prepare_events, read_raw_ids, write_log

from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples
from din_train.fit import fit
from din_train.model.build import build_model
from din_train.scoring import open_run
from din_train.training.training_batches import TrainingBatches
from din_train.training.unmoved_rows import UnmovedRows, compute_means, fill_unmoved, find_moved

# Twelve users of i0 to i19, whose categories are even and odd; only test events have the items late0 and late1.
ITEMS = np.random.default_rng(4).integers(0, 20, 120).tolist()
EVENTS = [(f"u{n % 12}", f"i{item}", "odd" if item % 2 else "even", n) for n, item in enumerate(ITEMS)]
EVENTS += [("u0", "late0", "even", 200), ("u1", "late1", "alone", 201)]
SIZES = {"item_embedding_size": 2, "category_embedding_size": 2, "mlp": {"hidden_units": [2]}}


def test_means_by_hand() -> None:
    rows = np.array([[9, 9], [1, 2], [3, 4], [7, 0], [5, 5]], np.float32)
    counted = np.array([False, True, True, True, False])
    means = compute_means(rows, counted, np.array([0, 2, 2, 1, 3]))
    assert means.tolist() == [[11 / 3, 2], [7, 0], [2, 3], [11 / 3, 2]]


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    return prepare_events(tmp_path, EVENTS, negatives={"distribution": "popularity"})[0]


def find_ids(data: PreparedData, *names: str) -> list[int]:
    ids = {item: each for each, item in read_raw_ids(data, "items", "item_id", "item").items()}
    return [ids[name] for name in names]


@pytest.mark.parametrize("unknown_rate", [0.0, 0.01])
def test_rows_that_training_looks_up(data: PreparedData, tmp_path: Path, unknown_rate: float) -> None:
    model = build_model(make_config(tmp_path, model={"name": "deepfm", "item_bias": True, **SIZES}).model, data, seed=1)
    moved = find_moved(model, data, data.samples(Split.TRAIN, 100), unknown_rate=unknown_rate)
    late = find_ids(data, "late0", "late1")
    of_items = [
        model.item_embedding.items,
        model.item_bias,
        model.linear.candidate.items,
        model.linear.behaviours.items,
    ]
    for table in of_items:
        assert np.flatnonzero(~moved[table.path]).tolist() == sorted([0, *([] if unknown_rate else [1]), *late])
    categories = moved[model.item_embedding.categories.path]
    assert not categories[data.item_category_ids[late[1]]]
    assert categories[2:].sum() == 2


def test_a_row_has_the_mean_of_its_category_or_of_all(data: PreparedData, tmp_path: Path) -> None:
    model = build_model(make_config(tmp_path, model={"name": "base", "item_bias": True, **SIZES}).model, data, seed=1)
    random = np.random.default_rng(1)
    for table in model.trainable_weights:
        table.assign(random.normal(size=table.shape))
    before = {table.path: table.numpy() for table in model.trainable_weights}
    fill_unmoved(model, data, find_moved(model, data, data.samples(Split.TRAIN, 100), unknown_rate=0.01))
    late = find_ids(data, "late0", "late1")
    even, alone = data.item_category_ids[late]
    known = np.setdiff1d(np.arange(2, 2 + data.num_items), late)
    of_even = known[data.item_category_ids[known] == even]
    moved = np.append(known, 1)  # the unknown row takes other items' places
    for table in (model.item_embedding.items, model.item_bias):
        rows, old = table.numpy(), before[table.path]
        np.testing.assert_allclose(rows[late[0]], old[of_even].mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(rows[late[1]], old[moved].mean(axis=0), rtol=1e-6)
        assert np.array_equal(np.delete(rows, late, axis=0), np.delete(old, late, axis=0))
    categories = model.item_embedding.categories
    old = before[categories.path]
    others = np.setdiff1d(np.arange(2, len(old)), alone)  # an item whose id is hidden keeps its category
    np.testing.assert_allclose(categories.numpy()[alone], old[others].mean(axis=0), rtol=1e-6)
    assert np.array_equal(model.mlp.trainable_weights[0].numpy(), before[model.mlp.trainable_weights[0].path])


def test_a_row_that_a_later_epoch_draws_is_filled_until_then(data: PreparedData, tmp_path: Path) -> None:
    """In a training that goes on after the first epoch as well, which counts the rows of the epochs before again."""
    stored = data.samples(Split.TRAIN, 100)
    late = find_ids(data, "late0", "late1")

    def draw(epoch: int) -> Samples:
        targets = stored.target_item_ids.copy()
        targets[np.flatnonzero(stored.labels == 0)[0]] = late[min(epoch, 1)]
        return replace(stored, target_item_ids=targets)

    def fill(epochs: list[int]) -> list[bool]:
        options: dict[str, Any] = {"batch_size": 8, "max_history_length": 100, "unknown_rate": 0.0, "seed": 1}
        batches = TrainingBatches(data, stored, **options, draw_epoch=draw)
        model = build_model(make_config(tmp_path, model={"name": "base", **SIZES}).model, data, seed=1)
        before, rows = model.item_embedding.items.numpy(), UnmovedRows(data, batches, unknown_rate=0.1)
        for epoch in epochs:
            batches.start_epoch(epoch)
            rows.fill(model, epoch)
        return (model.item_embedding.items.numpy()[late] == before[late]).all(axis=1).tolist()

    assert fill([0]) == [True, False]
    assert fill([0, 1]) == [True, False]  # filled after the first epoch; what moves it later is training
    assert fill([1]) == [True, True]


def test_a_loss_of_lists_does_not_move_the_rows_of_lists_of_one_class(data: PreparedData, tmp_path: Path) -> None:
    """The first positive and its negative become negatives: their list says nothing of the items that it alone has."""
    stored = data.samples(Split.TRAIN, 100)
    late, labels, targets = find_ids(data, "late0", "late1"), stored.labels.copy(), stored.target_item_ids.copy()
    labels[0], targets[:2] = 0, late
    samples = replace(stored, labels=labels, target_item_ids=targets)
    assert samples.find_compared().tolist() == [False] * 2 + [True] * (len(samples) - 2)
    for compared_only in (False, True):
        options: dict[str, Any] = {"batch_size": 8, "max_history_length": 100, "unknown_rate": 0.0, "seed": 1}
        batches = TrainingBatches(data, samples, **options)
        model = build_model(make_config(tmp_path, model={"name": "base", **SIZES}).model, data, seed=1)
        before = model.item_embedding.items.numpy()[late]
        UnmovedRows(data, batches, unknown_rate=0.0, compared_only=compared_only).fill(model, 0)
        assert (model.item_embedding.items.numpy()[late] != before).all() == compared_only


def test_the_weights_of_a_run_have_them(tmp_path: Path) -> None:
    write_log(tmp_path / "log.tsv", EVENTS)
    config = make_config(
        tmp_path,
        model={"name": "base", "item_bias": True, **SIZES},
        negatives={"distribution": "popularity"},
        metrics={"resamples": 0},
        training={"epochs": 2, "batch_size": 16, "optimizer": {"learning_rate": 0.05}},
    )
    with chdir(tmp_path):
        fit(config, run_dir=tmp_path / "run")
    opened = open_run(tmp_path / "run")
    late = find_ids(opened.data, "late0")[0]
    categories = opened.data.item_category_ids
    others = np.flatnonzero(categories == categories[late])
    others = others[others != late]
    for table in (opened.model.item_embedding.items.numpy(), opened.model.item_bias.numpy()):
        np.testing.assert_allclose(table[late], table[others].mean(axis=0), rtol=1e-5, atol=1e-9)
        assert np.abs(table[late]).max() > 1e-4


def test_rows_that_no_item_has_stay_as_they_began(data: PreparedData, tmp_path: Path) -> None:
    config = make_config(tmp_path, model={"name": "base", "min_item_count": 3, "item_bias": True, **SIZES})
    model = build_model(config.model, data, seed=1)
    before = model.item_embedding.items.numpy()
    fill_unmoved(model, data, find_moved(model, data, data.samples(Split.TRAIN, 100), unknown_rate=0.01))
    assert np.array_equal(model.item_embedding.items.numpy(), before)  # items without an event have the unknown row
