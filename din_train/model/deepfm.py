"""DeepFM (Guo et al., 2017), a baseline of the paper's Table 3."""

from typing import Any

import keras
import tensorflow as tf

from din_train.model.deep_model import DeepModel
from din_train.model.linear import LinearTerms
from din_train.model.pairwise import compute_factorization, stack_fields
from din_train.model.ranking_model import Part


@keras.saving.register_keras_serializable(package="din_train")
class DeepFM(DeepModel):
    """logit = BaseModel's + linear terms + factorization machine over the fields, which share BaseModel's tables.

    Args:
        linear: the machine's first order.
    """

    def __init__(self, *, linear: LinearTerms, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.linear = linear

    def add_to_logit(self, logit: tf.Tensor, part: Part, interest: tf.Tensor, candidate: tf.Tensor) -> tf.Tensor:
        """[B_i]."""
        logit = super().add_to_logit(logit, part, interest, candidate)
        fields = [*self.embed_profile(part), interest, candidate, *self.embed_context(part)]
        # a difference of two large sums, so in the logit's precision
        second_order = compute_factorization(tf.cast(stack_fields(fields, self.item_embedding.item_size), logit.dtype))
        return (
            logit
            + second_order
            + tf.cast(self.linear(part.inputs, part.history, positions=part.positions), logit.dtype)
        )
