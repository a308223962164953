"""The Behavior Sequence Transformer (Chen et al., DLP-KDD 2019, arXiv 1905.06874)."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.deep_model import DeepModel
from din_train.model.position_embedding import PositionEmbedding
from din_train.model.ranking_model import Inputs, LocatedBatch, LocatedSequence

_EPSILON = 1e-6  # of layer norm: rows begin near 0.01, whose squares Keras's 1e-3 would hide


@keras.saving.register_keras_serializable(package="din_train")
class TransformerBlock(keras.layers.Layer):
    """S = norm(X + dropout(attention(X))),  F = norm(S + dropout(W2 leaky_relu(W1 S))) (section 2.2, equations 3 to 6).

    attention(X) = concat_h(softmax(Q_h K_h' / sqrt(d)) V_h) W, h the heads, each d = E / num_heads wide (rounded up).

    Args:
        num_heads: of the attention.
        dropout: share of numbers dropped in training.
    """

    def __init__(self, *, num_heads: int, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads, self._dropout = num_heads, dropout

    def build(self, input_shape: Sequence[int | None]) -> None:
        width = int(input_shape[-1] or 0)
        self._head_width = -(-width // self.num_heads)
        wide = self.num_heads * self._head_width

        def build_dense(units: int, inputs: int, use_bias: bool) -> keras.layers.Dense:
            dense = keras.layers.Dense(units, use_bias=use_bias, dtype=self.dtype_policy)
            dense.build((None, None, inputs))
            return dense

        self.query, self.key, self.value = (build_dense(wide, width, use_bias=False) for _ in range(3))
        self.out = build_dense(width, wide, use_bias=False)
        self.first, self.second = (build_dense(width, width, use_bias=True) for _ in range(2))
        self.norms = [keras.layers.LayerNormalization(epsilon=_EPSILON, dtype=self.dtype_policy) for _ in range(2)]
        for norm in self.norms:
            norm.build((None, None, width))
        self.dropouts = [keras.layers.Dropout(self._dropout, dtype=self.dtype_policy) for _ in range(2)]

    def call(self, values: tf.Tensor, valid: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """[R, T, E] and which of them count [R, T], one in each row at least.

        Returns:
            [R, T, E], and how much position i looks at j [R, num_heads, T, T] at i, j.
        """
        shape = tf.shape(values)
        query, key, value = (self._split(layer(values), shape) for layer in (self.query, self.key, self.value))
        scores = tf.matmul(query, key, transpose_b=True) / float(self._head_width) ** 0.5  # [R, H, T, T]
        scores = tf.where(valid[:, None, None, :], scores, scores.dtype.min)
        weights = tf.nn.softmax(scores)
        joined = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])  # [R, T, H, d]
        joined = tf.reshape(joined, [shape[0], shape[1], self.num_heads * self._head_width])
        hidden = self.norms[0](values + self.dropouts[0](self.out(joined), training=training))
        fed = self.second(tf.nn.leaky_relu(self.first(hidden)))
        return self.norms[1](hidden + self.dropouts[1](fed, training=training)), weights

    def _split(self, values: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """[R, T, H * d] -> [R, H, T, d], R and T the first of `shape`: tf2onnx loses that of a layer's output."""
        return tf.transpose(tf.reshape(values, [shape[0], shape[1], self.num_heads, self._head_width]), [0, 2, 1, 3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_heads": self.num_heads, "dropout": self._dropout}


@keras.saving.register_keras_serializable(package="din_train")
class BST(DeepModel):
    """user_interest = the mean of what the blocks make of [candidate, behaviours], 0 for an empty history.

    The paper feeds the MLP the outputs at all of 20 positions side by side; here a history has any length. Where a
    behaviour stands is a learned vector that is added to its row, by its place from the newest; time gaps, which the
    paper takes as places, are `model.behaviour_fields: [time_gap]`, whose rows stand beside a behaviour's as there.

    Args:
        position_embedding: adds the vectors.
        blocks: one at least, each on the output of the one before.
    """

    def __init__(
        self, *, position_embedding: PositionEmbedding, blocks: Sequence[TransformerBlock], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.position_embedding = position_embedding
        self.blocks = list(blocks)

    def pool(
        self, batch: LocatedBatch, place: int, candidate: tf.Tensor, behaviours: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """[M, E], zero for an empty sequence."""
        tables, join = self._build_tables(batch.sequences[place], candidate, behaviours)
        return join([self._pool_table(values, valid, training)[0] for _, values, valid in tables])

    def compute_activation_weights(self, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """How much the candidate looks at each behaviour in the last block, the mean of its heads, and whose it is.

        Returns:
            [P] weights, which sum to less than 1, since the candidate also looks at itself, and [P] the candidates.
        """
        weights, candidates = [], []
        for rows, of_candidate, valid in self._weigh_tables(self.locate(inputs)):
            weights.append(tf.boolean_mask(of_candidate, valid))
            candidates.append(tf.repeat(rows, tf.reduce_sum(tf.cast(valid, tf.int32), axis=1)))
        return tf.concat(weights, axis=0), tf.concat(candidates, axis=0)

    def weigh(self, batch: LocatedBatch) -> tf.Tensor:
        """The weights [P] of a batch of one table, as `locate_dense` gives it."""
        ((_, of_candidate, _),) = self._weigh_tables(batch)
        return tf.reshape(of_candidate, [tf.size(of_candidate)])

    def _weigh_tables(self, batch: LocatedBatch) -> list[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """Tables of candidates [R], how much each looks at its behaviours [R, T], and which of them count [R, T]."""
        candidate, (behaviours, *_) = self.embed(batch)
        return [
            (
                rows,
                tf.reduce_mean(self._pool_table(values, valid, training=False)[1][:, :, 0, 1:], axis=1),
                valid[:, 1:],
            )
            for rows, values, valid in self._build_tables(batch.history, candidate, behaviours)[0]
        ]

    def _build_tables(
        self, sequence: LocatedSequence, candidate: tf.Tensor, behaviours: tf.Tensor
    ) -> tuple[list[tuple[tf.Tensor, tf.Tensor, tf.Tensor]], Callable[[Sequence[tf.Tensor]], tf.Tensor]]:
        """Tables of candidates [R], what the blocks see [R, 1 + T, E] and what of it counts; what joins their results.

        The candidate stands first, so that behaviours of all rows begin at one place.
        """
        from_newest = sequence.positions.count_from_newest()
        candidate, behaviours = self.position_embedding(candidate, behaviours, from_newest=from_newest)
        tables, join = sequence.pairs.to_tables(sequence.to_pairs(behaviours))
        return [
            (
                table.rows,
                tf.concat([tf.gather(candidate, table.rows)[:, None], table.values], axis=1),
                tf.concat([tf.ones([tf.shape(table.valid)[0], 1], tf.bool), table.valid], axis=1),
            )
            for table in tables
        ], join

    def _pool_table(self, values: tf.Tensor, valid: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """[R, E], and the attention of the last block [R, num_heads, 1 + T, 1 + T]."""
        attention = None
        for block in self.blocks:
            values, attention = block(values, valid, training=training)
        counts = tf.cast(valid, values.dtype)[:, :, None]
        number = tf.reduce_sum(counts, axis=1)  # [R, 1], the candidate included
        has_behaviours = tf.cast(number > 1, values.dtype)
        return has_behaviours * tf.reduce_sum(values * counts, axis=1) / number, attention
