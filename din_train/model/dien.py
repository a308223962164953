"""The Deep Interest Evolution Network (Zhou et al., AAAI 2019, arXiv 1809.03672)."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.deep_model import DeepModel
from din_train.model.positions import Positions
from din_train.model.ranking_model import Inputs, LocatedBatch, LocatedSequence


@keras.saving.register_keras_serializable(package="din_train")
class GRU(keras.layers.Layer):
    """States along each history, zero before it (equations 2 to 5; with attention a_t AUGRU, equations 14 and 15).

        u_t = sigmoid(W_u x_t + U_u h_{t-1} + b_u),  r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)
        c_t = tanh(W_c x_t + r_t * U_c h_{t-1} + b_c)
        h_t = (1 - a_t u_t) * h_{t-1} + a_t u_t * c_t,  a_t = 1 without attention

    States are as wide as inputs.
    """

    def build(self, input_shape: Sequence[int | None]) -> None:
        self._width = int(input_shape[-1] or 0)
        shape = (self._width, 3 * self._width)  # of u, r, c
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.recurrent_kernel = self.add_weight(name="recurrent_kernel", shape=shape, initializer="orthogonal")
        self.bias = self.add_weight(name="bias", shape=shape[1:], initializer="zeros")

    def call(
        self,
        values: tf.Tensor,
        positions: Positions,
        attention: tf.Tensor | None = None,
        to_positions: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
    ) -> tf.Tensor:
        """The state after each position.

        Args:
            values: [N, U], oldest first in each history.
            positions: P of them, along which the states go.
            attention: [P]; None for a plain GRU.
            to_positions: takes [N, ...] to [P, ...], where a history is walked along for several candidates.

        Returns:
            [P, U].
        """
        recurrent_kernel, units = tf.convert_to_tensor(self.recurrent_kernel.value), self._width
        inputs = to_positions(tf.matmul(values, self.kernel.value) + self.bias.value)  # [P, 3 U]
        if attention is not None:
            inputs = tf.concat([inputs, tf.cast(attention, inputs.dtype)[:, None]], axis=1)

        def step(state: tf.Tensor, now: tf.Tensor) -> tf.Tensor:
            of_state = tf.matmul(state, recurrent_kernel)
            gates = tf.sigmoid(now[:, : 2 * units] + of_state[:, : 2 * units])
            update, reset = gates[:, :units], gates[:, units:]
            proposed = tf.tanh(now[:, 2 * units : 3 * units] + reset * of_state[:, 2 * units :])
            if attention is not None:
                update *= now[:, 3 * units :]
            return state + update * (proposed - state)

        return positions.scan(step, inputs, units)


@keras.saving.register_keras_serializable(package="din_train")
class BilinearAttention(keras.layers.Layer):
    """a_t = softmax_t(h_t W q), over the states h_t of a history (equation 13)."""

    def build(self, input_shape: Sequence[int | None]) -> None:
        width = input_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(width, width), initializer="glorot_uniform")

    def call(self, candidate: tf.Tensor, states: tf.Tensor, history: LocatedSequence) -> tf.Tensor:
        """Candidate [M, E] and states [N, E] -> [P]."""
        pairs = history.pair(tf.matmul(states, self.kernel.value))
        return history.pairs.softmax(pairs.multiply(candidate))


@keras.saving.register_keras_serializable(package="din_train")
class DIEN(DeepModel):
    """user_interest = the last state of AUGRU over the states of a GRU over the behaviours (section 4).

    The GRU's states h_t, as wide as a behaviour, are the same for every candidate; their attention is
    softmax_t(h_t W q). In training an auxiliary loss asks of h_t to tell the next behaviour k_{t+1} from another one:

        -log sigmoid(h_t k_{t+1}) - log(1 - sigmoid(h_t n_{t+1})),

    the mean over the t of a history, and then over candidates. As in the authors' code n_{t+1} is an item that somebody
    behaved on, so popular ones are frequent. Here it is the one that stands half as many behaviours further on as the
    group has, which needs no random numbers and no other look-up; where it is the same item, t does not count. Scores
    never see it.

    Args:
        auxiliary_weight: of the auxiliary loss beside the loss.
    """

    def __init__(self, *, auxiliary_weight: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.auxiliary_weight = auxiliary_weight
        self.extraction = GRU(name="extraction")
        self.evolution = GRU(name="evolution")
        self.attention = BilinearAttention(name="attention")

    def compute_user_interest(
        self, batch: LocatedBatch, candidate: tf.Tensor, behaviours: Sequence[tf.Tensor], training: bool
    ) -> tf.Tensor:
        """[M, E], zero for an empty history."""
        history = batch.history
        states = self.extraction(behaviours[0], positions=history.positions)  # [N, E]
        if training and self.auxiliary_weight:
            losses = compute_auxiliary_losses(history, behaviours[0], states)  # [B, 1]
            total = tf.reduce_sum(batch.to_candidates(losses))
            batch.auxiliary_losses.append(self.auxiliary_weight * total)
        weights = self.attention(candidate, states, history=history)
        evolved = self.evolution(
            states, positions=history.pairs, attention=weights, to_positions=history.to_pairs
        )  # [P, E]
        is_newest = tf.cast(history.pairs.count_from_newest() == 0, evolved.dtype)
        return history.pairs.sum(is_newest[:, None] * evolved)

    def compute_activation_weights(self, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """AUGRU's attention to every behaviour of every candidate [P], and which candidate that is [P]."""
        batch = self.locate(inputs)
        candidates = tf.range(tf.shape(batch.inputs["target_item_id"])[0])
        return self.weigh(batch), batch.history.pairs.spread(candidates)

    def weigh(self, batch: LocatedBatch) -> tf.Tensor:
        """AUGRU's attention [P]."""
        candidate, (behaviours, *_) = self.embed(batch)
        states = self.extraction(behaviours, positions=batch.history.positions)
        return self.attention(candidate, states, history=batch.history)


