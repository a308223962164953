"""Dice in both modes by hand, its averages, and no rows at all."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from din_train.model.dice import Dice, _apply_with_own_statistics

# Two units over three rows: means 2 and 0, variances 2/3 and 6.
ROWS = np.array([[1.0, -3.0], [2.0, 0.0], [3.0, 3.0]], np.float32)


def by_hand(s: np.ndarray, mean: np.ndarray, variance: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-(s - mean) / np.sqrt(variance + 1e-8)))
    return p * s + (1 - p) * alpha * s


@pytest.fixture
def dice() -> Dice:
    layer = Dice(momentum=0.75)
    layer.build((None, 2))
    layer.alpha.assign([0.5, -0.25])
    return layer


def test_training_uses_the_statistics_of_the_rows_at_hand(dice: Dice) -> None:
    # first unit, first row: p = sigmoid(-1 / sqrt(2/3)) = sigmoid(-1.2247449) = 0.2271035
    # f = 0.2271035 * 1 + 0.7728965 * 0.5 * 1 = 0.6135517
    out = dice(ROWS, training=True).numpy()
    assert out[0, 0] == pytest.approx(0.6135517, abs=1e-6)
    expected = by_hand(ROWS, np.array([2, 0]), np.array([2 / 3, 6]), np.array([0.5, -0.25]))
    assert out == pytest.approx(expected, abs=1e-6)


def test_inference_uses_the_moving_averages(dice: Dice) -> None:
    dice.moving_mean.assign([1.0, -1.0])
    dice.moving_variance.assign([4.0, 0.25])
    # second unit, second row: p = sigmoid((0 + 1) / 0.5); f = 0
    # first unit, third row: p = sigmoid(1) = 0.7310586; f = 0.7310586 * 3 + 0.2689414 * 0.5 * 3 = 2.5965879
    out = dice(ROWS, training=False).numpy()
    assert out[1, 1] == 0.0
    assert out[2, 0] == pytest.approx(2.5965879, abs=1e-6)
    assert out == pytest.approx(by_hand(ROWS, np.array([1, -1]), np.array([4, 0.25]), np.array([0.5, -0.25])), abs=1e-6)
    assert dice.moving_mean.numpy().tolist() == [1.0, -1.0]


def test_averages_are_a_plain_mean_at_first_then_move_with_momentum(dice: Dice) -> None:
    means = [1.0, 3.0, 8.0, 4.0, 9.0, 7.0]
    for mean in means:
        dice(np.full((4, 2), mean, np.float32), training=True)
    expected = np.mean(means[:4])  # 1 / (1 - 0.75) updates
    for mean in means[4:]:
        expected = 0.75 * expected + 0.25 * mean
    assert dice.moving_mean.numpy() == pytest.approx([expected] * 2)
    assert dice.moving_variance.numpy() == pytest.approx([0.0, 0.0])


def test_no_rows_give_no_output_and_move_nothing(dice: Dice) -> None:
    dice(ROWS, training=True)
    before = [weight.numpy().tolist() for weight in dice.weights]
    with tf.GradientTape() as tape:
        out = dice(np.empty((0, 2), np.float32), training=True)
        loss = tf.reduce_sum(out)
    assert out.shape == (0, 2)
    assert [weight.numpy().tolist() for weight in dice.weights] == before
    assert tape.gradient(loss, dice.alpha.value).numpy().tolist() == [0.0, 0.0]


# The three rows with two of padding between them.
PADDED = np.array([ROWS[0], [1e3, 1e3], ROWS[1], [-1e3, 0.0], ROWS[2]], np.float64)
VALID = np.array([[1.0], [0.0], [1.0], [0.0], [1.0]])


@pytest.mark.parametrize("training", [True, False])
def test_rows_of_padding_change_neither_outputs_nor_averages(training: bool) -> None:
    layers = [Dice(dtype="float64"), Dice(dtype="float64")]
    for layer in layers:
        layer.build((None, 2))
        layer.alpha.assign([0.5, -0.25])
    expected = layers[0](ROWS.astype(np.float64), training=training).numpy()
    out = layers[1](PADDED, weights=VALID, training=training).numpy()
    assert out[VALID[:, 0] > 0] == pytest.approx(expected, abs=1e-12)
    for one, other in zip(layers[0].weights, layers[1].weights, strict=True):
        assert other.numpy() == pytest.approx(one.numpy(), abs=1e-12)


@pytest.mark.parametrize(("rows", "weights"), [(ROWS.astype(np.float64), None), (PADDED, VALID)], ids=["all", "padded"])
def test_gradients_equal_finite_differences(rows: np.ndarray, weights: np.ndarray | None) -> None:
    """The written-out gradient, of the inputs and of alpha."""

    def compute_loss(alpha: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        output, *_ = _apply_with_own_statistics(rows, weights, alpha)
        return tf.reduce_sum(tf.sin(output) * (1.0 if weights is None else weights))

    arguments = [tf.constant([0.5, -0.25], tf.float64), tf.constant(rows)]
    theoretical, numerical = tf.test.compute_gradient(compute_loss, arguments, delta=1e-6)
    for one, other in zip(theoretical, numerical, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert np.abs(theoretical[0]).max() > 0.01


def test_in_a_model_of_keras() -> None:
    model = keras.Sequential([keras.Input((2,)), Dice()])
    assert model.output_shape == (None, 2)
    again = keras.Sequential.from_config(model.get_config())
    again.set_weights(model.get_weights())
    assert again(ROWS).numpy().tolist() == model(ROWS).numpy().tolist()


def test_bfloat16_is_of_the_output_and_statistics_are_float32() -> None:
    layer = Dice(dtype="mixed_bfloat16")
    assert layer(ROWS, training=True).dtype == tf.bfloat16
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    assert layer.moving_variance.numpy() == pytest.approx([2 / 3, 6])


def test_config_round_trip() -> None:
    layer = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Dice(momentum=0.5)))
    assert isinstance(layer, Dice)
    assert layer.momentum == 0.5
