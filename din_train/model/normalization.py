"""Batch norm over valid rows, and the affine that is left of it when its statistics are frozen."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.moving_statistics import (
    MovingStatistics,
    Parts,
    Weights,
    compute_statistics,
    to_statistics_type,
)

EPSILON = 1e-3  # Keras's and the authors'


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
