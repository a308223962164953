"""Flat and padded positions: the same sums and weights by hand, empty histories, and what padding holds is nothing."""

import numpy as np
import pytest
import tensorflow as tf

from din_train.model.positions import FlatPositions, PaddedPositions, flatten_history, pad_history

# Three rows of 2, 0 and 1 positions.
LENGTHS = np.array([2, 0, 1], np.int32)
FLAT = FlatPositions(tf.constant([0, 0, 2]), tf.constant(3))
# Three rows of two positions, and two rows of two before a row of one.
SHAPES = [(3, 2)], [(2, 2), (1, 1)]
VALID = [0, 1, 4]  # of the positions of either


def make_padded(shapes: list[tuple[int, int]], dtype: str = "float32") -> PaddedPositions:
    return PaddedPositions(tf.constant(LENGTHS), shapes, dtype)


def pad(shapes: list[tuple[int, int]], values: list[list[float]], filler: float) -> np.ndarray:
    padded = np.full((sum(rows * width for rows, width in shapes), len(values[0])), filler, np.float32)
    padded[VALID] = values
    return padded


def test_ids_in_row_order() -> None:
    ids = tf.constant([[5, 6], [9, 9], [7, 9]])
    flat, positions = flatten_history(ids, LENGTHS)
    assert flat.numpy().tolist() == [5, 6, 7]
    assert positions.rows.numpy().tolist() == [0, 0, 2]
    padded, positions = pad_history([ids[:2], ids[2:, :1]], LENGTHS, "float32")
    assert padded.numpy().tolist() == [5, 6, 9, 9, 7]
    assert positions.weights is not None
    assert positions.weights.numpy().ravel().tolist() == [1, 1, 0, 0, 1]


def test_vectors_are_flattened_as_ids_are() -> None:
    vectors, _ = flatten_history(tf.constant([[[1, 2], [3, 4]], [[5, 6], [0, 0]]]), np.array([2, 1]))
    assert vectors.numpy().tolist() == [[1, 2], [3, 4], [5, 6]]


def test_spread_gives_each_position_its_rows_values() -> None:
    values = tf.constant([[1.0], [2.0], [3.0]])
    assert FLAT.spread(values).numpy().ravel().tolist() == [1, 1, 3]
    assert make_padded(SHAPES[0]).spread(values).numpy().ravel().tolist() == [1, 1, 2, 2, 3, 3]
    assert make_padded(SHAPES[1]).spread(values).numpy().ravel().tolist() == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("shapes", SHAPES)
def test_sums_are_of_valid_positions_and_zero_for_an_empty_history(shapes: list[tuple[int, int]]) -> None:
    values = [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]
    expected = [[3, 30], [0, 0], [3, 30]]
    assert FLAT.sum(tf.constant(values)).numpy().tolist() == expected
    assert make_padded(shapes).sum(tf.constant(pad(shapes, values, 77))).numpy().tolist() == expected


@pytest.mark.parametrize("filler", [0.0, 1e9, -1e9])
@pytest.mark.parametrize("shapes", SHAPES)
def test_softmax_by_hand(shapes: list[tuple[int, int]], filler: float) -> None:
    scores = [[0.0], [np.log(3)], [-5.0]]
    assert FLAT.softmax(tf.constant(scores, tf.float32)[:, 0]).numpy() == pytest.approx([0.25, 0.75, 1])
    weights = make_padded(shapes).softmax(tf.constant(pad(shapes, scores, filler)[:, 0])).numpy()
    assert weights == pytest.approx([0.25, 0.75, 0, 0, 1, 0][: len(weights)])


def test_no_position_at_all() -> None:
    flat = FlatPositions(tf.constant([], tf.int32), tf.constant(2))
    padded = PaddedPositions(tf.constant([0, 0]), [(2, 1)], "float32")
    assert flat.sum(tf.zeros([0, 3])).numpy().tolist() == [[0] * 3] * 2
    assert padded.sum(tf.ones([2, 3])).numpy().tolist() == [[0] * 3] * 2
    assert flat.softmax(tf.zeros([0])).shape == (0,)
    assert padded.softmax(tf.ones([2])).numpy().tolist() == [0, 0]


@pytest.mark.parametrize("method", ["spread", "sum", "softmax"])
def test_gradients_equal_finite_differences(method: str) -> None:
    random = np.random.default_rng(0)
    forms = [(FLAT, 3), *((make_padded(each, "float64"), places) for each, places in zip(SHAPES, (6, 5), strict=True))]
    for positions, places in forms:
        shape = (places,) if method == "softmax" else (3 if method == "spread" else places, 2)
        theoretical, numerical = tf.test.compute_gradient(
            lambda values, positions=positions: tf.reduce_sum(tf.sin(getattr(positions, method)(values))),
            [tf.constant(random.normal(size=shape))],
        )
        assert theoretical[0] == pytest.approx(numerical[0], abs=1e-6)
        assert np.abs(theoretical[0]).max() > 0.01
