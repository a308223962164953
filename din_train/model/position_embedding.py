"""Learned vectors of a behaviour's place in the history, counted from the newest, and of the candidate's."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="din_train")
class PositionEmbedding(keras.layers.Layer):
    """Adds a vector of its place to each behaviour, 0 being the newest one's, and one of its own to the candidate.

    Counted from the newest, a place means the same in short and long histories.

    Args:
        num_positions: places with a vector of their own; older behaviours share the last one.
    """

    def __init__(self, *, num_positions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_positions = num_positions

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.table = self.add_weight(
            name="positions",
            shape=(1 + self.num_positions, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.01),
            autocast=False,
        )

    def call(self, candidate: tf.Tensor, behaviours: tf.Tensor, from_newest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Candidate [M, E] and behaviours [N, E], whose places are [N] ints, with their vectors added."""
        rows = tf.minimum(1 + from_newest, self.num_positions)
        table = tf.convert_to_tensor(self.table.value)
        return candidate + tf.cast(table[:1], candidate.dtype), behaviours + tf.cast(
            look_up(table, rows), behaviours.dtype
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_positions": self.num_positions}


def look_up(table: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """As `tf.gather`, with a dense gradient: for a small table, most of whose rows are in every batch."""

    @tf.custom_gradient
    def gather(table: tf.Tensor) -> tuple[tf.Tensor, object]:
        return tf.gather(table, rows), lambda gradient: tf.math.unsorted_segment_sum(gradient, rows, table.shape[0])

    return gather(table)
