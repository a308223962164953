"""What every ranking model shares (paper section 4.2): embed, pool the history, concatenate, MLP -> logit."""

from typing import Any

import keras
import tensorflow as tf

from din_train.batches import build_signature
from din_train.model.embedding import ItemEmbedding
from din_train.model.fields import FieldEmbedding
from din_train.model.history import flatten_history
from din_train.model.mlp import Mlp


class RankingModel(keras.Model):
    """A model is a way to pool the history: `compute_user_interest`.

    `score` is `call` in inference mode, traced once for every batch shape: the one way to a score.

    Args:
        item_embedding: shared by candidate and history.
        mlp: above the concatenated groups.
        user_candidate_product: also feed user_interest * candidate to the MLP (the authors' 2020 code).
        profile_embedding: of the user profile fields, looked up by user id; None without any.
        context_embedding: of the context fields, whose ids are in the batch; None without any.
    """

    def __init__(
        self,
        *,
        item_embedding: ItemEmbedding,
        mlp: Mlp,
        user_candidate_product: bool,
        profile_embedding: FieldEmbedding | None = None,
        context_embedding: FieldEmbedding | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.item_embedding = item_embedding
        self.mlp = mlp
        self.logit = keras.layers.Dense(1, name="logit")
        self.user_candidate_product = user_candidate_product
        self.profile_embedding = profile_embedding
        self.context_embedding = context_embedding
        signature = build_signature(context_embedding.field_names if context_embedding else ())
        self.score = tf.function(lambda inputs: self(inputs, training=False), input_signature=[signature])

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """A batch (see `din_train.batches`) -> logit [B]."""
        candidate, behaviours, rows = self.embed(inputs)
        user_interest = self.compute_user_interest(candidate, behaviours, rows, training)  # [B, E]
        groups = [user_interest, candidate]
        if self.user_candidate_product:
            groups.append(user_interest * candidate)
        if self.profile_embedding is not None:
            groups.insert(0, self.profile_embedding(inputs["user_id"]))
        if self.context_embedding is not None:
            groups.append(self.context_embedding(inputs))
        hidden = self.mlp(tf.concat(groups, axis=1), training=training)
        return tf.squeeze(self.logit(hidden), axis=1)  # [B]

    def embed(self, inputs: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """A batch -> candidate [B, E], behaviours of the valid positions [N, E], their rows [N]."""
        history, rows = flatten_history(inputs["history_item_ids"], inputs["history_length"])
        candidate, behaviours = self.item_embedding([inputs["target_item_id"], history])
        return candidate, behaviours, rows

    def compute_user_interest(
        self, candidate: tf.Tensor, behaviours: tf.Tensor, rows: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """[B, E], zero for an empty history."""
        raise NotImplementedError
