"""The factorised, padding-free unit equals the textbook one: padded, four inputs side by side, one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from din_train.model.history import flatten_history, sum_by_row
from din_train.model.local_activation_unit import LocalActivationUnit

LENGTHS = {"mixed": [3, 0, 1, 5], "one": [1], "empty": [0, 0], "full": [4, 4]}


def textbook(
    unit: LocalActivationUnit, candidate: np.ndarray, history: np.ndarray, length: int, *, normalize: bool, scale: bool
) -> np.ndarray:
    """Weights of one row in plain NumPy, sigmoid activation: MLP([q, k, q - k, q * k]) position by position."""
    scores = []
    for k in history[:length]:
        hidden = np.concatenate([candidate, k, candidate - k, candidate * k]) @ unit.kernel.numpy() + unit.bias.numpy()
        for dense in unit.dense:
            hidden = (1 / (1 + np.exp(-hidden))) @ dense.kernel.numpy() + dense.bias.numpy()
        scores.append(hidden[0])
    result = np.array(scores) / (np.sqrt(len(candidate)) if scale else 1)
    if normalize and length:
        exponents = np.exp(result - result.max())
        result = exponents / exponents.sum()
    return result


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("normalization", ["softmax", "none"])
@pytest.mark.parametrize("scale", [True, False])
def test_equals_the_textbook(lengths: list[int], normalization: str, scale: bool) -> None:
    random = np.random.default_rng(0)
    width, batch, longest = 6, len(lengths), max([*lengths, 1])
    unit = LocalActivationUnit(
        hidden_units=[5, 3], activation="sigmoid", normalization=normalization, scale=scale, dtype="float64"
    )
    unit.build((None, width))
    unit.bias.assign(random.normal(size=5))
    candidate, history = random.normal(size=(batch, width)), random.normal(size=(batch, longest, width))
    places, rows = flatten_history(np.arange(batch * longest).reshape(batch, longest), np.array(lengths, np.int32))
    behaviours = tf.gather(history.reshape(-1, width), places)
    weights = unit(tf.constant(candidate), behaviours, rows).numpy()
    expected = [
        textbook(unit, candidate[row], history[row], length, normalize=normalization == "softmax", scale=scale)
        for row, length in enumerate(lengths)
    ]
    assert weights == pytest.approx(np.concatenate(expected), abs=1e-12)
    interest = sum_by_row(weights[:, None] * behaviours, rows, batch).numpy()
    for row, length in enumerate(lengths):
        assert interest[row] == pytest.approx(expected[row] @ history[row, :length], abs=1e-12)


def test_softmax_weights_sum_to_one_over_each_history() -> None:
    unit = LocalActivationUnit(hidden_units=[4], activation="dice", normalization="softmax", scale=True)
    rows = tf.constant([0, 0, 0, 2])
    weights = unit(tf.random.normal([3, 2]), tf.random.normal([4, 2]), rows)
    assert sum_by_row(weights, rows, 3).numpy() == pytest.approx([1, 0, 1], abs=1e-6)


def test_large_scores_do_not_overflow() -> None:
    unit = LocalActivationUnit(hidden_units=[2], activation="relu", normalization="softmax", scale=False)
    weights = unit(tf.fill([1, 2], 1e18), tf.constant([[1e18, 1e18], [-1e18, 1e18]]), tf.constant([0, 0]))
    assert np.isfinite(weights.numpy()).all()


@pytest.mark.parametrize("activation", ["dice", "prelu", "sigmoid", "relu"])
def test_config_round_trip(activation: str) -> None:
    unit = LocalActivationUnit(hidden_units=[4, 2], activation=activation, normalization="none", scale=False)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(unit))
    assert again.get_config() == unit.get_config()
