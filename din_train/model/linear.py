"""A learned number for every id in a batch, summed: what logistic regression is, and the wide part of other models."""

from typing import Any

import keras
import tensorflow as tf

from din_train.model.embedding import ItemEmbedding
from din_train.model.fields import FieldEmbedding
from din_train.model.positions import Positions


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

    def call(self, inputs: dict[str, tf.Tensor], history: tf.Tensor, positions: Positions) -> tf.Tensor:
        """A part of a batch, its [N] history ids and their positions -> [B]."""
        of_behaviours = tf.reduce_sum(self.behaviours(history), axis=1, keepdims=True)  # [N, 1]
        total = tf.reduce_sum(self.candidate(inputs["target_item_id"]), axis=1)
        total += tf.squeeze(positions.sum(of_behaviours), axis=1)
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
