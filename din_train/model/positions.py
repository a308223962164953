"""The history positions of a batch, laid end to end: with their padding left out, or in its place.

`FlatPositions` keeps the valid positions only. Padding is most of a padded batch, so this is the form for a CPU and
for every score. `PaddedPositions` keeps all positions of blocks of rows, whose layout is regular: sums over a row are
sums over an axis. That is the form for XLA, which wants static shapes, and pays where rows of one block are of like
length.

What is not valid reaches no sum, no softmax and no batch statistics in either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import tensorflow as tf

# Shares of the rows, ascending by length, at which the tables of flat positions end, so that a long row is among few.
_TABLE_ENDS = (7 / 8, 1)

# [n, U] states before a position and what stands there, [n, W] -> [n, U] states after it.
Step = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Positions(Protocol):
    """N positions of B rows. `weights` is [N, 1], 1 where a position is valid, or None where all are."""

    weights: tf.Tensor | None

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """[B, U] -> [N, U]: the row's values at each of its positions."""

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        """[N, U] -> [B, U] sums over the valid positions of a row; 0 for an empty history."""

    def softmax(self, scores: tf.Tensor) -> tf.Tensor:
        """[N] -> [N] weights that sum to 1 over the valid positions of a row, 0 elsewhere."""

    def count_from_newest(self) -> tf.Tensor:
        """[N] int: 0 for the last valid position of a row, 1 for the one before it, ...; 0 for padding."""

    def scan(self, step: Step, values: tf.Tensor, units: int) -> tf.Tensor:
        """[N, W] -> [N, units] states along each row, from zeros before its first position."""

    def to_tables(self, values: tf.Tensor) -> tuple["list[Table]", Callable[[Sequence[tf.Tensor]], tf.Tensor]]:
        """[N, U] as tables of rows, and what puts the tables' [R_j, V] results together: [B, V] in the rows' order."""


class PairedBehaviours:
    """Behaviours [N, E] of histories, each with the candidates [M, E] that look at its history: P pairs.

    Args:
        behaviours: [N, E].
        positions: of the pairs, candidate by candidate.
        to_pairs: [N, ...] of behaviours -> [P, ...] of pairs; None if each candidate has its own history (P = N).
    """

    def __init__(
        self, behaviours: tf.Tensor, positions: Positions, to_pairs: Callable[[tf.Tensor], tf.Tensor] | None = None
    ) -> None:
        self.behaviours, self.positions = behaviours, positions
        self.to_pairs = to_pairs or tf.identity

    @cached_property
    def values(self) -> tf.Tensor:
        """[P, E]."""
        return self.to_pairs(self.behaviours)

    def sum(self, weights: tf.Tensor) -> tf.Tensor:
        """[P] -> [M, E] the weighted sum over the valid positions of each candidate; 0 for an empty history."""
        return self.positions.sum(weights[:, None] * self.values)

    def multiply(self, candidate: tf.Tensor) -> tf.Tensor:
        """[M, E] -> [P] its scalar product with each behaviour."""
        return tf.reduce_sum(self.positions.spread(candidate) * self.values, axis=1)

    def apply_kernels(
        self,
        of_behaviours: tf.Tensor,
        candidate: tf.Tensor,
        of_product: tf.Tensor | None,
        of_candidate: tf.Tensor | None,
    ) -> tf.Tensor:
        """b_k + Wp (q * k) + Wc q of every pair [P, U].

        Args:
            of_behaviours: [N, U] b.
            candidate: [M, E] q.
            of_product, of_candidate: [E, U] Wp and Wc; None leaves its term out.
        """
        hidden = self.to_pairs(of_behaviours)
        if of_product is not None:
            hidden += tf.matmul(self.positions.spread(candidate) * self.values, of_product)
        if of_candidate is not None:
            hidden += self.positions.spread(tf.matmul(candidate, of_candidate))
        return hidden


