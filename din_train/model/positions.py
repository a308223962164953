"""The history positions of a part of a batch, laid end to end: with their padding left out, or in its place.

`FlatPositions` keeps the valid positions only. Padding is most of a padded batch, so this is the form for a CPU and
for every score. `PaddedPositions` keeps all B * T of them, whose layout is regular: sums over a row are sums over an
axis. That is the form for XLA, which wants static shapes, and pays where rows are cut into blocks of like length.

What is not valid reaches no sum, no softmax and no batch statistics in either.
"""

from typing import Protocol

import tensorflow as tf


class Positions(Protocol):
    """N positions of B rows. `weights` is [N, 1], 1 where a position is valid, or None where all are."""

    weights: tf.Tensor | None

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """[B, U] -> [N, U]: the row's values at each of its positions."""

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        """[N, U] -> [B, U] sums over the valid positions of a row; 0 for an empty history."""

    def softmax(self, scores: tf.Tensor) -> tf.Tensor:
        """[N] -> [N] weights that sum to 1 over the valid positions of a row, 0 elsewhere."""


class FlatPositions:
    """Valid positions only.

    Args:
        rows: [N] the row of each position, ascending.
        num_rows: B.
    """

    def __init__(self, rows: tf.Tensor, num_rows: tf.Tensor) -> None:
        self.rows = rows
        self.num_rows = num_rows
        self.weights: tf.Tensor | None = None

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """Its gradient is a sum over ascending rows, several times as fast as the one `tf.gather` has."""

        @tf.custom_gradient
        def gather(values: tf.Tensor) -> tuple[tf.Tensor, object]:
            return tf.gather(values, self.rows), self.sum

        return gather(values)

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        totals = tf.math.segment_sum(values, self.rows)  # up to the last row with a position
        return tf.pad(totals, [[0, self.num_rows - tf.shape(totals)[0]], [0, 0]])

    def softmax(self, scores: tf.Tensor) -> tf.Tensor:
        highest = tf.math.segment_max(tf.stop_gradient(scores), self.rows)
        exponents = tf.exp(scores - tf.gather(highest, self.rows))[:, None]  # [N, 1]
        return tf.squeeze(exponents / self.spread(self.sum(exponents)), axis=1)


class PaddedPositions:
    """All B * T positions in row order, valid ones first in each row.

    Args:
        history_length: [B] int.
        width: T.
        dtype: of the weights.
    """

    def __init__(self, history_length: tf.Tensor, width: tf.Tensor, dtype: str) -> None:
        self._shape = (tf.shape(history_length)[0], width)
        self._valid = tf.sequence_mask(history_length, width)  # [B, T]
        self.weights: tf.Tensor | None = tf.reshape(tf.cast(self._valid, dtype), [-1, 1])

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        return tf.repeat(values, self._shape[1], axis=0)

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        weights = tf.cast(self.weights, values.dtype)
        masked = tf.reshape(values * weights, [*self._shape, values.shape[-1]])  # [B, T, U]
        return tf.reduce_sum(masked, axis=1)

    def softmax(self, scores: tf.Tensor) -> tf.Tensor:
        table = tf.reshape(scores, self._shape)  # [B, T]
        lowest = tf.constant(scores.dtype.min, scores.dtype)
        highest = tf.reduce_max(tf.where(self._valid, tf.stop_gradient(table), lowest), axis=1, keepdims=True)
        # padding is set to the highest before exp, which must not overflow: its product with 0 would be no number
        exponents = tf.exp(tf.where(self._valid, table, highest) - highest) * tf.cast(self._valid, table.dtype)
        totals = tf.reduce_sum(exponents, axis=1, keepdims=True)
        return tf.reshape(tf.math.divide_no_nan(exponents, totals), [-1])


def flatten_history(history_item_ids: tf.Tensor, history_length: tf.Tensor) -> tuple[tf.Tensor, FlatPositions]:
    """Keep the first `history_length` ids of every row.

    Args:
        history_item_ids: [B, T] int, padded on the right.
        history_length: [B] int, at most T.

    Returns:
        The ids [N] in row order, and their positions.
    """
    num_rows = tf.shape(history_length)[0]
    valid = tf.sequence_mask(history_length, tf.shape(history_item_ids)[1])  # [B, T]
    rows = tf.repeat(tf.range(num_rows), history_length)  # [N]
    return tf.boolean_mask(history_item_ids, valid), FlatPositions(rows, num_rows)


def pad_history(
    history_item_ids: tf.Tensor, history_length: tf.Tensor, dtype: str
) -> tuple[tf.Tensor, PaddedPositions]:
    """The same with padding kept: ids [B * T], and their positions."""
    positions = PaddedPositions(history_length, tf.shape(history_item_ids)[1], dtype)
    return tf.reshape(history_item_ids, [-1]), positions
