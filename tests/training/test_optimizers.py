"""Row-wise optimisers: rows of a batch as the dense optimiser would, the others untouched; clipping, schedules."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from din_train.config import OptimizerConfig
from din_train.training.optimizers import LazyAdam, build_optimizer
from din_train.training.regularization import TableRegularizer


def make_table() -> keras.Variable:
    return keras.Variable(np.arange(10, dtype=np.float32).reshape(5, 2), name="table")


def test_first_step_by_hand() -> None:
    table, optimizer = make_table(), LazyAdam(0.1, epsilon=0.0)
    optimizer.build([table])
    # a first Adam step moves by learning_rate * sign(gradient)
    optimizer.apply([tf.IndexedSlices(tf.constant([[0.5, -2.0]]), tf.constant([3]))])
    assert table.numpy() == pytest.approx(np.array([[0, 1], [2, 3], [4, 5], [5.9, 7.1], [8, 9]]), abs=1e-6)


def test_a_row_named_twice_gets_the_sum_of_its_gradients() -> None:
    tables, updates = [], [([1, 1, 4], [[1.0, 2.0], [3.0, -1.0], [1.0, 1.0]]), ([1, 4], [[4.0, 1.0], [1.0, 1.0]])]
    for rows, values in updates:
        table, optimizer = make_table(), LazyAdam(0.1)
        optimizer.build([table])
        for _ in range(3):
            optimizer.apply([tf.IndexedSlices(tf.constant(values), tf.constant(rows))])
        tables.append(table.numpy())
    assert tables[0].tolist() == tables[1].tolist()


def test_equals_keras_adam_where_every_row_is_in_every_batch() -> None:
    random = np.random.default_rng(0)
    lazy, dense = make_table(), make_table()
    lazy_adam, adam = LazyAdam(0.01), keras.optimizers.Adam(0.01)
    lazy_adam.build([lazy])
    adam.build([dense])
    for _ in range(20):
        gradient = random.normal(size=(5, 2)).astype(np.float32)
        order = random.permutation(5)
        lazy_adam.apply([tf.IndexedSlices(tf.constant(gradient[order]), tf.constant(order))])
        adam.apply([tf.constant(gradient)])
    assert lazy.numpy() == pytest.approx(dense.numpy(), abs=1e-5)


def test_rows_out_of_the_batch_keep_weights_and_moments() -> None:
    table, optimizer = make_table(), LazyAdam(0.1)
    optimizer.build([table])
    optimizer.apply([tf.IndexedSlices(tf.constant([[1.0, 1.0]]), tf.constant([2]))])
    state = [table.numpy()[2].tolist(), *(slot.numpy()[2].tolist() for slot in optimizer.variables[2:])]
    optimizer.apply([tf.IndexedSlices(tf.constant([[1.0, 1.0]]), tf.constant([0]))])
    assert [table.numpy()[2].tolist(), *(slot.numpy()[2].tolist() for slot in optimizer.variables[2:])] == state
    assert table.numpy()[[1, 3, 4]].tolist() == [[2, 3], [6, 7], [8, 9]]


def test_dense_gradients_are_keras_adams() -> None:
    one, other = make_table(), make_table()
    lazy_adam, adam = LazyAdam(0.01), keras.optimizers.Adam(0.01)
    for optimizer, table in ((lazy_adam, one), (adam, other)):
        optimizer.build([table])
        optimizer.apply([tf.ones((5, 2))])
    assert one.numpy().tolist() == other.numpy().tolist()


def test_sgd_is_row_wise_and_sums_repeated_rows() -> None:
    table, optimizer = make_table(), build_optimizer(OptimizerConfig(name="sgd", learning_rate=0.5))
    optimizer.build([table])
    optimizer.apply([tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1, 1]))])
    assert table.numpy().tolist() == [[0, 1], [0, 0], [4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam", "adamw"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_rows_equal_the_dense_optimiser_where_every_row_is_in_every_batch(name: str, clip_norm: float | None) -> None:
    """Against Keras's own on the summed, dense gradient; a dense weight beside the table is clipped with it."""
    config = OptimizerConfig(name=name, learning_rate=0.05, clip_norm=clip_norm, weight_decay=0.0)
    plain = {"sgd": keras.optimizers.SGD, "adagrad": keras.optimizers.Adagrad}.get(name, keras.optimizers.Adam)
    random, variables = np.random.default_rng(0), []
    for optimizer in (build_optimizer(config), build_optimizer(config, static_shapes=True), plain(0.05)):
        pair = [make_table(), keras.Variable([1.0, -1.0], name="bias")]
        optimizer.build(pair)
        variables.append((optimizer, pair))
    for _ in range(10):
        rows = 1 + np.concatenate([random.permutation(4), random.integers(0, 4, 4)])  # 0 is padding
        values = random.normal(size=(8, 2)).astype(np.float32)
        of_bias = random.normal(size=2).astype(np.float32)
        table = np.zeros((5, 2), np.float32)
        np.add.at(table, rows, values)
        norm = np.sqrt((table**2).sum() + (of_bias**2).sum())
        factor = 1.0 if clip_norm is None else min(1.0, clip_norm / norm)
        for optimizer, _ in variables[:2]:
            optimizer.apply([tf.IndexedSlices(tf.constant(values), tf.constant(rows), [5, 2]), tf.constant(of_bias)])
        variables[2][0].apply([tf.constant(table * factor), tf.constant(of_bias * factor)])
    for _, pair in variables[:2]:
        for variable, expected in zip(pair, variables[2][1], strict=True):
            assert variable.numpy() == pytest.approx(expected.numpy(), abs=2e-5)