@dataclass(frozen=True)
class Table:
    """Some of the rows, padded to one width.

    rows: [R] which, of B. values: [R, T, U]. valid: [R, T] bool.
    """

    rows: tf.Tensor
    values: tf.Tensor
    valid: tf.Tensor


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

    def count_from_newest(self) -> tf.Tensor:
        return tf.gather(tf.cumsum(self._count()), self.rows) - 1 - tf.range(tf.shape(self.rows)[0])

    def scan(self, step: Step, values: tf.Tensor, units: int) -> tf.Tensor:
        """All first positions at once, then all second ones, ...; the longest rows stand first, so that others end."""
        length = self._count()
        longest = tf.reduce_max(tf.concat([length, [1]], axis=0))  # an array of no tensors is an error
        by_length = tf.argsort(length, direction="DESCENDING", stable=True)
        times = tf.range(longest)[:, None]  # [T, 1]
        active = tf.gather(length, by_length) > times  # [T, B]
        starts = tf.gather(tf.cumsum(length, exclusive=True), by_length)
        order = tf.boolean_mask(starts + times, active)  # [N], by time
        counts = tf.reduce_sum(tf.cast(active, tf.int32), axis=1)  # [T]
        back = tf.math.invert_permutation(order)
        inputs = _make_array(values, longest).split(_permute(values, order, back), counts)

        def walk(time: tf.Tensor, state: tf.Tensor, states: tf.TensorArray) -> tuple[tf.Tensor, ...]:
            inputs_now = tf.ensure_shape(inputs.read(time), [None, values.shape[1]])
            state = step(state[: counts[time]], inputs_now)
            return time + 1, state, states.write(time, state)

        start = tf.zeros([self.num_rows, units], values.dtype)
        states = _make_array(start, longest)
        shapes = (tf.TensorShape([]), tf.TensorShape([None, units]), tf.TensorShape(None))
        _, _, states = tf.while_loop(lambda time, *_: time < longest, walk, (0, start, states), shape_invariants=shapes)
        return _permute(tf.ensure_shape(states.concat(), [None, units]), back, order)

    def to_tables(self, values: tf.Tensor) -> tuple[list[Table], Callable[[Sequence[tf.Tensor]], tf.Tensor]]:
        length = self._count()
        starts = tf.cumsum(length, exclusive=True)
        by_length = tf.argsort(length, stable=True)
        ends = [tf.cast(tf.cast(self.num_rows, tf.float32) * share, tf.int32) for share in _TABLE_ENDS]
        tables = []
        for first, last in pairwise([0, *ends]):
            rows = by_length[first:last]
            of_rows = tf.gather(length, rows)
            places = tf.range(tf.reduce_max(tf.concat([of_rows, [0]], axis=0)))
            valid = places < of_rows[:, None]  # [R, T]
            found = tf.where(valid, tf.gather(starts, rows)[:, None] + places, 0)
            tables.append(Table(rows, tf.gather(values, found), valid))
        back = tf.math.invert_permutation(by_length)
        return tables, lambda results: tf.gather(tf.concat(results, axis=0), back)

    def _count(self) -> tf.Tensor:
        """[B] valid positions of each row."""
        return tf.math.unsorted_segment_sum(tf.ones_like(self.rows), self.rows, self.num_rows)


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

    def pair(self, behaviours: tf.Tensor) -> PairedBehaviours:
        """[N, E] -> with their candidates."""
        return PairedBehaviours(behaviours, self.pairs, self.take)

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
        weights = [compute_softmax(*each) for each in zip(tables, self._valid, strict=True)]
        return tf.concat([tf.reshape(each, [-1]) for each in weights], axis=0)

    def count_from_newest(self) -> tf.Tensor:
        counts = []
        for valid in self._valid:
            of_block = tf.cast(valid, tf.int32)
            counts.append(tf.cumsum(of_block, axis=1, reverse=True, exclusive=True))
        return tf.concat([tf.reshape(each, [-1]) for each in counts], axis=0)

    def scan(self, step: Step, values: tf.Tensor, units: int) -> tf.Tensor:
        """Block by block; a state stays as it is where a row has ended."""
        blocks = []
        for table, valid, (rows, width) in zip(self._to_tables(values), self._valid, self._shapes, strict=True):
            inputs = _make_array(table[:, 0], width).unstack(tf.transpose(table, [1, 0, 2]))
            start = tf.zeros([rows, units], values.dtype)

            def walk(
                time: tf.Tensor,
                state: tf.Tensor,
                states: tf.TensorArray,
                inputs: tf.TensorArray = inputs,
                valid: tf.Tensor = valid,
            ) -> tuple[tf.Tensor, ...]:
                state = tf.where(valid[:, time, None], step(state, inputs.read(time)), state)
                return time + 1, state, states.write(time, state)

            _, _, states = tf.while_loop(
                lambda time, *_, width=width: time < width,
                walk,
                (0, start, _make_array(start, width)),
                maximum_iterations=width,
            )
            blocks.append(tf.reshape(tf.transpose(states.stack(), [1, 0, 2]), [-1, units]))
        return tf.concat(blocks, axis=0)

    def to_tables(self, values: tf.Tensor) -> tuple[list[Table], Callable[[Sequence[tf.Tensor]], tf.Tensor]]:
        rows = self._split_rows(tf.range(sum(each for each, _ in self._shapes)))
        tables = [Table(*each) for each in zip(rows, self._to_tables(values), self._valid, strict=True)]
        return tables, lambda results: tf.concat(results, axis=0)

    def _split_rows(self, values: tf.Tensor) -> list[tf.Tensor]:
        blocks: list[tf.Tensor] = tf.split(values, [rows for rows, _ in self._shapes], num=len(self._shapes))
        return blocks

    def _to_tables(self, values: tf.Tensor) -> list[tf.Tensor]:
        """[N, ...] -> [B_j, T_j, ...] of each block."""
        blocks = tf.split(values, [rows * width for rows, width in self._shapes], num=len(self._shapes))
        return [tf.reshape(each, [*shape, *values.shape[1:]]) for each, shape in zip(blocks, self._shapes, strict=True)]


def _make_array(of: tf.Tensor, size: int | tf.Tensor) -> tf.TensorArray:
    """For `size` tensors like `of`, or with other numbers of rows."""
    return tf.TensorArray(of.dtype, size, infer_shape=False, element_shape=[None, *of.shape[1:]])


def _permute(values: tf.Tensor, order: tf.Tensor, back: tf.Tensor) -> tf.Tensor:
    """[N, U] in another order; its gradient is a gather by the inverse, where that of `tf.gather` adds up rows."""

    @tf.custom_gradient
    def gather(values: tf.Tensor) -> tuple[tf.Tensor, object]:
        return tf.gather(values, order), lambda gradient: tf.gather(gradient, back)

    return gather(values)


def compute_softmax(scores: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
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
