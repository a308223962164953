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
        item_row_ids: [num_items] row of each item id where some share one; saved with the weights. None: its own.
        shares_rows: given when loading, in place of `item_row_ids`.
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
        item_row_ids: NDArray[np.int32] | None = None,
        shares_rows: bool = False,
        other_fields: FieldEmbedding | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "num_items": num_items,
            "num_categories": num_categories,
            "item_size": item_size,
            "category_size": category_size,
            "shares_rows": shares_rows or item_row_ids is not None,
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
        self.item_row_ids = (
            self.add_weight(
                name="item_row_ids", shape=(num_items,), dtype="int32", initializer="zeros", trainable=False
            )
            if self._config["shares_rows"]
            else None
        )
        if self.item_row_ids is not None and item_row_ids is not None:
            self.item_row_ids.assign(item_row_ids)
        self.other_fields = other_fields
        self.built = True

    def call(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[n] -> [n, E]."""
        category_ids = tf.gather(self.item_category_ids.value, item_ids)
        rows = tf.gather(self.items.value, self.find_rows(item_ids))
        parts = [rows, tf.gather(self.categories.value, category_ids)]
        if self.other_fields is not None:
            parts.append(self.other_fields(item_ids))
        return tf.concat(parts, axis=1)

    def find_rows(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Item ids -> the rows that they have in a table of items."""
        return item_ids if self.item_row_ids is None else tf.gather(self.item_row_ids.value, item_ids)

    def sum_by_row(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """[num_items] counts of item ids -> of the rows."""
        if self.item_row_ids is None:
            return counts
        return np.bincount(self.item_row_ids.numpy(), weights=counts, minlength=self.num_items).astype(np.int64)

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
