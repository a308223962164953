"""Row-wise (lazy) optimisers: an embedding table's rows that a batch does not hold are not touched.

A dense update of a table costs as much as the model; a batch holds a few thousand of its rows.
"""

import keras
import tensorflow as tf

from din_train.config import OptimizerConfig


@keras.saving.register_keras_serializable(package="din_train")
class LazyAdam(keras.optimizers.Adam):
    """Adam; for a sparse gradient (`tf.IndexedSlices`) moments and weights move only in the rows it names.

    Bias correction counts steps, not a row's own updates. Rows named twice are summed first.
    """

    def update_step(
        self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        correction = tf.sqrt(1.0 - self.beta_2**step) / (1.0 - self.beta_1**step)
        rate = tf.cast(learning_rate, variable.dtype) * correction

        rows, values = _sum_repeated_rows(gradient)  # [M], [M, E]
        new_momentum = self.beta_1 * tf.gather(momentum, rows) + (1.0 - self.beta_1) * values
        new_velocity = self.beta_2 * tf.gather(velocity, rows) + (1.0 - self.beta_2) * tf.square(values)
        momentum.scatter_update(tf.IndexedSlices(new_momentum, rows))
        velocity.scatter_update(tf.IndexedSlices(new_velocity, rows))
        change = rate * new_momentum / (tf.sqrt(new_velocity) + self.epsilon)
        variable.scatter_sub(tf.IndexedSlices(change, rows))


def build_optimizer(config: OptimizerConfig) -> keras.optimizers.Optimizer:
    """`adam` (lazy) or `sgd` (Keras's own, which is row-wise already)."""
    if config.name == "sgd":
        return keras.optimizers.SGD(config.learning_rate)
    return LazyAdam(config.learning_rate)


def _sum_repeated_rows(gradient: tf.IndexedSlices) -> tuple[tf.Tensor, tf.Tensor]:
    rows, places = tf.unique(gradient.indices)
    return rows, tf.math.unsorted_segment_sum(gradient.values, places, tf.shape(rows)[0])
