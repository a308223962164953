"""Table L2: equal to dense L2 when every id is in the batch, to the paper's formula by hand otherwise; occurrences."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from log_factory import make_config, prepare_events

from din_train.config import RegularizationConfig
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.model.build import build_model
from din_train.training.regularization import TableRegularizer, build_regularizer, count_table_rows

EVENTS = [(f"u{n % 9}", f"i{(n * n) % 31}", f"c{n % 5}", n) for n in range(200)]
COUNTS = {"table": np.array([0, 3, 1, 4, 2])}
TABLE = np.arange(10, dtype=np.float32).reshape(5, 2)


def regularize(name: str, rows: list[int], values: np.ndarray) -> np.ndarray:
    """The dense form of the regularised gradient of a batch that names `rows` once each."""
    variable = tf.Variable(TABLE)
    gradient = tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows), [5, 2])
    result = TableRegularizer(name, 0.5, COUNTS).add_to(gradient, variable, "table")
    assert isinstance(result, tf.IndexedSlices) == (name != "dense_l2")
    return tf.convert_to_tensor(result).numpy()


def test_l2_equals_dense_l2_when_every_id_is_in_the_batch() -> None:
    values = np.random.default_rng(0).normal(size=(4, 2))
    order = [3, 4, 1, 2]  # 0 is padding, which is in no batch
    assert regularize("l2", order, values)[1:] == pytest.approx(regularize("dense_l2", order, values)[1:])
    assert regularize("l2", order, values)[order] == pytest.approx(values + 0.5 * TABLE[order], abs=1e-6)
    assert regularize("l2", [0, 1], np.zeros((2, 2)))[0].tolist() == [0, 0]


def test_mini_batch_aware_equals_a_dense_l2_with_each_row_over_its_count_when_every_id_is_in_the_batch() -> None:
    values = np.zeros((5, 2))
    expected = 0.5 * TABLE / np.maximum(COUNTS["table"], 1)[:, None]
    expected[0] = 0  # padding's
    assert regularize("mini_batch_aware", [0, 1, 2, 3, 4], values) == pytest.approx(expected)


def test_mini_batch_aware_by_hand() -> None:
    # rows 3 and 1 of the batch: (6, 7) * .5 / 4 and (2, 3) * .5 / 3; the others are not in it
    gradient = regularize("mini_batch_aware", [3, 1], np.array([[1.0, 1.0], [0.0, 0.0]]))
    assert gradient == pytest.approx(np.array([[0, 0], [1 / 3, 0.5], [0, 0], [1.75, 1.875], [0, 0]]), abs=1e-6)


def test_weights_that_are_no_table_are_left_alone() -> None:
    gradient = tf.constant([1.0])
    assert TableRegularizer("l2", 0.5, COUNTS).add_to(gradient, tf.Variable([7.0]), "dense/kernel") is gradient


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    return prepare_events(tmp_path, EVENTS)[0]


def test_occurrences_equal_a_slow_count(tmp_path: Path, data: PreparedData) -> None:
    samples = data.samples(Split.TRAIN, 7)  # short, so that histories are cut
    expected = np.zeros(len(data.item_category_ids), np.int64)
    for row in range(len(samples)):
        expected[samples.target_item_ids[row]] += 1
        start = samples.history_start[row]
        for item in data.event_item_ids[start : start + samples.history_length[row]]:
            expected[item] += 1
    model = build_model(make_config(tmp_path).model, data, seed=1)
    counts = count_table_rows(model, data, samples, unknown_rate=0.0)
    assert counts[model.item_embedding.items.path].tolist() == expected.tolist()
    of_categories = counts[model.item_embedding.categories.path]
    for category in range(len(of_categories)):
        assert of_categories[category] == expected[data.item_category_ids == category].sum()


@pytest.mark.parametrize("name", ["din", "lr", "wide_deep", "deepfm"])
def test_every_embedding_table_is_counted(tmp_path: Path, data: PreparedData, name: str) -> None:
    model = build_model(make_config(tmp_path, model={"name": name}).model, data, seed=1)
    samples = data.samples(Split.TRAIN, 100)
    regularizer = build_regularizer(RegularizationConfig(name="l2"), model, data, samples, unknown_rate=0.0)
    counts = count_table_rows(model, data, samples, unknown_rate=0.0)
    tables = {each.path for each in model.trainable_weights if each.path.endswith(("/items", "/categories"))}
    assert regularizer is not None
    assert tables == set(counts)
    assert build_regularizer(RegularizationConfig(), model, data, samples, unknown_rate=0.0) is None


def test_tables_of_candidates_and_of_behaviours_are_counted_apart(tmp_path: Path, data: PreparedData) -> None:
    """The linear terms of a target and of a behaviour are different numbers, looked up in different places."""
    model = build_model(make_config(tmp_path, model={"name": "deepfm"}).model, data, seed=1)
    samples = data.samples(Split.TRAIN, 7)
    counts = count_table_rows(model, data, samples, unknown_rate=0.0)
    linear = model.linear
    targets = np.bincount(samples.target_item_ids, minlength=len(data.item_category_ids))
    assert counts[linear.candidate.items.path].tolist() == targets.tolist()
    assert counts[linear.candidate.items.path].sum() == len(samples)
    assert counts[linear.behaviours.items.path].sum() == samples.history_length.sum()
    assert counts[linear.behaviours.categories.path].sum() == samples.history_length.sum()
    both = counts[linear.candidate.items.path] + counts[linear.behaviours.items.path]
    assert counts[model.item_embedding.items.path].tolist() == both.tolist()


def test_the_unknown_items_row_occurs_as_often_as_an_id_is_hidden(tmp_path: Path, data: PreparedData) -> None:
    model = build_model(make_config(tmp_path).model, data, seed=1)
    samples = data.samples(Split.TRAIN, 100)
    exact, expected = (count_table_rows(model, data, samples, unknown_rate=rate) for rate in (0.0, 0.2))
    path = model.item_embedding.items.path
    assert exact[path][1] == 0
    assert expected[path][1] == pytest.approx(0.2 * exact[path].sum(), abs=1)
    assert expected[path][2:] == pytest.approx(0.8 * exact[path][2:], abs=1)  # of targets and of behaviours, rounded
    of_categories = model.item_embedding.categories.path
    assert expected[of_categories].tolist() == exact[of_categories].tolist()  # the category stays


def test_rows_that_items_share_are_counted_together(tmp_path: Path, data: PreparedData) -> None:
    samples = data.samples(Split.TRAIN, 100)
    own, shared = (
        build_model(make_config(tmp_path, model={"min_item_count": count}).model, data, seed=1) for count in (0, 12)
    )
    counts, merged = (count_table_rows(each, data, samples)[each.item_embedding.items.path] for each in (own, shared))
    rare = data.training_events < 12
    rare[:2] = False
    assert 0 < rare.sum() < len(rare) - 2
    assert merged[rare].tolist() == [0] * rare.sum()
    assert merged[1] == counts[rare].sum() > 0
    assert merged[~rare][2:].tolist() == counts[~rare][2:].tolist()
