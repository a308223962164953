"""What the models with an MLP share (paper section 4.2): embed, pool the history, concatenate, MLP -> logit."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.embedding import FieldEmbedding, ItemEmbedding
from din_train.model.mlp import Mlp
from din_train.model.normalization import build_normalization
from din_train.model.ranking_model import LocatedBatch, RankingModel


class DeepModel(RankingModel):
    """MLP([user profile, user interest, candidate, context]), the paper's four groups.

    By itself the paper's BaseModel; the others override a step. If rows have S sequences (clicks, carts), each of them
    is pooled by itself, and the user interest is these S vectors side by side; all sequences share the embeddings.

    Args:
        item_embedding: shared by candidate and history.
        mlp: above the concatenated groups.
        pooling: of the behaviours, `sum` (the paper) or `mean`.
        user_candidate_product: also feed user_interest * candidate to the MLP (the authors' 2020 code), of each
            sequence.
        interest_normalization: of the user interest, see `build_normalization`.
        interest_units: width of a linear layer on the interest; None without one.
        item_bias: add a learned number per candidate item to the logit.
        profile_embedding: of the user profile fields, looked up by user id; None without any.
        context_embedding: of the context fields, whose ids are in the batch; None without any.
        behaviour_embedding: of what is known of a behaviour beside its item (type, price, time gap), whose ids are in
            the batch; its rows stand beside the behaviour's row, and a learned vector beside the candidate's. None
            without any.
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
        behaviour_embedding: FieldEmbedding | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            item_embedding=item_embedding,
            context_widths=context_embedding.input_widths if context_embedding else {},
            behaviour_fields=behaviour_embedding.field_names if behaviour_embedding else (),
            **kwargs,
        )
        self.mlp = mlp
        self.logit = keras.layers.Dense(1, name="logit", dtype="float32")  # bfloat16 would tie scores that differ
        self.pooling = pooling
        self.user_candidate_product = user_candidate_product
        self.interest_norm = build_normalization(interest_normalization, self.dtype_policy)
        self.interest_dense = keras.layers.Dense(interest_units) if interest_units else None
        self.profile_embedding = profile_embedding
        self.context_embedding = context_embedding
        self.behaviour_embedding = behaviour_embedding
        self.candidate_row = (
            self.add_weight(
                name="candidate_row",
                shape=(1, behaviour_embedding.width),
                initializer=keras.initializers.RandomNormal(stddev=0.01),
                autocast=False,
            )
            if behaviour_embedding
            else None
        )
        self.item_bias = (
            self.add_weight(name="item_bias", shape=(item_embedding.num_rows, 1), initializer="zeros", autocast=False)
            if item_bias
            else None
        )

    def compute_logits(self, batch: LocatedBatch, training: bool) -> tf.Tensor:
        """[M]."""
        candidate, behaviours = self.embed(batch)
        interest = self.compute_user_interest(batch, candidate, behaviours, training)
        return self.compute_logits_of_interest(batch, candidate, interest, training)

    def compute_logits_of_interest(
        self, batch: LocatedBatch, candidate: tf.Tensor, interest: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """[M], from pooled sequences [M, S * E]."""
        if self.interest_norm is not None:
            interest = self.interest_norm(interest, training=training)
        if self.interest_dense is not None:
            interest = self.interest_dense(interest)
        inputs = tf.concat(self.build_mlp_inputs(batch, interest, candidate), axis=1)
        logit = tf.squeeze(self.logit(self.mlp(inputs, training=training)), axis=1)
        return self.add_to_logit(logit, batch, interest, candidate)

    def embed(self, batch: LocatedBatch) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Candidate [M, E] and the behaviours [N, E] of each sequence, the history first, from one look-up.

        With behaviour fields all are wider: a behaviour by the rows of its fields, the candidate by a learned vector.
        """
        ids = [batch.inputs["target_item_id"], *(each.item_ids for each in batch.sequences)]
        rows = self.item_embedding(tf.concat(ids, axis=0))
        sizes = [tf.shape(each)[0] for each in ids]
        candidate, *behaviours = tf.split(tf.cast(rows, self.compute_dtype), sizes)
        if self.behaviour_embedding is not None and self.candidate_row is not None:
            of_candidate = tf.repeat(self.candidate_row.value, sizes[0], axis=0)
            candidate = tf.concat([candidate, tf.cast(of_candidate, self.compute_dtype)], axis=1)
            of_behaviours = [self.behaviour_embedding(each.fields) for each in batch.sequences]
            behaviours = [
                tf.concat([items, tf.cast(of_fields, self.compute_dtype)], axis=1)
                for items, of_fields in zip(behaviours, of_behaviours, strict=True)
            ]
        return candidate, behaviours

    def compute_user_interest(
        self, batch: LocatedBatch, candidate: tf.Tensor, behaviours: Sequence[tf.Tensor], training: bool
    ) -> tf.Tensor:
        """[M, S * E]: the pooled vector of each sequence, zero if it is empty.

        Args:
            behaviours: [N, E] of each sequence.
        """
        interests = [
            self.pool(batch, place, candidate, of_sequence, training) for place, of_sequence in enumerate(behaviours)
        ]
        return interests[0] if len(interests) == 1 else tf.concat(interests, axis=1)

    def pool(
        self, batch: LocatedBatch, place: int, candidate: tf.Tensor, behaviours: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """[M, E], zero for an empty sequence: the behaviours' sum or mean, whatever the candidate.

        Args:
            place: of the sequence; 0 is the history.
            behaviours: [N, E].
        """
        del candidate, training
        sequence = batch.sequences[place]
        total = sequence.positions.sum(behaviours)  # [B, E]
        if self.pooling == "mean":
            total = tf.math.divide_no_nan(total, tf.cast(sequence.length, total.dtype)[:, None])
        return batch.to_candidates(total)

    def build_mlp_inputs(self, batch: LocatedBatch, interest: tf.Tensor, candidate: tf.Tensor) -> list[tf.Tensor]:
        """The MLP's input as a list of [M, width]."""
        groups = [*self.embed_profile(batch), interest, candidate]
        if self.user_candidate_product:
            times = interest.shape[1] // candidate.shape[1]
            groups.append(interest * (candidate if times == 1 else tf.tile(candidate, [1, times])))
        return [*groups, *self.embed_context(batch)]

    def embed_profile(self, batch: LocatedBatch) -> list[tf.Tensor]:
        """The user profile [M, width], if there are such fields."""
        if self.profile_embedding is None:
            return []
        return [tf.cast(self.profile_embedding(batch.inputs["user_id"]), self.compute_dtype)]

    def embed_context(self, batch: LocatedBatch) -> list[tf.Tensor]:
        """The context [M, width], if there are such fields."""
        if self.context_embedding is None:
            return []
        return [tf.cast(self.context_embedding(batch.inputs), self.compute_dtype)]

    def add_to_logit(
        self, logit: tf.Tensor, batch: LocatedBatch, interest: tf.Tensor, candidate: tf.Tensor
    ) -> tf.Tensor:
        """[M] the logit with what a model adds beside the MLP's."""
        del interest, candidate
        if self.item_bias is None:
            return logit
        bias = tf.gather(self.item_bias.value, self.item_embedding.find_rows(batch.inputs["target_item_id"]))  # [M, 1]
        return logit + tf.cast(tf.squeeze(bias, axis=1), logit.dtype)
