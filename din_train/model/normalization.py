"""Statistics of a batch's valid rows and their moving averages, which Dice and batch norm share, and batch norm.

A batch comes in parts (see `RankingModel`); statistics are those of all its parts together, and of all replicas.
Keras's BatchNormalization knows neither parts nor a batch without a valid row.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

EPSILON = 1e-3  # Keras's and the authors'

Parts = Sequence[tf.Tensor]
Weights = Sequence[tf.Tensor | None]


class MovingStatistics(keras.layers.Layer):
    """Base of layers that use the batch's statistics in training and moving averages in inference.

    The first 1 / (1 - momentum) updates of the averages are a plain mean, so that a short training is not left
    with the initial 0 and 1. A batch without rows (no valid position) changes nothing.

    Args:
        momentum: of the moving averages.
    """

    def __init__(self, *, momentum: float = 0.99, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        self.units = (input_shape[0][-1],)
        options = {"trainable": False, "autocast": False, "aggregation": "mean"}
        self.moving_mean = self.add_weight(name="moving_mean", shape=self.units, initializer="zeros", **options)
        self.moving_variance = self.add_weight(name="moving_variance", shape=self.units, initializer="ones", **options)
        self.updates = self.add_weight(name="updates", shape=(), initializer="zeros", **options)

    def update_averages(self, rows: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Move the averages towards a batch's statistics; by nothing if it has no rows."""
        some = tf.cast(rows > 0, mean.dtype)
        self.updates.assign_add(some)
        share = some * tf.maximum(
            tf.cast(1.0 - self.momentum, mean.dtype), tf.math.divide_no_nan(1.0, self.updates.value)
        )
        self.moving_mean.assign_add(share * (mean - self.moving_mean.value))
        self.moving_variance.assign_add(share * (variance - self.moving_variance.value))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}


def compute_statistics(parts: Parts, weights: Weights) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """How many valid rows all parts have, and their [U] mean and variance (0 of no rows).

    Args:
        parts: [N_i, U] each.
        weights: [N_i, 1] each, 1 where a row is valid, or None where all are.
    """
    counts = [
        tf.cast(tf.shape(part)[0], part.dtype) if weight is None else tf.reduce_sum(weight)
        for part, weight in zip(parts, weights, strict=True)
    ]
    rows = sum_over_replicas(tf.add_n(counts))
    mean = tf.math.divide_no_nan(sum_over_replicas(sum_rows(parts, weights)), rows)
    squares = [tf.math.squared_difference(part, mean) for part in parts]
    return rows, mean, tf.math.divide_no_nan(sum_over_replicas(sum_rows(squares, weights)), rows)


def sum_rows(parts: Parts, weights: Weights) -> tf.Tensor:
    """[U] sums of the valid rows of all parts."""
    masked = (part if weight is None else part * weight for part, weight in zip(parts, weights, strict=True))
    return tf.add_n([tf.reduce_sum(each, axis=0) for each in masked])


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The sum of every replica's value under a distribution strategy, the value itself without one."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce("SUM", value)


def to_statistics_type(parts: Parts, weights: Weights | None) -> tuple[Parts, Weights]:
    """Parts and their weights (None: all rows are valid) in the type of statistics: float32 at least.

    Keras casts what a layer is given to the layer's precision.
    """
    inputs = [tf.cast(part, tf.float32) if part.dtype.size < 4 else part for part in parts]
    if weights is None:
        return inputs, [None] * len(inputs)
    return inputs, [
        None if weight is None else tf.cast(weight, part.dtype) for part, weight in zip(inputs, weights, strict=True)
    ]


@keras.saving.register_keras_serializable(package="din_train")
class BatchNorm(MovingStatistics):
    """gamma (s - E[s]) / sqrt(Var[s] + eps) + beta, with the batch's statistics in training."""

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        super().build(input_shape)
        self.gamma = self.add_weight(name="gamma", shape=self.units, initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=self.units, initializer="zeros", autocast=False)

    def call(self, parts: Parts, weights: Weights | None = None, training: bool = False) -> list[tf.Tensor]:
        """Parts of [N_i, U] to as many of the same shape; `weights` as in `Dice`."""
        inputs, weights = to_statistics_type(parts, weights)
        if training:
            rows, mean, variance = compute_statistics(inputs, weights)
            self.update_averages(rows, tf.stop_gradient(mean), tf.stop_gradient(variance))
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        scale = self.gamma.value * tf.math.rsqrt(variance + EPSILON)
        shift = self.beta.value - mean * scale
        return [tf.cast(each * scale + shift, part.dtype) for each, part in zip(inputs, parts, strict=True)]


@keras.saving.register_keras_serializable(package="din_train")
class Affine(keras.layers.Layer):
    """gamma s / sqrt(1 + eps) + beta: the authors' batch norm, whose moving statistics stay at 0 and 1."""

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        units = (input_shape[0][-1],)
        self.gamma = self.add_weight(name="gamma", shape=units, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=units, initializer="zeros")

    def call(self, parts: Parts, weights: Weights | None = None, training: bool = False) -> list[tf.Tensor]:
        """Parts of [N_i, U] to as many of the same shape."""
        del weights, training
        scale = self.gamma.value * (1.0 + EPSILON) ** -0.5
        return [part * scale + self.beta.value for part in parts]


def build_normalization(name: str, dtype: keras.DTypePolicy) -> keras.layers.Layer | None:
    """`batch` or `affine`; None for `none`."""
    layers: dict[str, Any] = {"batch": BatchNorm, "affine": Affine}
    return layers[name](dtype=dtype) if name in layers else None
