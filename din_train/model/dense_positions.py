"""Histories as a table [B, T] with the padding in its place: one for all M candidates (B = 1), or one each (B = M).

The form for many candidates of one history and for serving, in inference only: whatever depends on the history alone is
computed once, and candidates meet behaviours in matrix products. It gathers nothing and holds no ragged tensors, so
ONNX has all of its operations. Padding may stand anywhere, and candidate by candidate the P pairs are [M, T].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from din_train.model.positions import PairedBehaviours, Step, Table, compute_softmax

# With fewer candidates per history a kernel for each candidate is smaller than one for each position.
_MANY_CANDIDATES = 8


@dataclass(frozen=True)
class SpreadRows:
    """One row for all M candidates, or one each."""

    candidates: tf.Tensor

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """[B, ...] -> [M, ...]."""
        return tf.broadcast_to(values, [self.candidates, *values.shape[1:]])


class DensePositions:
    """The positions of a table [B, T], repeated for each of M rows if B is 1: N = M * T, row by row.

    Args:
        valid: [B, T] bool.
        num_rows: M.
    """

    def __init__(self, valid: tf.Tensor, num_rows: tf.Tensor) -> None:
        self.valid = valid
        self.num_rows, self.width = num_rows, tf.shape(valid)[1]
        self.weights: tf.Tensor | None = None  # of statistics, which inference does not compute

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        return self.repeat(values[:, None])

    def repeat(self, values: tf.Tensor) -> tf.Tensor:
        """[B or M, T or 1, ...] -> [N, ...]."""
        units = values.shape[2:]
        return tf.reshape(tf.broadcast_to(values, [self.num_rows, self.width, *units]), [self._size, *units])

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(self.to_table(values) * tf.cast(self.valid, values.dtype)[:, :, None], axis=1)

    def softmax(self, scores: tf.Tensor) -> tf.Tensor:
        return tf.reshape(compute_softmax(self.to_table(scores), self.valid), [self._size])

    def count_from_newest(self) -> tf.Tensor:
        counts = tf.cumsum(tf.cast(self.valid, tf.int32), axis=1, reverse=True, exclusive=True)
        return self.repeat(counts)

    def scan(self, step: Step, values: tf.Tensor, units: int) -> tf.Tensor:
        """A state stays as it is where a position is not valid."""
        inputs = tf.transpose(self.to_table(values), [1, 0, 2])  # [T, M, W]
        valid = tf.transpose(self.valid)[:, :, None]  # [T, B, 1]
        states = tf.TensorArray(values.dtype, self.width, element_shape=[None, units])

        def walk(time: tf.Tensor, state: tf.Tensor, states: tf.TensorArray) -> tuple[tf.Tensor, ...]:
            state = tf.where(valid[time], step(state, inputs[time]), state)
            return time + 1, state, states.write(time, state)

        start = tf.zeros([self.num_rows, units], values.dtype)
        _, _, states = tf.while_loop(lambda time, *_: time < self.width, walk, (0, start, states))
        return tf.reshape(tf.transpose(states.stack(), [1, 0, 2]), [self._size, units])

    def to_tables(self, values: tf.Tensor) -> tuple[list[Table], Callable[[Sequence[tf.Tensor]], tf.Tensor]]:
        valid = tf.broadcast_to(self.valid, [self.num_rows, self.width])
        return [Table(tf.range(self.num_rows), self.to_table(values), valid)], lambda results: results[0]

    def flatten(self, table: tf.Tensor) -> tf.Tensor:
        """[M, T, ...] -> [N, ...]."""
        return tf.reshape(table, [self._size, *table.shape[2:]])

    def to_table(self, values: tf.Tensor) -> tf.Tensor:
        """[N, ...] -> [M, T, ...]."""
        return tf.reshape(values, [self.num_rows, self.width, *values.shape[1:]])

    @property
    def _size(self) -> tf.Tensor:
        return self.num_rows * self.width


class DenseSharing:
    """The pairs of M candidates and the behaviours of their histories, P = M * T, candidate by candidate.

    Args:
        valid: [B, T] of the histories, B = 1 or M.
        candidates: M.
    """

    def __init__(self, valid: tf.Tensor, candidates: tf.Tensor) -> None:
        self.histories = DensePositions(valid, tf.shape(valid)[0])
        self.pairs = DensePositions(valid, candidates)

    def take(self, values: tf.Tensor) -> tf.Tensor:
        """[B * T, ...] of the positions -> [P, ...] of the pairs."""
        return self.pairs.repeat(self.histories.to_table(values))

    def pair(self, behaviours: tf.Tensor) -> "DensePairs":
        """[B * T, E] -> with their candidates."""
        return DensePairs(behaviours, self)


class DensePairs(PairedBehaviours):
    """As the flat ones, by matrix products: C = M / B candidates, M or one, stand against each of the B histories."""

    def __init__(self, behaviours: tf.Tensor, sharing: DenseSharing) -> None:
        super().__init__(behaviours, sharing.pairs, sharing.take)
        self.sharing = sharing

    def sum(self, weights: tf.Tensor) -> tf.Tensor:
        valid = tf.cast(self.sharing.pairs.valid, weights.dtype)[:, None]  # [B, 1, T]
        sums = tf.matmul(self._group(weights, self.sharing.pairs.width) * valid, self._table)  # [B, C, E]
        return tf.reshape(sums, [self.sharing.pairs.num_rows, self.behaviours.shape[1]])

    def multiply(self, candidate: tf.Tensor) -> tf.Tensor:
        products = tf.matmul(self._group(candidate, candidate.shape[1]), self._table, transpose_b=True)  # [B, C, T]
        return tf.reshape(products, [self.sharing.pairs.num_rows * self.sharing.pairs.width])

    def apply_kernels(
        self,
        of_behaviours: tf.Tensor,
        candidate: tf.Tensor,
        of_product: tf.Tensor | None,
        of_candidate: tf.Tensor | None,
    ) -> tf.Tensor:
        """With a product, one of two: W_t[e, u] = Wp[e, u] k_t[e] + Wc[e, u] for each position, which all candidates of
        a history are multiplied by at once, or W_q[e, u] = Wp[e, u] q[e] for each candidate.
        """
        pairs, histories = self.sharing.pairs, self.sharing.histories
        units = of_behaviours.shape[1]
        table, is_one = histories.to_table(of_behaviours), histories.valid.shape[0] == 1  # [B, T, U]
        if of_product is None:
            of_candidates = 0.0 if of_candidate is None else tf.matmul(candidate, of_candidate)[:, None]
            return pairs.repeat(table + of_candidates)

        def multiply_histories() -> tf.Tensor:
            kernel = tf.transpose(self._table, [0, 2, 1])[:, :, :, None] * of_product[:, None]  # [B, E, T, U]
            kernel += 0.0 if of_candidate is None else of_candidate[:, None]
            width = histories.width * units
            if is_one:  # a product of matrices, to which TensorFlow adds the bias as it goes
                hidden = tf.matmul(candidate, tf.reshape(kernel, [candidate.shape[1], width]))
                return tf.reshape(tf.nn.bias_add(hidden, tf.reshape(table, [width])), [-1, units])
            kernel = tf.reshape(kernel, [histories.num_rows, candidate.shape[1], width])
            hidden = tf.matmul(self._group(candidate, candidate.shape[1]), kernel)  # [B, C, T * U]
            return tf.reshape(hidden + tf.reshape(table, [histories.num_rows, 1, width]), [-1, units])

        def multiply_candidates() -> tf.Tensor:
            hidden = tf.matmul(self._table, candidate[:, :, None] * of_product) + table  # [M, T, U]
            hidden += 0.0 if of_candidate is None else tf.matmul(candidate, of_candidate)[:, None]
            return tf.reshape(hidden, [-1, units])

        if is_one:
            return multiply_histories()
        is_many = pairs.num_rows >= _MANY_CANDIDATES * histories.num_rows
        return tf.ensure_shape(tf.cond(is_many, multiply_histories, multiply_candidates), [None, units])

    @property
    def _table(self) -> tf.Tensor:
        """[B, T, E]."""
        return self.sharing.histories.to_table(self.behaviours)

    def _group(self, values: tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
        """[M, width] or as many in a row -> [B, C, width]."""
        histories = self.sharing.histories.num_rows
        return tf.reshape(values, [histories, self.sharing.pairs.num_rows // histories, width])
