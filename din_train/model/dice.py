"""Dice, the data adaptive activation function (paper section 5.3, equation 4)."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from din_train.model.normalization import MovingStatistics, compute_statistics, sum_rows, to_statistics_type

EPSILON = 1e-8


@keras.saving.register_keras_serializable(package="din_train")
class Dice(MovingStatistics):
    """f(s) = p(s) s + (1 - p(s)) alpha s,  p(s) = sigmoid((s - E[s]) / sqrt(Var[s] + eps)).

    In training, E and Var are those of the rows at hand, in inference moving averages. `alpha` is learned, one per
    unit, from 0. A call in training is one group of rows, whatever their number; `RankingModel.train_step` calls the
    layer for one group of a batch after another.

    Example:
        >>> import numpy as np
        >>> from din_train.model.dice import Dice
        >>> rows = np.array([[1.0], [2.0], [3.0]], np.float32)  # mean 2, variance 2/3
        >>> dice = Dice()
        >>> print(dice(rows, training=True).numpy().round(3).ravel())  # sigmoid(-1.225) = 0.227, sigmoid(0) = 0.5
        [0.227 1.    2.319]
        >>> print(dice(rows).numpy().round(3).ravel())  # the averages are that one group's so far
        [0.227 1.    2.319]
    """

    is_folded = False  # into the layers around it, in inference: see `dice_folding.py`

    def build(self, input_shape: Sequence[int | None]) -> None:
        super().build(input_shape)
        self.alpha = self.add_weight(name="alpha", shape=self.units, initializer="zeros", autocast=False)

    def call(self, inputs: tf.Tensor, weights: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """[N, U] -> [N, U].

        Args:
            weights: [N, 1], 1 where a row is valid; None where all are.
        """
        rows, weights = to_statistics_type(inputs, weights)
        if training:
            outputs, count, mean, variance = _apply_with_own_statistics(
                rows, weights, tf.convert_to_tensor(self.alpha.value)
            )
            self.update_averages(count, mean, variance)
        elif self.is_folded:
            outputs = rows * (self.alpha.value + tf.sigmoid(rows - self.moving_mean.value))
        else:
            mean, variance, alpha = self.moving_mean.value, self.moving_variance.value, self.alpha.value
            outputs = rows * (alpha + (1.0 - alpha) * tf.sigmoid((rows - mean) * tf.math.rsqrt(variance + EPSILON)))
        return tf.cast(outputs, inputs.dtype)


def _apply_with_own_statistics(
    rows: tf.Tensor, weights: tf.Tensor | None, alpha: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Apply f to rows [N, U]; also gives how many are valid, and the mean and variance f was computed with.

    The gradient is written out, since it needs half the passes over [N, U] that automatic differentiation makes.
    With z = (s - E) / sqrt(Var + eps), g the gradient of f, and d = g s p (1 - p) (1 - alpha) that of z:

        df/ds = g (alpha + (1 - alpha) p) + (d - mean(d) - z mean(d z)) / sqrt(Var + eps),  mean over valid rows
        df/dalpha = sum of g s (1 - p)
    """
    count, mean, variance = compute_statistics(rows, weights)
    scale = tf.math.rsqrt(variance + EPSILON)

    @tf.custom_gradient
    def apply(alpha: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tuple[tf.Tensor, tf.Tensor]]]:
        z = (rows - mean) * scale
        p = tf.sigmoid(z)
        slope = alpha + (1.0 - alpha) * p

        def compute_gradient(gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            product = gradient * rows
            taken = product * p
            of_alpha = sum_rows(product, weights) - sum_rows(taken, weights)
            of_z = taken - taken * p  # without (1 - alpha)
            mean_d = tf.math.divide_no_nan(sum_rows(of_z, weights), count)
            mean_dz = tf.math.divide_no_nan(sum_rows(of_z * z, weights), count)
            through_statistics = mean_d + z * mean_dz
            if weights is not None:
                through_statistics *= weights  # only valid rows have made them
            return of_alpha, gradient * slope + (of_z - through_statistics) * ((1.0 - alpha) * scale)

        return rows * slope, compute_gradient

    return apply(alpha, rows), count, mean, variance
