"""The Deep Interest Network (paper section 4.3)."""

from typing import Any

import keras
import tensorflow as tf

from din_train.model.history import sum_by_row
from din_train.model.local_activation_unit import LocalActivationUnit
from din_train.model.ranking_model import RankingModel


@keras.saving.register_keras_serializable(package="din_train")
class DIN(RankingModel):
    """user_interest = sum_k activation_weight(k, candidate) * k (equation 3).

    Args:
        local_activation_unit: weighs the behaviours.
    """

    def __init__(self, *, local_activation_unit: LocalActivationUnit, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.local_activation_unit = local_activation_unit

    def compute_user_interest(
        self, candidate: tf.Tensor, behaviours: tf.Tensor, rows: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """[B, E], zero for an empty history."""
        weights = self.local_activation_unit(candidate, behaviours, rows, training=training)  # [N]
        return sum_by_row(weights[:, None] * behaviours, rows, tf.shape(candidate)[0])

    def compute_activation_weights(self, inputs: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The weight of every valid behaviour [N], and its row [N]."""
        candidate, behaviours, rows = self.embed(inputs)
        return self.local_activation_unit(candidate, behaviours, rows), rows