def compute_auxiliary_losses(history: LocatedSequence, behaviours: tf.Tensor, states: tf.Tensor) -> tf.Tensor:
    """[B, 1] the mean of each history's auxiliary losses; 0 if it has none, see `DIEN`.

    Args:
        behaviours, states: [N, E].
    """
    positions = history.positions
    other = find_other_behaviours(positions, tf.shape(history.item_ids)[0])  # [N]

    def score_next(vectors: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.reduce_sum(states * tf.roll(vectors, -1, axis=0), axis=1, keepdims=True), tf.float32)

    losses = tf.nn.softplus(-score_next(behaviours)) + tf.nn.softplus(score_next(tf.gather(behaviours, other)))
    item_ids = tf.abs(history.item_ids)  # of hidden ids, too
    differs = tf.roll(item_ids != tf.gather(item_ids, other), -1, axis=0)
    counts = tf.cast(differs & (positions.count_from_newest() > 0), tf.float32)[:, None]  # [N, 1]
    return tf.math.divide_no_nan(positions.sum(counts * losses), positions.sum(counts))


def find_other_behaviours(positions: Positions, size: tf.Tensor) -> tf.Tensor:
    """[N] the place of the valid position that is half as many further on as there are, those after the last being
    the first ones again.
    """
    if positions.weights is None:
        return (tf.range(size) + size // 2) % tf.maximum(size, 1)
    valid = tf.squeeze(positions.weights, axis=1) > 0
    order = tf.argsort(tf.cast(~valid, tf.int32), stable=True)  # valid positions, then others
    rank = tf.cumsum(tf.cast(valid, tf.int32), exclusive=True)
    number = tf.reduce_sum(tf.cast(valid, tf.int32))
    return tf.gather(order, (rank + number // 2) % tf.maximum(number, 1))
