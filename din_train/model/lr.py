"""Logistic regression, the shallow baseline of the paper's Table 3."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.linear import LinearTerms
from din_train.model.ranking_model import Part, RankingModel


@keras.saving.register_keras_serializable(package="din_train")
class LR(RankingModel):
    """logit = bias + sum of w_j over every id of candidate, behaviours, user profile and context.

    What the history adds is the same for every candidate, so it moves AUC and logloss but not GAUC.

    Args:
        linear: the sum.
    """

    def __init__(self, *, linear: LinearTerms, **kwargs: Any) -> None:
        context_fields = linear.context.field_names if linear.context else ()
        super().__init__(item_embedding=linear.candidate, context_fields=context_fields, **kwargs)
        self.linear = linear
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros", autocast=False)

    def compute_logits(self, parts: Sequence[Part], training: bool) -> list[tf.Tensor]:
        """[B_i] each."""
        del training
        return [self.linear(part.inputs, part.history, positions=part.positions) + self.bias.value for part in parts]
