"""What the models with an MLP share (paper section 4.2): embed, pool the history, concatenate, MLP -> logit."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.embedding import FieldEmbedding, ItemEmbedding
from din_train.model.mlp import Mlp
from din_train.model.normalization import build_normalization
from din_train.model.ranking_model import Part, RankingModel


class DeepModel(RankingModel):
    """MLP([user profile, user interest, candidate, context]), the paper's four groups.

    By itself the paper's BaseModel; the others override a step.

    Args:
        item_embedding: shared by candidate and history.
        mlp: above the concatenated groups.
        pooling: of the behaviours, `sum` (the paper) or `mean`.
        user_candidate_product: also feed user_interest * candidate to the MLP (the authors' 2020 code).
        interest_normalization: of the user interest, see `build_normalization`.
        interest_units: width of a linear layer on the interest; None without one.
        item_bias: add a learned number per candidate item to the logit.
        profile_embedding: of the user profile fields, looked up by user id; None without any.
        context_embedding: of the context fields, whose ids are in the batch; None without any.
    """

    def __init__(
        self,
        *,
        item_embedding: ItemEmbedding,
        mlp: Mlp,
        pooling: str = "sum",
        user_candidate_product: bool = False,
        interest_normalization: str = "none",
        interest_units: int | None = None,
        item_bias: bool = False,
        profile_embedding: FieldEmbedding | None = None,
        context_embedding: FieldEmbedding | None = None,
        **kwargs: Any,
    ) -> None:
        context_fields = context_embedding.field_names if context_embedding else ()
        super().__init__(item_embedding=item_embedding, context_fields=context_fields, **kwargs)
        self.mlp = mlp
        self.logit = keras.layers.Dense(1, name="logit", dtype="float32")  # bfloat16 would tie scores that differ
        self.pooling = pooling
        self.user_candidate_product = user_candidate_product
        self.interest_norm = build_normalization(interest_normalization, self.dtype_policy)
        self.interest_dense = keras.layers.Dense(interest_units) if interest_units else None
        self.profile_embedding = profile_embedding
        self.context_embedding = context_embedding
        self.item_bias = (
            self.add_weight(name="item_bias", shape=(item_embedding.num_items, 1), initializer="zeros", autocast=False)
            if item_bias
            else None
        )

    def compute_logits(self, parts: Sequence[Part], training: bool) -> list[tf.Tensor]:
        """[B_i] each."""
        candidates, behaviours = self.embed(parts)
        interests = self.compute_user_interest(parts, candidates, behaviours, training)
        return self.compute_logits_of_interests(parts, candidates, interests, training)

    def compute_logits_of_interests(
        self, parts: Sequence[Part], candidates: list[tf.Tensor], interests: list[tf.Tensor], training: bool
    ) -> list[tf.Tensor]:
        """[B_i] each, from pooled histories [B_i, E]."""
        if self.interest_norm is not None:
            interests = self.interest_norm(interests, training=training)
        if self.interest_dense is not None:
            interests = [self.interest_dense(each) for each in interests]
        groups = [
            tf.concat(self.build_groups(part, interest, candidate), axis=1)
            for part, interest, candidate in zip(parts, interests, candidates, strict=True)
        ]
        logits = [tf.squeeze(self.logit(each), axis=1) for each in self.mlp(groups, training=training)]
        return [
            self.add_to_logit(logit, part, interest, candidate)
            for logit, part, interest, candidate in zip(logits, parts, interests, candidates, strict=True)
        ]

    def embed(self, parts: Sequence[Part]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Candidates [B_i, E] and behaviours [N_i, E] of each part, from one look-up a part."""
        candidates, behaviours = [], []
        for part in parts:
            rows = self.item_embedding(tf.concat([part.inputs["target_item_id"], part.history], axis=0))
            sizes = [part.num_rows, tf.shape(part.history)[0]]
            candidate, behaviour = tf.split(tf.cast(rows, self.compute_dtype), sizes)
            candidates.append(candidate)
            behaviours.append(behaviour)
        return candidates, behaviours

    def compute_user_interest(
        self, parts: Sequence[Part], candidates: list[tf.Tensor], behaviours: list[tf.Tensor], training: bool
    ) -> list[tf.Tensor]:
        """[B_i, E] each, zero for an empty history: the behaviours' sum or mean, whatever the candidate."""
        del candidates, training
        interests = []
        for part, behaviour in zip(parts, behaviours, strict=True):
            total = part.positions.sum(behaviour)
            if self.pooling == "mean":
                length = tf.cast(part.inputs["history_length"], total.dtype)[:, None]
                total = tf.math.divide_no_nan(total, length)
            interests.append(total)
        return interests

    def build_groups(self, part: Part, interest: tf.Tensor, candidate: tf.Tensor) -> list[tf.Tensor]:
        """The MLP's input as a list of [B_i, width]."""
        groups = [*self.embed_profile(part), interest, candidate]
        if self.user_candidate_product:
            groups.append(interest * candidate)
        return [*groups, *self.embed_context(part)]

    def embed_profile(self, part: Part) -> list[tf.Tensor]:
        """The user profile [B_i, width], if there are such fields."""
        if self.profile_embedding is None:
            return []
        return [tf.cast(self.profile_embedding(part.inputs["user_id"]), self.compute_dtype)]

    def embed_context(self, part: Part) -> list[tf.Tensor]:
        """The context [B_i, width], if there are such fields."""
        if self.context_embedding is None:
            return []
        return [tf.cast(self.context_embedding(part.inputs), self.compute_dtype)]

    def add_to_logit(self, logit: tf.Tensor, part: Part, interest: tf.Tensor, candidate: tf.Tensor) -> tf.Tensor:
        """[B_i] the logit with what a model adds beside the MLP's."""
        del interest, candidate
        if self.item_bias is None:
            return logit
        bias = tf.gather(self.item_bias.value, self.item_embedding.find_rows(part.inputs["target_item_id"]))  # [B_i, 1]
        return logit + tf.cast(tf.squeeze(bias, axis=1), logit.dtype)
