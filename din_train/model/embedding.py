"""Item-field embeddings: an item is its id's row beside the rows of its category and other fields (section 4.1)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.model.fields import FieldEmbedding


@keras.saving.register_keras_serializable(package="din_train")
class ItemEmbedding(keras.layers.Layer):
    """Item ids -> [item row; category row; rows of other fields], E = the sum of their widths.

    Candidate and history share the tables. An item's category and fields are looked up here, so a batch carries item
    ids only. The gradient of a table is `tf.IndexedSlices`, a row an id looked up; optimisers sum those of one id.

    Args:
        num_items, num_categories: table lengths, the reserved ids 0 (padding) and 1 (unknown) included.
        item_size, category_size: widths.
        item_category_ids: [num_items] category of each item id; saved with the weights. Left out when loading.
        other_fields: looks up the rows of the other fields by item id; None without any.
    """

    def __init__(
        self,
        *,
        num_items: int,
        num_categories: int,
        item_size: int,
        category_size: int,
        item_category_ids: NDArray[np.int32] | None = None,
        other_fields: FieldEmbedding | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "num_items": num_items,
            "num_categories": num_categories,
            "item_size": item_size,
            "category_size": category_size,
        }
        self.num_items, self.item_size = num_items, item_size
        initializer = keras.initializers.RandomNormal(stddev=0.01)
        self.items = self.add_weight(
            name="items", shape=(num_items, item_size), initializer=initializer, autocast=False
        )
        self.categories = self.add_weight(
            name="categories", shape=(num_categories, category_size), initializer=initializer, autocast=False
        )
        self.item_category_ids = self.add_weight(
            name="item_category_ids", shape=(num_items,), dtype="int32", initializer="zeros", trainable=False
        )
        if item_category_ids is not None:
            self.item_category_ids.assign(item_category_ids)
        self.other_fields = other_fields
        self.built = True

    def call(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[n] -> [n, E]."""
        category_ids = tf.gather(self.item_category_ids.value, item_ids)
        parts = [tf.gather(self.items.value, item_ids), tf.gather(self.categories.value, category_ids)]
        if self.other_fields is not None:
            parts.append(self.other_fields(item_ids))
        return tf.concat(parts, axis=1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self._config,
            "other_fields": keras.saving.serialize_keras_object(self.other_fields),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ItemEmbedding":
        """The layer without weights; `other_fields` is a layer of its own."""
        return cls(**{**config, "other_fields": keras.saving.deserialize_keras_object(config["other_fields"])})