def test_the_global_norm_is_of_summed_rows() -> None:
    """Two rows of one id, (3, 0) and (4, 0), are one of (7, 0): beside it (0, 1) makes 7.07, not 5.10."""
    table = keras.Variable(np.zeros((3, 2), np.float32))
    optimizer = build_optimizer(OptimizerConfig(name="sgd", learning_rate=1.0, clip_norm=1.0))
    optimizer.build([table])
    gradient = tf.IndexedSlices(tf.constant([[3.0, 0.0], [4.0, 0.0], [0.0, 1.0]]), tf.constant([1, 1, 2]), [3, 2])
    optimizer.apply([gradient])
    assert table.numpy() == pytest.approx(-np.array([[0, 0], [7, 0], [0, 1]]) / np.sqrt(50), abs=1e-6)


@pytest.mark.parametrize("name", ["adagrad", "adam", "adamw"])
def test_rows_out_of_the_batch_are_untouched(name: str) -> None:
    table = make_table()
    optimizer = build_optimizer(OptimizerConfig(name=name, weight_decay=0.1))
    optimizer.exclude_from_weight_decay([table])
    optimizer.build([table])
    for _ in range(3):
        optimizer.apply([tf.IndexedSlices(tf.constant([[1.0, 1.0]]), tf.constant([2]), [5, 2])])
    assert table.numpy()[[0, 1, 3, 4]].tolist() == [[0, 1], [2, 3], [6, 7], [8, 9]]
    assert (table.numpy()[2] < [4, 5]).all()


def test_static_shapes_leave_the_padding_row_as_it_is() -> None:
    table = make_table()
    optimizer = build_optimizer(OptimizerConfig(), static_shapes=True)
    optimizer.build([table])
    optimizer.apply([tf.IndexedSlices(tf.ones([4, 2]), tf.constant([3, 3, 1, 3]), [5, 2])])
    assert table.numpy()[[0, 2, 4]].tolist() == [[0, 1], [4, 5], [8, 9]]


@pytest.mark.parametrize("name", ["l2", "dense_l2", "mini_batch_aware"])
def test_static_shapes_change_no_regularised_and_clipped_step(name: str) -> None:
    """The rows left over name the padding id: they add nothing to the norm, and its row has no regularisation."""
    tables = []
    for static_shapes in (False, True):
        regularizer = TableRegularizer(name, 0.5, {"table": np.array([0, 3, 1, 4, 2])})
        table = keras.Variable(np.full((5, 2), 3, np.float32), name="table")
        config = OptimizerConfig(name="sgd", learning_rate=1.0, clip_norm=0.5)
        optimizer = build_optimizer(config, regularizer=regularizer, static_shapes=static_shapes)
        optimizer.build([table])
        optimizer.apply([tf.IndexedSlices(tf.ones([6, 2]), tf.constant([3, 3, 1, 3, 3, 1]), [5, 2])])
        tables.append(table.numpy())
    assert tables[0] == pytest.approx(tables[1], abs=1e-6)
    assert np.ptp(tables[0]) > 0.1


def test_a_step_schedule_changes_the_rate_after_its_step() -> None:
    table = keras.Variable(np.zeros((1, 1), np.float32))
    schedule = {"name": "step", "steps": [2, 3], "factor": 0.1}
    optimizer = build_optimizer(OptimizerConfig(name="sgd", learning_rate=1.0, schedule=schedule))
    optimizer.build([table])
    moved = []
    for _ in range(4):
        before = table.numpy()[0, 0]
        optimizer.apply([tf.constant([[1.0]])])
        moved.append(before - table.numpy()[0, 0])
    assert moved == pytest.approx([1, 1, 0.1, 0.01], abs=1e-6)
