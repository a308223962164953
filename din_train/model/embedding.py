"""Item-field embeddings: an item is its id's row beside its category's row (paper section 4.1)."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


@keras.saving.register_keras_serializable(package="din_train")
class ItemEmbedding(keras.layers.Layer):
    """Item ids -> [item row; category row], E = item_size + category_size.

    Candidate and history share the tables. The category of an item is looked up here, so a batch carries item
    ids only. Each distinct id of a batch is looked up once, so the table's gradient has one row an id.

    Args:
        num_items, num_categories: table lengths, the reserved ids 0 (padding) and 1 (unknown) included.
        item_size, category_size: widths.
        item_category_ids: [num_items] category of each item id; saved with the weights. Left out when loading.
    """

    def __init__(
        self,
        *,
        num_items: int,
        num_categories: int,
        item_size: int,
        category_size: int,
        item_category_ids: NDArray[np.int32] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "num_items": num_items,
            "num_categories": num_categories,
            "item_size": item_size,
            "category_size": category_size,
        }
        initializer = keras.initializers.RandomNormal(stddev=0.01)
        self.items = self.add_weight(name="items", shape=(num_items, item_size), initializer=initializer)
        self.categories = self.add_weight(
            name="categories", shape=(num_categories, category_size), initializer=initializer
        )
        self.item_category_ids = self.add_weight(
            name="item_category_ids", shape=(num_items,), dtype="int32", initializer="zeros", trainable=False
        )
        if item_category_ids is not None:
            self.item_category_ids.assign(item_category_ids)
        self.built = True

    def call(self, item_id_lists: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Several [n_i] id vectors -> as many [n_i, E] tensors."""
        distinct, places = tf.unique(tf.concat(item_id_lists, axis=0))  # [M], [sum n_i]
        category_ids = tf.gather(self.item_category_ids.value, distinct)
        rows = tf.concat(
            [tf.gather(self.items.value, distinct), tf.gather(self.categories.value, category_ids)], axis=1
        )  # [M, E]
        sizes = [tf.shape(item_ids)[0] for item_ids in item_id_lists]
        return [tf.gather(rows, each) for each in tf.split(places, sizes, num=len(item_id_lists))]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}
