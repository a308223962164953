"""Item-field embeddings: an item is its id's row beside the rows of its category and other fields (section 4.1)."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


@keras.saving.register_keras_serializable(package="din_train")
class ItemEmbedding(keras.layers.Layer):
    """Item ids -> [item row; category row; rows of other fields], E = item_size + category_size + fields * field_size.

    Candidate and history share the tables. An item's category and fields are looked up here, so a batch carries item
    ids only. Each distinct id of a batch is looked up once, so the table's gradient has one row an id.

    Args:
        num_items, num_categories: table lengths, the reserved ids 0 (padding) and 1 (unknown) included.
        item_size, category_size: widths.
        item_category_ids: [num_items] category of each item id; saved with the weights. Left out when loading.
        num_values, field_size, item_field_ids: the same for the other fields, by name.
    """

    def __init__(
        self,
        *,
        num_items: int,
        num_categories: int,
        item_size: int,
        category_size: int,
        item_category_ids: NDArray[np.int32] | None = None,
        num_values: Mapping[str, int] | None = None,
        field_size: int = 0,
        item_field_ids: Mapping[str, NDArray[np.int32]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "num_items": num_items,
            "num_categories": num_categories,
            "item_size": item_size,
            "category_size": category_size,
            "num_values": dict(num_values or {}),
            "field_size": field_size,
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
        self.fields = [
            self.add_weight(name=f"field_{place}", shape=(length, field_size), initializer=initializer)
            for place, length in enumerate((num_values or {}).values())
        ]
        self.item_field_ids = [
            self.add_weight(
                name=f"item_field_ids_{place}", shape=(num_items,), dtype="int32", initializer="zeros", trainable=False
            )
            for place in range(len(self.fields))
        ]
        if item_field_ids is not None:
            for lookup, name in zip(self.item_field_ids, num_values or {}, strict=True):
                lookup.assign(item_field_ids[name])
        self.built = True

    def call(self, item_id_lists: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Several [n_i] id vectors -> as many [n_i, E] tensors."""
        distinct, places = tf.unique(tf.concat(item_id_lists, axis=0))  # [M], [sum n_i]
        tables = [(self.categories, self.item_category_ids), *zip(self.fields, self.item_field_ids, strict=True)]
        of_fields = [tf.gather(table.value, tf.gather(lookup.value, distinct)) for table, lookup in tables]
        rows = tf.concat([tf.gather(self.items.value, distinct), *of_fields], axis=1)  # [M, E]
        sizes = [tf.shape(item_ids)[0] for item_ids in item_id_lists]
        return [tf.gather(rows, each) for each in tf.split(places, sizes, num=len(item_id_lists))]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}
