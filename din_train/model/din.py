"""The Deep Interest Network (paper section 4.3)."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.deep_model import DeepModel
from din_train.model.local_activation_unit import LocalActivationUnit
from din_train.model.positions import PairedBehaviours
from din_train.model.ranking_model import Inputs, LocatedBatch


@keras.saving.register_keras_serializable(package="din_train")
class DIN(DeepModel):
    """user_interest = sum_k activation_weight(k, candidate) * k (equation 3), of each sequence.

    Args:
        local_activation_unit: weighs the behaviours of the history.
        sequence_units: one per further sequence, of its own weights.
    """

    def __init__(
        self,
        *,
        local_activation_unit: LocalActivationUnit,
        sequence_units: Sequence[LocalActivationUnit] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.local_activation_unit = local_activation_unit
        self.sequence_units = list(sequence_units)

    def pool(
        self, batch: LocatedBatch, place: int, candidate: tf.Tensor, behaviours: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """[M, E], zero for an empty sequence."""
        pairs = batch.sequences[place].pair(behaviours)
        return pairs.sum(self._weigh(place, candidate, pairs, training))

    def compute_activation_weights(self, inputs: Inputs, place: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
        """The weight [P] of every pair of a candidate and a behaviour of its sequence, and the candidate's row [P].

        Args:
            place: of the sequence: 0 is the history.
        """
        batch = self.locate(inputs)
        candidates = tf.range(tf.shape(batch.inputs["target_item_id"])[0])
        return self.weigh(batch, place), batch.sequences[place].pairs.spread(candidates)

    def weigh(self, batch: LocatedBatch, place: int = 0) -> tf.Tensor:
        """The weights [P] of a sequence; 0 is the history."""
        candidate, behaviours = self.embed(batch)
        return self._weigh(place, candidate, batch.sequences[place].pair(behaviours[place]))

    def _weigh(self, place: int, candidate: tf.Tensor, pairs: PairedBehaviours, training: bool = False) -> tf.Tensor:
        """[P]."""
        unit = self.sequence_units[place - 1] if place else self.local_activation_unit
        return unit(candidate, pairs.behaviours, positions=pairs.positions, pairs=pairs, training=training)
