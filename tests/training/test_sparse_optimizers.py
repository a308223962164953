"""Row-wise Adam: rows of the batch as Keras's dense Adam would on a first step, the others untouched."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from din_train.config import OptimizerConfig
from din_train.training.sparse_optimizers import LazyAdam, build_optimizer


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
