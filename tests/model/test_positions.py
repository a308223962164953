"""Flat and padded positions: the same sums and weights by hand, empty histories, and what padding holds is nothing."""

import numpy as np
import pytest
import tensorflow as tf

from din_train.model.positions import FlatPositions, PaddedPositions, flatten_history, pad_history

# Three rows of 2, 0 and 1 positions.
LENGTHS = np.array([2, 0, 1], np.int32)
FLAT = FlatPositions(tf.constant([0, 0, 2]), tf.constant(3))
PADDED = PaddedPositions(tf.constant(LENGTHS), tf.constant(2), "float32")
VALID = [0, 1, 4]  # of the six padded positions


def pad(values: list[list[float]], filler: float) -> np.ndarray:
    padded = np.full((6, len(values[0])), filler, np.float32)
    padded[VALID] = values
    return padded


def test_ids_in_row_order() -> None:
    ids = tf.constant([[5, 6], [9, 9], [7, 9]])
    flat, positions = flatten_history(ids, LENGTHS)
    assert flat.numpy().tolist() == [5, 6, 7]
    assert positions.rows.numpy().tolist() == [0, 0, 2]
    padded, positions = pad_history(ids, LENGTHS, "float32")
    assert padded.numpy().tolist() == [5, 6, 9, 9, 7, 9]
    assert positions.weights is not None
    assert positions.weights.numpy().ravel().tolist() == [1, 1, 0, 0, 1, 0]


def test_spread_gives_each_position_its_rows_values() -> None:
    values = tf.constant([[1.0], [2.0], [3.0]])
    assert FLAT.spread(values).numpy().ravel().tolist() == [1, 1, 3]
    assert PADDED.spread(values).numpy().ravel().tolist() == [1, 1, 2, 2, 3, 3]


def test_sums_are_of_valid_positions_and_zero_for_an_empty_history() -> None:
    values = [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]
    expected = [[3, 30], [0, 0], [3, 30]]
    assert FLAT.sum(tf.constant(values)).numpy().tolist() == expected
    assert PADDED.sum(tf.constant(pad(values, 77))).numpy().tolist() == expected


@pytest.mark.parametrize("filler", [0.0, 1e9, -1e9])
def test_softmax_by_hand(filler: float) -> None:
    scores = [[0.0], [np.log(3)], [-5.0]]
    assert FLAT.softmax(tf.constant(scores, tf.float32)[:, 0]).numpy() == pytest.approx([0.25, 0.75, 1])
    weights = PADDED.softmax(tf.constant(pad(scores, filler)[:, 0])).numpy()
    assert weights == pytest.approx([0.25, 0.75, 0, 0, 1, 0])


def test_no_position_at_all() -> None:
    flat = FlatPositions(tf.constant([], tf.int32), tf.constant(2))
    padded = PaddedPositions(tf.constant([0, 0]), tf.constant(1), "float32")
    assert flat.sum(tf.zeros([0, 3])).numpy().tolist() == [[0] * 3] * 2
    assert padded.sum(tf.ones([2, 3])).numpy().tolist() == [[0] * 3] * 2
    assert flat.softmax(tf.zeros([0])).shape == (0,)
    assert padded.softmax(tf.ones([2])).numpy().tolist() == [0, 0]


@pytest.mark.parametrize("method", ["spread", "sum", "softmax"])
def test_gradients_equal_finite_differences(method: str) -> None:
    random = np.random.default_rng(0)
    flat = FlatPositions(tf.constant([0, 0, 2]), tf.constant(3))
    padded = PaddedPositions(tf.constant(LENGTHS), tf.constant(2), "float64")
    for positions, places in ((flat, 3), (padded, 6)):
        shape = (places,) if method == "softmax" else (3 if method == "spread" else places, 2)
        theoretical, numerical = tf.test.compute_gradient(
            lambda values, positions=positions: tf.reduce_sum(tf.sin(getattr(positions, method)(values))),
            [tf.constant(random.normal(size=shape))],
        )
        assert theoretical[0] == pytest.approx(numerical[0], abs=1e-6)
        assert np.abs(theoretical[0]).max() > 0.01
