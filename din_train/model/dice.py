"""Dice, the data adaptive activation function (paper section 5.3, equation 4)."""

from typing import Any

import keras
import tensorflow as tf

EPSILON = 1e-8


@keras.saving.register_keras_serializable(package="din_train")
class Dice(keras.layers.Layer):
    """f(s) = p(s) s + (1 - p(s)) alpha s,  p(s) = sigmoid((s - E[s]) / sqrt(Var[s] + eps)).

    E and Var are the batch's in training and moving averages in inference; `alpha` is learned, one a unit, from 0.
    The first 1 / (1 - momentum) updates of the averages are a plain mean, so that a short training is not left
    with the initial 0 and 1. A batch without rows (no valid position) changes nothing.

    Input and output: [rows, U], padding not among the rows.

    Args:
        momentum: of the moving averages.
    """

    def __init__(self, *, momentum: float = 0.99, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        units = (input_shape[-1],)
        self.alpha = self.add_weight(name="alpha", shape=units, initializer="zeros")
        self.moving_mean = self.add_weight(name="moving_mean", shape=units, initializer="zeros", trainable=False)
        self.moving_variance = self.add_weight(name="moving_variance", shape=units, initializer="ones", trainable=False)
        self.updates = self.add_weight(name="updates", shape=(), initializer="zeros", trainable=False)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            mean, variance = self._compute_batch_statistics(inputs)
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        p = tf.sigmoid((inputs - mean) * tf.math.rsqrt(variance + EPSILON))
        alpha = self.alpha.value
        return inputs * (alpha + (1.0 - alpha) * p)

    def _compute_batch_statistics(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """[U] mean and variance over the rows; also moves the averages."""
        rows = tf.cast(tf.shape(inputs)[0], inputs.dtype)
        mean = tf.math.divide_no_nan(tf.reduce_sum(inputs, axis=0), rows)
        variance = tf.math.divide_no_nan(tf.reduce_sum(tf.math.squared_difference(inputs, mean), axis=0), rows)
        some = tf.cast(rows > 0, inputs.dtype)
        self.updates.assign_add(some)
        share = some * tf.maximum(1.0 - self.momentum, tf.math.divide_no_nan(1.0, self.updates.value))
        self.moving_mean.assign_add(share * (mean - self.moving_mean.value))
        self.moving_variance.assign_add(share * (variance - self.moving_variance.value))
        return mean, variance

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}


def build_activation(name: str, dtype: keras.DTypePolicy) -> keras.layers.Layer:
    """`dice`, `prelu` (one slope a unit), `sigmoid` or `relu` as a layer of the given dtype."""
    if name == "dice":
        return Dice(dtype=dtype)
    return keras.layers.PReLU(dtype=dtype) if name == "prelu" else keras.layers.Activation(name, dtype=dtype)
