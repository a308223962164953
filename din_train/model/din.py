"""The Deep Interest Network (paper section 4.3)."""

from typing import Any

import keras
import tensorflow as tf

from din_train.model.deep_model import DeepModel
from din_train.model.local_activation_unit import LocalActivationUnit
from din_train.model.ranking_model import Inputs, LocatedBatch


@keras.saving.register_keras_serializable(package="din_train")
class DIN(DeepModel):
    """user_interest = sum_k activation_weight(k, candidate) * k (equation 3).

    Args:
        local_activation_unit: weighs the behaviours.
    """

    def __init__(self, *, local_activation_unit: LocalActivationUnit, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.local_activation_unit = local_activation_unit

    def compute_user_interest(
        self, batch: LocatedBatch, candidate: tf.Tensor, behaviours: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """[B, E], zero for an empty history."""
        weights = self.local_activation_unit(candidate, behaviours, positions=batch.positions, training=training)  # [N]
        return batch.positions.sum(weights[:, None] * behaviours)

    def compute_activation_weights(self, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """The weight of every valid behaviour [N] of a batch, and its row [N]."""
        batch = self.locate(inputs)
        candidate, behaviours = self.embed(batch)
        weights = self.local_activation_unit(candidate, behaviours, positions=batch.positions)
        return weights, tf.repeat(tf.range(tf.shape(inputs["history_length"])[0]), inputs["history_length"])
