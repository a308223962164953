"""Statistics of valid rows and their moving averages, which Dice and batch norm share, and batch norm.

In training the statistics are those of the rows that a layer is given; `RankingModel` gives it one group of a batch at
a time. Keras's BatchNormalization does not know a batch without a valid row.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

EPSILON = 1e-3  # Keras's and the authors'


class MovingStatistics(keras.layers.Layer):
    """Base of layers that use the statistics of the rows at hand in training and moving averages in inference.

    The first 1 / (1 - momentum) updates of the averages are a plain mean, so that a short training is not left
    with the initial 0 and 1. A call without rows (no valid position) changes nothing.

    Args:
        momentum: of the moving averages.
    """

    def __init__(self, *, momentum: float = 0.99, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.units = (input_shape[-1],)
        options = {"trainable": False, "autocast": False}
        self.moving_mean = self.add_weight(name="moving_mean", shape=self.units, initializer="zeros", **options)
        self.moving_variance = self.add_weight(name="moving_variance", shape=self.units, initializer="ones", **options)
        self.updates = self.add_weight(name="updates", shape=(), initializer="zeros", **options)

    def update_averages(self, rows: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Move the averages towards the statistics of some rows; by nothing if there are none.

        Inside `still_averages` nothing moves.
        """
        if getattr(_still, "on", False):
            return
        some = tf.cast(rows > 0, mean.dtype)
        self.updates.assign_add(some)
        share = some * tf.maximum(
            tf.cast(1.0 - self.momentum, mean.dtype), tf.math.divide_no_nan(1.0, self.updates.value)
        )
        for average, of_rows in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moved = average.value + share * (of_rows - average.value)
            average.assign(tf.where(share < 1.0, moved, of_rows))  # the first has nothing of what was there before

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}


_still = threading.local()  # replicas are traced in threads of their own


@contextmanager
def still_averages() -> Iterator[None]:
    """Inside, layers leave their averages alone."""
    _still.on = True
    try:
        yield
    finally:
        _still.on = False


def compute_statistics(inputs: tf.Tensor, weights: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """How many rows are valid, and their [U] mean and variance (0 of no rows).

    Args:
        inputs: [N, U].
        weights: [N, 1], 1 where a row is valid, or None where all are.
    """
    rows = tf.cast(tf.shape(inputs)[0], inputs.dtype) if weights is None else tf.reduce_sum(weights)
    mean = tf.math.divide_no_nan(sum_rows(inputs, weights), rows)
    squares = tf.math.squared_difference(inputs, mean)
    return rows, mean, tf.math.divide_no_nan(sum_rows(squares, weights), rows)


def sum_rows(values: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """[N, U] -> [U] sums of the valid rows."""
    return tf.reduce_sum(values if weights is None else values * weights, axis=0)


def to_statistics_type(inputs: tf.Tensor, weights: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Rows and their weights in the type of statistics: float32 at least.

    Keras casts what a layer is given to the layer's precision.
    """
    if inputs.dtype.size < 4:
        inputs = tf.cast(inputs, tf.float32)
    return inputs, None if weights is None else tf.cast(weights, inputs.dtype)


@keras.saving.register_keras_serializable(package="din_train")
class BatchNorm(MovingStatistics):
    """gamma (s - E[s]) / sqrt(Var[s] + eps) + beta, E and Var those of the rows at hand in training."""

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.gamma = self.add_weight(name="gamma", shape=self.units, initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=self.units, initializer="zeros", autocast=False)

    def call(self, inputs: tf.Tensor, weights: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """[N, U] -> [N, U]; `weights` as in `Dice`."""
        rows, weights = to_statistics_type(inputs, weights)
        if training:
            count, mean, variance = compute_statistics(rows, weights)
            self.update_averages(count, tf.stop_gradient(mean), tf.stop_gradient(variance))
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        scale = self.gamma.value * tf.math.rsqrt(variance + EPSILON)
        shift = self.beta.value - mean * scale
        return tf.cast(rows * scale + shift, inputs.dtype)


@keras.saving.register_keras_serializable(package="din_train")
class Affine(keras.layers.Layer):
    """gamma s / sqrt(1 + eps) + beta: the authors' batch norm, whose moving statistics stay at 0 and 1."""

    def build(self, input_shape: Sequence[int | None]) -> None:
        units = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=units, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=units, initializer="zeros")

    def call(self, inputs: tf.Tensor, weights: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """[N, U] -> [N, U]."""
        del weights, training
        scale = self.gamma.value * (1.0 + EPSILON) ** -0.5
        return inputs * scale + self.beta.value


def build_normalization(name: str, dtype: keras.DTypePolicy) -> keras.layers.Layer | None:
    """`batch` or `affine`; None for `none`."""
    layers: dict[str, Any] = {"batch": BatchNorm, "affine": Affine}
    return layers[name](dtype=dtype) if name in layers else None
