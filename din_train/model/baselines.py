"""The baselines of the paper's Table 3, which share DIN's embeddings, MLP and training."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.dataset.vocabulary import PAD_ID
from din_train.model.deep_model import DeepModel
from din_train.model.embedding import FieldEmbedding, ItemEmbedding
from din_train.model.ranking_model import LocatedBatch, RankingModel

# Spreads the pairs (candidate category, behaviour category) over the buckets.
_PRIME = 1_000_003


@keras.saving.register_keras_serializable(package="din_train")
class BaseModel(DeepModel):
    """user_interest = the behaviours' sum or mean, the same for every candidate."""


@keras.saving.register_keras_serializable(package="din_train")
class LinearTerms(keras.layers.Layer):
    """sum of w_j over the ids j of the candidate, the behaviours, the user profile and the context.

    An id weighs otherwise as a candidate than as a behaviour. Embeddings here are one wide.

    Args:
        candidate, behaviours: numbers of an item's id, category and other fields.
        profile, context: of the user's and the context's fields; None without any.
    """

    def __init__(
        self,
        *,
        candidate: ItemEmbedding,
        behaviours: ItemEmbedding,
        profile: FieldEmbedding | None = None,
        context: FieldEmbedding | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.candidate, self.behaviours, self.profile, self.context = candidate, behaviours, profile, context
        self.built = True

    def call(self, batch: LocatedBatch) -> tf.Tensor:
        """[M]."""
        inputs, history = batch.inputs, batch.history
        of_behaviours = tf.reduce_sum(self.behaviours(history.item_ids), axis=1, keepdims=True)  # [N, 1]
        total = tf.reduce_sum(self.candidate(inputs["target_item_id"]), axis=1)
        total += tf.squeeze(batch.to_candidates(history.positions.sum(of_behaviours)), axis=1)
        if self.profile is not None:
            total += tf.reduce_sum(self.profile(inputs["user_id"]), axis=1)
        if self.context is not None:
            total += tf.reduce_sum(self.context(inputs), axis=1)
        return total

    def get_config(self) -> dict[str, Any]:
        layers: dict[str, keras.layers.Layer | None] = {"candidate": self.candidate, "behaviours": self.behaviours}
        layers |= {"profile": self.profile, "context": self.context}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(layer) for name, layer in layers.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LinearTerms":
        """The layer without weights; its embeddings are layers of their own."""
        layers = ("candidate", "behaviours", "profile", "context")
        return cls(**{**config, **{name: keras.saving.deserialize_keras_object(config[name]) for name in layers}})


@keras.saving.register_keras_serializable(package="din_train")
class LR(RankingModel):
    """logit = bias + sum of w_j over every id of candidate, behaviours, user profile and context.

    What the history adds is the same for every candidate, so it moves AUC and logloss but not GAUC.

    Args:
        linear: the sum.
    """

    def __init__(self, *, linear: LinearTerms, **kwargs: Any) -> None:
        context_widths = linear.context.input_widths if linear.context else {}
        super().__init__(item_embedding=linear.candidate, context_widths=context_widths, **kwargs)
        self.linear = linear
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros", autocast=False)

    def compute_logits(self, batch: LocatedBatch, training: bool) -> tf.Tensor:
        """[M]."""
        del training
        return self.linear(batch=batch) + self.bias.value


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

    def add_to_logit(
        self, logit: tf.Tensor, batch: LocatedBatch, interest: tf.Tensor, candidate: tf.Tensor
    ) -> tf.Tensor:
        """[M]."""
        logit = super().add_to_logit(logit, batch, interest, candidate)
        return logit + tf.cast(self.linear(batch=batch) + self._sum_crosses(batch), logit.dtype)

    def _sum_crosses(self, batch: LocatedBatch) -> tf.Tensor:
        history = batch.history
        of_candidate = self.item_embedding.find_categories(batch.inputs["target_item_id"])  # [M]
        of_behaviour = history.to_pairs(self.item_embedding.find_categories(history.item_ids))  # [P]
        pairs = tf.cast(history.pairs.spread(of_candidate), tf.int64) * _PRIME + tf.cast(of_behaviour, tf.int64)
        is_padding = history.to_pairs(history.item_ids) == PAD_ID
        buckets = tf.where(is_padding, tf.zeros_like(pairs), 1 + pairs % (self.cross_buckets - 1))
        return tf.squeeze(history.pairs.sum(tf.gather(self.crosses.value, buckets)), axis=1)


def stack_fields(groups: Sequence[tf.Tensor], size: int) -> tf.Tensor:
    """Groups of [M, fields * size] -> [M, F, size], one vector per field."""
    wide = tf.concat(groups, axis=1)
    return tf.reshape(wide, [tf.shape(wide)[0], wide.shape[1] // size, size])


def compute_inner_products(fields: tf.Tensor) -> tf.Tensor:
    """[M, F, size] -> [M, F (F - 1) / 2] products of two different fields."""
    products = tf.matmul(fields, fields, transpose_b=True)  # [M, F, F]
    pairs = [(i, j) for i in range(fields.shape[1]) for j in range(i)]
    places = tf.constant([i * fields.shape[1] + j for i, j in pairs])
    return tf.gather(tf.reshape(products, [tf.shape(fields)[0], fields.shape[1] ** 2]), places, axis=1)


def compute_factorization(fields: tf.Tensor) -> tf.Tensor:
    """[M, F, size] -> [M], the sum of those products in one pass over the fields: ((sum v)^2 - sum v^2) / 2."""
    square_of_sum = tf.square(tf.reduce_sum(fields, axis=1))
    return tf.reduce_sum(square_of_sum - tf.reduce_sum(tf.square(fields), axis=1), axis=1) / 2


@keras.saving.register_keras_serializable(package="din_train")
class PNN(DeepModel):
    """BaseModel whose MLP also sees the inner products of every two fields (IPNN), pooled behaviours being fields."""

    def build_mlp_inputs(self, batch: LocatedBatch, interest: tf.Tensor, candidate: tf.Tensor) -> list[tf.Tensor]:
        """The MLP's input as a list of [M, width]."""
        groups = super().build_mlp_inputs(batch, interest, candidate)
        fields = [*self.embed_profile(batch), interest, candidate, *self.embed_context(batch)]
        return [*groups, compute_inner_products(stack_fields(fields, self.item_embedding.item_size))]


@keras.saving.register_keras_serializable(package="din_train")
class DeepFM(DeepModel):
    """logit = BaseModel's + linear terms + factorization machine over the fields, which share BaseModel's tables.

    Args:
        linear: the machine's first order.
    """

    def __init__(self, *, linear: LinearTerms, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.linear = linear

    def add_to_logit(
        self, logit: tf.Tensor, batch: LocatedBatch, interest: tf.Tensor, candidate: tf.Tensor
    ) -> tf.Tensor:
        """[M]."""
        logit = super().add_to_logit(logit, batch, interest, candidate)
        fields = [*self.embed_profile(batch), interest, candidate, *self.embed_context(batch)]
        # a difference of two large sums, so in the logit's precision
        second_order = compute_factorization(tf.cast(stack_fields(fields, self.item_embedding.item_size), logit.dtype))
        return logit + second_order + tf.cast(self.linear(batch=batch), logit.dtype)
