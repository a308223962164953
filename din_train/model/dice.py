"""Dice, the data adaptive activation function (paper section 5.3, equation 4)."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from din_train.model.normalization import (
    MovingStatistics,
    Parts,
    Weights,
    compute_statistics,
    sum_over_replicas,
    sum_rows,
    to_statistics_type,
)

EPSILON = 1e-8


@keras.saving.register_keras_serializable(package="din_train")
class Dice(MovingStatistics):
    """f(s) = p(s) s + (1 - p(s)) alpha s,  p(s) = sigmoid((s - E[s]) / sqrt(Var[s] + eps)).

    E and Var are the batch's in training and moving averages in inference; `alpha` is learned, one a unit, from 0.
    """

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        super().build(input_shape)
        self.alpha = self.add_weight(name="alpha", shape=self.units, initializer="zeros", autocast=False)

    def call(self, parts: Parts, weights: Weights | None = None, training: bool = False) -> list[tf.Tensor]:
        """Parts of [N_i, U] to as many of the same shape.

        Args:
            weights: [N_i, 1] of each part, 1 where a row is valid, None where all are.
        """
        inputs, weights = to_statistics_type(parts, weights)
        if training:
            outputs, rows, mean, variance = _apply_with_batch_statistics(
                inputs, weights, tf.convert_to_tensor(self.alpha.value)
            )
            self.update_averages(rows, mean, variance)
        else:
            mean, variance, alpha = self.moving_mean.value, self.moving_variance.value, self.alpha.value
            scale = tf.math.rsqrt(variance + EPSILON)
            outputs = [part * (alpha + (1.0 - alpha) * tf.sigmoid((part - mean) * scale)) for part in inputs]
        return [tf.cast(output, part.dtype) for output, part in zip(outputs, parts, strict=True)]


def _apply_with_batch_statistics(
    parts: Parts, weights: Weights, alpha: tf.Tensor
) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor, tf.Tensor]:
    """Apply f to each part; also gives the rows, mean and variance it was computed with.

    The gradient is written out, since it needs half the passes over [N, U] that automatic differentiation makes.
    With z = (s - E) / sqrt(Var + eps), g the gradient of f, and d = g s p (1 - p) (1 - alpha) that of z:

        df/ds = g (alpha + (1 - alpha) p) + (d - mean(d) - z mean(d z)) / sqrt(Var + eps),  mean over valid rows
        df/dalpha = sum of g s (1 - p)
    """
    rows, mean, variance = compute_statistics(parts, weights)
    scale = tf.math.rsqrt(variance + EPSILON)

    @tf.custom_gradient
    def apply(alpha: tf.Tensor, *parts: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., list[tf.Tensor]]]:
        zs = [(part - mean) * scale for part in parts]
        ps = [tf.sigmoid(z) for z in zs]
        slopes = [alpha + (1.0 - alpha) * p for p in ps]

        def compute_gradient(*gradients: tf.Tensor) -> list[tf.Tensor]:
            products = [gradient * part for gradient, part in zip(gradients, parts, strict=True)]
            taken = [product * p for product, p in zip(products, ps, strict=True)]
            of_alpha = sum_rows(products, weights) - sum_rows(taken, weights)
            of_zs = [take - take * p for take, p in zip(taken, ps, strict=True)]  # without (1 - alpha)
            of_zs_by_z = [of_z * z for of_z, z in zip(of_zs, zs, strict=True)]
            mean_d = tf.math.divide_no_nan(sum_over_replicas(sum_rows(of_zs, weights)), rows)
            mean_dz = tf.math.divide_no_nan(sum_over_replicas(sum_rows(of_zs_by_z, weights)), rows)
            factor = (1.0 - alpha) * scale
            through_statistics = [  # which only valid rows have made
                mean_d + z * mean_dz if weight is None else weight * (mean_d + z * mean_dz)
                for z, weight in zip(zs, weights, strict=True)
            ]
            of_parts = [
                gradient * slope + (of_z - through) * factor
                for gradient, slope, of_z, through in zip(gradients, slopes, of_zs, through_statistics, strict=True)
            ]
            return [of_alpha, *of_parts]

        return [part * slope for part, slope in zip(parts, slopes, strict=True)], compute_gradient

    return list(apply(alpha, *parts)), rows, mean, variance
