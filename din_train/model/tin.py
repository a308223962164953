"""The Temporal Interest Network (Zhou et al., WWW 2024 Companion, arXiv 2308.08487)."""

from typing import Any

import keras
import tensorflow as tf

from din_train.model.deep_model import DeepModel
from din_train.model.position_embedding import PositionEmbedding
from din_train.model.positions import PairedBehaviours
from din_train.model.ranking_model import Inputs, LocatedBatch, LocatedSequence


@keras.saving.register_keras_serializable(package="din_train")
class TIN(DeepModel):
    """user_interest = sum_k softmax_k(q~ k~ / sqrt(E)) q~ * k~,  q~ = q + p_candidate,  k~ = k + p_place (section 4).

    The three parts of the paper: target-aware temporal encoding is the learned p of a behaviour's place, counted from
    the newest; target-aware attention is the scaled product; target-aware representation is the product with the
    candidate, which stands in the sum.

    Args:
        position_embedding: adds the p.
    """

    def __init__(self, *, position_embedding: PositionEmbedding, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.position_embedding = position_embedding

    def pool(
        self, batch: LocatedBatch, place: int, candidate: tf.Tensor, behaviours: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """[M, E], zero for an empty sequence."""
        del training
        sequence = batch.sequences[place]
        weights, candidate, pairs = self._weigh(sequence, candidate, behaviours)
        return candidate * pairs.sum(weights)

    def compute_activation_weights(self, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """The weight of every behaviour of every candidate [P], and which candidate that is [P]."""
        batch = self.locate(inputs)
        candidates = tf.range(tf.shape(batch.inputs["target_item_id"])[0])
        return self.weigh(batch), batch.history.pairs.spread(candidates)

    def weigh(self, batch: LocatedBatch) -> tf.Tensor:
        """The weights [P]."""
        candidate, (behaviours, *_) = self.embed(batch)
        return self._weigh(batch.history, candidate, behaviours)[0]

    def _weigh(
        self, sequence: LocatedSequence, candidate: tf.Tensor, behaviours: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, PairedBehaviours]:
        """The weights [P], q~ [M, E], and the k~ of every pair."""
        from_newest = sequence.positions.count_from_newest()
        candidate, behaviours = self.position_embedding(candidate, behaviours, from_newest=from_newest)
        pairs = sequence.pair(behaviours)
        scores = pairs.multiply(candidate)
        return sequence.pairs.softmax(scores / float(candidate.shape[1]) ** 0.5), candidate, pairs
