"""Wide & Deep (Cheng et al., 2016), a baseline of the paper's Table 3."""

from typing import Any

import keras
import tensorflow as tf

from din_train.dataset.vocabulary import PAD_ID
from din_train.model.deep_model import DeepModel
from din_train.model.linear import LinearTerms
from din_train.model.ranking_model import Part

# Spreads the pairs (candidate category, behaviour category) over the buckets.
_PRIME = 1_000_003


@keras.saving.register_keras_serializable(package="din_train")
class WideDeep(DeepModel):
    """logit = BaseModel's + linear terms + sum over behaviours of w[category of candidate x category of behaviour].

    The paper takes "the cross product of user behaviours and candidates" as the wide input; here a pair of categories
    is hashed to one of `cross_buckets` numbers, the first of which is padding's, as in every table.

    Args:
        linear: the wide part's single ids.
        cross_buckets: numbers that the pairs share.
    """

    def __init__(self, *, linear: LinearTerms, cross_buckets: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.linear = linear
        self.cross_buckets = cross_buckets
        self.crosses = self.add_weight(name="crosses", shape=(cross_buckets, 1), initializer="zeros", autocast=False)

    def add_to_logit(self, logit: tf.Tensor, part: Part, interest: tf.Tensor, candidate: tf.Tensor) -> tf.Tensor:
        """[B_i]."""
        logit = super().add_to_logit(logit, part, interest, candidate)
        wide = self.linear(part.inputs, part.history, positions=part.positions) + self._sum_crosses(part)
        return logit + tf.cast(wide, logit.dtype)

    def _sum_crosses(self, part: Part) -> tf.Tensor:
        categories = self.item_embedding.item_category_ids.value
        of_candidate = tf.gather(categories, part.inputs["target_item_id"])  # [B_i]
        of_behaviour = tf.cast(tf.gather(categories, part.history), tf.int64)  # [N_i]
        pairs = tf.cast(part.positions.spread(of_candidate), tf.int64) * _PRIME + of_behaviour
        buckets = tf.where(part.history == PAD_ID, tf.zeros_like(pairs), 1 + pairs % (self.cross_buckets - 1))
        return tf.squeeze(part.positions.sum(tf.gather(self.crosses.value, buckets)), axis=1)
