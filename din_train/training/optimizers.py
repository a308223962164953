"""Row-wise (lazy) optimisers: they leave those rows of an embedding table alone that a batch does not hold.

A dense update of a table costs as much as the model, and a batch holds only a few thousand of its rows. `RowWise` adds
to all optimisers what Keras lacks for gradients that are rows (`tf.IndexedSlices`): the rows of one id are summed once
per step, before anything is computed from them (Keras's own global norm takes them one by one, and gets 6.32 for 7.21),
regularisation and clipping act on those sums, and `weight_decay` leaves tables alone.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.config import OptimizerConfig
from din_train.model.replicas import sum_rows_by_id
from din_train.training.regularization import TableRegularizer

Gradient = Any  # tf.Tensor | tf.IndexedSlices; TensorFlow ships no types


class RowWise:
    """Mixed into a Keras optimiser, in front of it.

    Args:
        clip_norm: scale gradients down to this global norm; None leaves them.
        regularizer: adds the tables' L2 to their gradients; None adds nothing.
        static_shapes: sum the rows of one id without knowing how many ids there are, which XLA needs.
    """

    def __init__(
        self,
        *args: Any,
        clip_norm: float | None = None,
        regularizer: TableRegularizer | None = None,
        static_shapes: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.clip_norm = clip_norm
        self.regularizer = regularizer
        self.static_shapes = static_shapes

    def _backend_update_step(
        self, grads: Sequence[Gradient], trainable_variables: Sequence[tf.Variable], learning_rate: tf.Tensor
    ) -> None:
        """Keras's step, with the rows of one id summed.

        Where there are replicas, the gradients are of all of them already: `RankingModel.train_step` has summed them.
        """
        variables = [getattr(variable, "value", variable) for variable in trainable_variables]
        gradients = [self._sum_rows_of_one_id(gradient) for gradient in grads]
        if self.regularizer is not None:
            gradients = [
                self.regularizer.add_to(gradient, variable, getattr(known, "path", ""))
                for gradient, variable, known in zip(gradients, variables, trainable_variables, strict=True)
            ]
        if self.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
        tf.__internal__.distribute.interim.maybe_merge_call(
            self._distributed_tf_update_step,  # type: ignore[attr-defined]
            self._distribution_strategy,  # type: ignore[attr-defined]
            list(zip(gradients, variables, strict=True)),
            learning_rate,
        )

    def _sum_rows_of_one_id(self, gradient: Gradient) -> Gradient:
        if not isinstance(gradient, tf.IndexedSlices):
            return gradient
        sum_rows = _sum_rows_with_static_shapes if self.static_shapes else sum_rows_by_id
        return sum_rows(gradient)


@keras.saving.register_keras_serializable(package="din_train")
class LazySGD(RowWise, keras.optimizers.SGD):
    """SGD without momentum, on rows."""

    def update_step(self, gradient: Gradient, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        _subtract_rows(variable, gradient.indices, tf.cast(learning_rate, variable.dtype) * gradient.values)


@keras.saving.register_keras_serializable(package="din_train")
class LazyAdagrad(RowWise, keras.optimizers.Adagrad):
    """Adagrad; for a sparse gradient accumulators and weights move only in the rows it names."""

    def update_step(self, gradient: Gradient, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        accumulator = self._accumulators[self._get_variable_index(variable)].value
        rows, values = gradient.indices, gradient.values  # [M], [M, E]
        total = tf.gather(accumulator, rows) + tf.square(values)
        accumulator.scatter_update(tf.IndexedSlices(total, rows))
        change = tf.cast(learning_rate, variable.dtype) * values / tf.sqrt(total + self.epsilon)
        _subtract_rows(variable, rows, change)


class _LazyMoments(RowWise):
    """Adam's update of rows. Bias correction counts steps, not a row's own updates."""

    def update_step(self, gradient: Gradient, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]
            return
        optimizer: Any = self
        index = optimizer._get_variable_index(variable)
        momentum, velocity = optimizer._momentums[index].value, optimizer._velocities[index].value
        step = tf.cast(optimizer.iterations.value + 1, variable.dtype)
        correction = tf.sqrt(1.0 - optimizer.beta_2**step) / (1.0 - optimizer.beta_1**step)
        rate = tf.cast(learning_rate, variable.dtype) * correction

        rows, values = gradient.indices, gradient.values  # [M], [M, E]
        new_momentum = optimizer.beta_1 * tf.gather(momentum, rows) + (1.0 - optimizer.beta_1) * values
        new_velocity = optimizer.beta_2 * tf.gather(velocity, rows) + (1.0 - optimizer.beta_2) * tf.square(values)
        momentum.scatter_update(tf.IndexedSlices(new_momentum, rows))
        velocity.scatter_update(tf.IndexedSlices(new_velocity, rows))
        change = rate * new_momentum / (tf.sqrt(new_velocity) + optimizer.epsilon)
        _subtract_rows(variable, rows, change)


@keras.saving.register_keras_serializable(package="din_train")
class LazyAdam(_LazyMoments, keras.optimizers.Adam):
    """Adam; for a sparse gradient moments and weights move only in the rows it names."""


@keras.saving.register_keras_serializable(package="din_train")
class LazyAdamW(_LazyMoments, keras.optimizers.AdamW):
    """`LazyAdam` with decoupled weight decay of everything but tables, which `exclude_from_weight_decay` names."""


def build_optimizer(
    config: OptimizerConfig,
    *,
    regularizer: TableRegularizer | None = None,
    static_shapes: bool = False,
    epochs: int = 1,
    steps_per_epoch: int = 1,
) -> keras.optimizers.Optimizer:
    """The configured optimiser, with its step schedule if it has one. A plateau schedule is a callback's work.

    Args:
        epochs: `training.epochs`, of a refit too, so that its rate is cut where the first training's was.
        steps_per_epoch: with `epochs` it says at which steps a schedule by epochs or by shares cuts the rate.
    """
    rate: Any = config.learning_rate
    if config.schedule.name == "step":
        steps = config.schedule.find_steps(epochs=epochs, steps_per_epoch=steps_per_epoch)
        rates = [config.learning_rate * config.schedule.factor**cut for cut in range(len(steps) + 1)]
        # Keras's boundaries are the last step of a rate
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([step - 1 for step in steps], rates)
    options: dict[str, Any] = {
        "clip_norm": config.clip_norm,
        "regularizer": regularizer,
        "static_shapes": static_shapes,
    }
    match config.name:
        case "sgd":
            return LazySGD(rate, **options)
        case "adagrad":
            return LazyAdagrad(rate, **options)
        case "adamw":
            return LazyAdamW(rate, weight_decay=config.weight_decay, **options)
    return LazyAdam(rate, **options)


def _subtract_rows(variable: tf.Variable, rows: tf.Tensor, change: tf.Tensor) -> None:
    """Subtract a change from rows of different ids. Reading and writing them takes half the time of `scatter_sub`."""
    variable.scatter_update(tf.IndexedSlices(tf.gather(variable, rows) - change, rows))


def _sum_rows_with_static_shapes(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """One row per id in ascending order, then rows of zeros for the padding id, so that there are as many as before.

    The padding id's own row has a gradient of zeros (no history and no candidate is padding), so writing it more
    than once writes the same.
    """
    order = tf.argsort(gradient.indices)
    indices = tf.gather(gradient.indices, order)
    first = tf.concat([[0], tf.cast(indices[1:] != indices[:-1], tf.int32)], axis=0)
    places = tf.cumsum(first)  # [n], 0 .. M - 1
    size = tf.shape(indices)[0]
    values = tf.math.unsorted_segment_sum(tf.gather(gradient.values, order), places, size)
    ids = tf.math.unsorted_segment_max(indices, places, size)
    ids = tf.where(tf.range(size) <= places[-1], ids, tf.zeros_like(ids))
    return tf.IndexedSlices(values, ids, gradient.dense_shape)
