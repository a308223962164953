"""The Deep Interest Network (paper section 4.3)."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.deep_model import DeepModel
from din_train.model.local_activation_unit import LocalActivationUnit
from din_train.model.positions import flatten_history
from din_train.model.ranking_model import Inputs, Part


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
        self, parts: Sequence[Part], candidates: list[tf.Tensor], behaviours: list[tf.Tensor], training: bool
    ) -> list[tf.Tensor]:
        """[B_i, E] each, zero for an empty history."""
        positions = [part.positions for part in parts]
        weights = self.local_activation_unit(candidates, behaviours, positions=positions, training=training)  # [N_i]
        return [
            place.sum(weight[:, None] * behaviour)
            for place, weight, behaviour in zip(positions, weights, behaviours, strict=True)
        ]

    def compute_activation_weights(self, inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
        """The weight of every valid behaviour [N] of a batch, and its row [N]."""
        history, positions = flatten_history(inputs["history_item_ids"], inputs["history_length"])
        parts = [Part(inputs, history, positions)]
        (weights,) = self.local_activation_unit(*self.embed(parts), positions=[positions])
        return weights, positions.rows
