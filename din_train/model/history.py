"""Histories without their padding: the valid positions of a batch, laid end to end.

Padding is most of a padded batch, and what is not there cannot reach a sum, a softmax, or batch statistics.
"""

import tensorflow as tf


def flatten_history(history_item_ids: tf.Tensor, history_length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Keep the first `history_length` positions of every row.

    Args:
        history_item_ids: [B, T] int, padded on the right.
        history_length: [B] int, at most T.

    Returns:
        The ids [N] in row order, and the row of each [N], ascending.
    """
    valid = tf.sequence_mask(history_length, tf.shape(history_item_ids)[1])  # [B, T]
    rows = tf.repeat(tf.range(tf.shape(history_length)[0]), history_length)  # [N]
    return tf.boolean_mask(history_item_ids, valid), rows


def sum_by_row(values: tf.Tensor, rows: tf.Tensor, num_rows: tf.Tensor) -> tf.Tensor:
    """[N, ...] values of valid positions -> [B, ...] sums a row; 0 for an empty history."""
    return tf.math.unsorted_segment_sum(values, rows, num_rows)


def softmax_by_row(scores: tf.Tensor, rows: tf.Tensor, num_rows: tf.Tensor) -> tf.Tensor:
    """[N] scores -> [N] weights that sum to 1 over the positions of each row."""
    highest = tf.math.unsorted_segment_max(tf.stop_gradient(scores), rows, num_rows)  # [B]
    exponents = tf.exp(scores - tf.gather(highest, rows))  # [N]
    return exponents / tf.gather(sum_by_row(exponents, rows, num_rows), rows)
