"""The history positions of a batch, laid end to end: with their padding left out, or in its place.

`FlatPositions` keeps the valid positions only. Padding is most of a padded batch, so this is the form for a CPU and
for every score. `PaddedPositions` keeps all positions of blocks of rows, whose layout is regular: sums over a row are
sums over an axis. That is the form for XLA, which wants static shapes, and pays where rows of one block are of like
length.

What is not valid reaches no sum, no softmax and no batch statistics in either.
"""

from collections.abc import Sequence
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


class SharedPositions:
    """The pairs of M candidates and the behaviours of their histories, P in all, candidate by candidate.

    Args:
        length: [B] of the histories, whose valid positions are N.
        history_row: [M] which history a candidate has, ascending.
    """

    def __init__(self, length: tf.Tensor, history_row: tf.Tensor) -> None:
        self._length, self._history_row = length, history_row
        candidates = tf.shape(history_row)[0]
        of_candidates = tf.gather(length, history_row)  # [M]
        shift = tf.gather(tf.cumsum(length, exclusive=True), history_row) - tf.cumsum(of_candidates, exclusive=True)
        rows = tf.repeat(tf.range(candidates), of_candidates)  # [P]
        self.pairs = FlatPositions(rows, candidates)
        self._places = tf.range(tf.shape(rows)[0]) + tf.gather(shift, rows)

    def take(self, values: tf.Tensor) -> tf.Tensor:
        """[N, ...] of the positions -> [P, ...] of the pairs.

        Its gradient brings the pairs of a position together and sums them, ten times as fast as `tf.gather`'s.
        """

        @tf.custom_gradient
        def gather(values: tf.Tensor) -> tuple[tf.Tensor, object]:
            return tf.gather(values, self._places), self._sum_pairs

        return gather(values) if values.dtype.is_floating else tf.gather(values, self._places)

    def _sum_pairs(self, values: tf.Tensor) -> tf.Tensor:
        """[P, U] -> [N, U] sums over the candidates that a position has; 0 if its history has none."""
        histories = tf.shape(self._length)[0]
        ends = tf.searchsorted(self._history_row, tf.range(histories + 1))
        candidates = ends[1:] - ends[:-1]  # [B]
        of_positions = tf.repeat(tf.range(histories), self._length)  # [N]
        size = tf.shape(of_positions)[0]
        repeats = tf.gather(candidates, of_positions)  # [N]
        positions = tf.repeat(tf.range(size), repeats)  # [P] ascending
        # pair of the position's first candidate, less as many lengths as pairs come before those of the position
        first = tf.cumsum(candidates * self._length, exclusive=True) - tf.cumsum(self._length, exclusive=True)
        first = tf.gather(first, of_positions) + tf.range(size)
        length = tf.gather(self._length, of_positions)
        first -= tf.cumsum(repeats, exclusive=True) * length
        order = tf.gather(first, positions) + tf.range(tf.shape(positions)[0]) * tf.gather(length, positions)
        totals = tf.math.segment_sum(tf.gather(values, order), positions)  # up to the last position with a pair
        return tf.pad(totals, [[0, size - tf.shape(totals)[0]], [0, 0]])


class PaddedPositions:
    """All positions of blocks of rows, block by block and row by row, valid ones first in each row.

    Args:
        history_length: [B] int.
        shapes: rows B_j and width T_j of each block; the rows of all are B, so N is the sum of B_j * T_j.
        dtype: of the weights.
    """

    def __init__(
        self, history_length: tf.Tensor, shapes: Sequence[tuple[int | tf.Tensor, int | tf.Tensor]], dtype: str
    ) -> None:
        self._shapes = shapes
        lengths = self._split_rows(history_length)
        self._valid = [tf.sequence_mask(each, width) for each, (_, width) in zip(lengths, shapes, strict=True)]
        weights = [tf.reshape(tf.cast(each, dtype), [-1, 1]) for each in self._valid]
        self.weights: tf.Tensor | None = tf.concat(weights, axis=0)

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        blocks = self._split_rows(values)  # [B_j, U]
        return tf.concat(
            [tf.repeat(each, width, axis=0) for each, (_, width) in zip(blocks, self._shapes, strict=True)], axis=0
        )

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        tables = self._to_tables(values * tf.cast(self.weights, values.dtype))  # [B_j, T_j, U]
        return tf.concat([tf.reduce_sum(each, axis=1) for each in tables], axis=0)

    def softmax(self, scores: tf.Tensor) -> tf.Tensor:
        tables = self._to_tables(scores)  # [B_j, T_j]
        weights = [_compute_softmax(*each) for each in zip(tables, self._valid, strict=True)]
        return tf.concat([tf.reshape(each, [-1]) for each in weights], axis=0)

    def _split_rows(self, values: tf.Tensor) -> list[tf.Tensor]:
        blocks: list[tf.Tensor] = tf.split(values, [rows for rows, _ in self._shapes], num=len(self._shapes))
        return blocks

    def _to_tables(self, values: tf.Tensor) -> list[tf.Tensor]:
        """[N, ...] -> [B_j, T_j, ...] of each block."""
        blocks = tf.split(values, [rows * width for rows, width in self._shapes], num=len(self._shapes))
        return [tf.reshape(each, [*shape, *values.shape[1:]]) for each, shape in zip(blocks, self._shapes, strict=True)]


def _compute_softmax(scores: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """[B, T] each -> weights [B, T], 0 where a position is not valid."""
    lowest = tf.constant(scores.dtype.min, scores.dtype)
    highest = tf.reduce_max(tf.where(valid, tf.stop_gradient(scores), lowest), axis=1, keepdims=True)
    # padding is set to the highest before exp, which must not overflow: its product with 0 would be no number
    exponents = tf.exp(tf.where(valid, scores, highest) - highest) * tf.cast(valid, scores.dtype)
    return tf.math.divide_no_nan(exponents, tf.reduce_sum(exponents, axis=1, keepdims=True))


def flatten_history(history: tf.Tensor, history_length: tf.Tensor) -> tuple[tf.Tensor, FlatPositions]:
    """Keep the first `history_length` positions of every row.

    Args:
        history: [B, T] ids, or [B, T, E] their vectors, padded on the right.
        history_length: [B] int, at most T.

    Returns:
        [N] ids or [N, E] vectors in row order, and their positions.
    """
    num_rows = tf.shape(history_length)[0]
    valid = tf.sequence_mask(history_length, tf.shape(history)[1])  # [B, T]
    rows = tf.repeat(tf.range(num_rows), history_length)  # [N]
    return tf.boolean_mask(history, valid), FlatPositions(rows, num_rows)


def pad_history(
    blocks: Sequence[tf.Tensor], history_length: tf.Tensor, dtype: str
) -> tuple[tf.Tensor, PaddedPositions]:
    """The same with padding kept.

    Args:
        blocks: [B_j, T_j] ids of consecutive rows.
        history_length: [B] int, of the rows of all blocks.
        dtype: of the positions' weights.

    Returns:
        [N] ids, N the sum of B_j * T_j, and their positions.
    """
    shapes = [(tf.shape(each)[0], tf.shape(each)[1]) for each in blocks]
    ids = tf.concat([tf.reshape(each, [-1]) for each in blocks], axis=0)
    return ids, PaddedPositions(history_length, shapes, dtype)
