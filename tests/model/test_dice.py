"""Dice in both modes by hand, its averages, and no rows at all."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from din_train.model.dice import Dice, _apply_with_batch_statistics

# Two units over three rows: means 2 and 0, variances 2/3 and 6.
ROWS = np.array([[1.0, -3.0], [2.0, 0.0], [3.0, 3.0]], np.float32)


def by_hand(s: np.ndarray, mean: np.ndarray, variance: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-(s - mean) / np.sqrt(variance + 1e-8)))
    return p * s + (1 - p) * alpha * s


@pytest.fixture
def dice() -> Dice:
    layer = Dice(momentum=0.75)
    layer.build([(None, 2)])
    layer.alpha.assign([0.5, -0.25])
    return layer


def test_training_uses_the_batchs_statistics(dice: Dice) -> None:
    # first unit, first row: p = sigmoid(-1 / sqrt(2/3)) = sigmoid(-1.2247449) = 0.2271035
    # f = 0.2271035 * 1 + 0.7728965 * 0.5 * 1 = 0.6135517
    out = dice([ROWS], training=True)[0].numpy()
    assert out[0, 0] == pytest.approx(0.6135517, abs=1e-6)
    expected = by_hand(ROWS, np.array([2, 0]), np.array([2 / 3, 6]), np.array([0.5, -0.25]))
    assert out == pytest.approx(expected, abs=1e-6)


def test_inference_uses_the_moving_averages(dice: Dice) -> None:
    dice.moving_mean.assign([1.0, -1.0])
    dice.moving_variance.assign([4.0, 0.25])
    # second unit, second row: p = sigmoid((0 + 1) / 0.5); f = 0
    # first unit, third row: p = sigmoid(1) = 0.7310586; f = 0.7310586 * 3 + 0.2689414 * 0.5 * 3 = 2.5965879
    out = dice([ROWS], training=False)[0].numpy()
    assert out[1, 1] == 0.0
    assert out[2, 0] == pytest.approx(2.5965879, abs=1e-6)
    assert out == pytest.approx(by_hand(ROWS, np.array([1, -1]), np.array([4, 0.25]), np.array([0.5, -0.25])), abs=1e-6)
    assert dice.moving_mean.numpy().tolist() == [1.0, -1.0]


def test_averages_are_a_plain_mean_at_first_then_move_with_momentum(dice: Dice) -> None:
    means = [1.0, 3.0, 8.0, 4.0, 9.0, 7.0]
    for mean in means:
        dice([np.full((4, 2), mean, np.float32)], training=True)
    expected = np.mean(means[:4])  # 1 / (1 - 0.75) updates
    for mean in means[4:]:
        expected = 0.75 * expected + 0.25 * mean
    assert dice.moving_mean.numpy() == pytest.approx([expected] * 2)
    assert dice.moving_variance.numpy() == pytest.approx([0.0, 0.0])


def test_no_rows_give_no_output_and_move_nothing(dice: Dice) -> None:
    dice([ROWS], training=True)
    before = [weight.numpy().tolist() for weight in dice.weights]
    with tf.GradientTape() as tape:
        (out,) = dice([np.empty((0, 2), np.float32)], training=True)
        loss = tf.reduce_sum(out)
    assert out.shape == (0, 2)
    assert [weight.numpy().tolist() for weight in dice.weights] == before
    assert tape.gradient(loss, dice.alpha.value).numpy().tolist() == [0.0, 0.0]


# Whole, in parts (one of them empty), and with rows that are padding.
CUTS = {
    "whole": ([slice(0, 3)], None),
    "parts": ([slice(0, 1), slice(1, 1), slice(1, 3)], None),
    "padded": ([slice(0, 2), slice(2, 3)], [[1.0, 0.0, 1.0], [0.0, 1.0]]),
}


def cut_rows(rows: np.ndarray, name: str) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """The three rows as the parts of a cut, padding (1e3) where weights say so."""
    slices, weights = CUTS[name]
    parts = [rows[each] for each in slices]
    if weights is None:
        return parts, [None] * len(parts)
    padded = []
    for part, valid in zip(parts, weights, strict=True):
        rows = iter(part)
        padded.append(np.array([next(rows) if each else np.full(2, 1e3) for each in valid], part.dtype))
    return padded, [np.array(each, parts[0].dtype)[:, None] for each in weights]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("training", [True, False])
def test_the_cut_changes_neither_outputs_nor_averages(cut: str, training: bool) -> None:
    layers = [Dice(dtype="float64"), Dice(dtype="float64")]
    outputs = []
    for layer, each in zip(layers, ("whole", cut), strict=True):
        layer.build([(None, 2)])
        layer.alpha.assign([0.5, -0.25])
        parts, weights = cut_rows(ROWS.astype(np.float64), each)
        result = np.concatenate(layer(parts, weights=weights, training=training))
        valid = [np.ones(len(part)) if w is None else w[:, 0] for part, w in zip(parts, weights, strict=True)]
        outputs.append(result[np.concatenate(valid) > 0])
    assert outputs[1] == pytest.approx(outputs[0], abs=1e-12)
    for one, other in zip(layers[0].weights, layers[1].weights, strict=True):
        assert other.numpy() == pytest.approx(one.numpy(), abs=1e-12)


@pytest.mark.parametrize("cut", CUTS)
def test_gradients_equal_finite_differences(cut: str) -> None:
    """The written-out gradient, of the inputs and of alpha."""
    parts, weights = cut_rows(ROWS.astype(np.float64), cut)

    def compute_loss(alpha: tf.Tensor, *parts: tf.Tensor) -> tf.Tensor:
        outputs, *_ = _apply_with_batch_statistics(parts, weights, alpha)
        valid = [tf.ones_like(part) if w is None else w for part, w in zip(parts, weights, strict=True)]
        return tf.add_n([tf.reduce_sum(tf.sin(output) * mask) for output, mask in zip(outputs, valid, strict=True)])

    arguments = [tf.constant([0.5, -0.25], tf.float64), *[tf.constant(part) for part in parts if len(part)]]
    if cut == "parts":
        del weights[1]
    theoretical, numerical = tf.test.compute_gradient(compute_loss, arguments, delta=1e-6)
    for one, other in zip(theoretical, numerical, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert np.abs(theoretical[0]).max() > 0.01


def test_config_round_trip() -> None:
    layer = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Dice(momentum=0.5)))
    assert isinstance(layer, Dice)
    assert layer.momentum == 0.5
