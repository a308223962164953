"""Embeddings (paper section 4.1): an item's id beside its category and other fields, user profile, context."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


@keras.saving.register_keras_serializable(package="din_train")
class FieldEmbedding(keras.layers.Layer):
    """Ids of several fields -> their rows side by side, width = fields * size.

    Args:
        num_values: field -> table length, the reserved ids 0 (padding) and 1 (unknown) included.
        size: width of a field's rows.
        ids_by_key: field -> [keys] the field's id of each key, where ids are looked up by a key (an item's or a user's
            id); saved with the weights. Without it the ids themselves are the input.
        num_keys: keys there are; 0 without a lookup. Given when loading, in place of `ids_by_key`.
    """

    def __init__(
        self,
        *,
        num_values: Mapping[str, int],
        size: int,
        ids_by_key: Mapping[str, NDArray[np.int32]] | None = None,
        num_keys: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.field_names = tuple(num_values)
        num_keys = len(next(iter(ids_by_key.values()))) if ids_by_key else num_keys
        self._config = {"num_values": dict(num_values), "size": size, "num_keys": num_keys}
        initializer = keras.initializers.RandomNormal(stddev=0.01)
        self.tables = [
            self.add_weight(name=f"field_{place}", shape=(length, size), initializer=initializer, autocast=False)
            for place, length in enumerate(num_values.values())
        ]
        self.lookups = [
            self.add_weight(name=f"ids_{place}", shape=(num_keys,), dtype="int32", initializer="zeros", trainable=False)
            for place in range(len(num_values) if num_keys else 0)
        ]
        for lookup, name in zip(self.lookups, num_values, strict=bool(num_keys)):
            if ids_by_key is not None:
                lookup.assign(ids_by_key[name])
        self.built = True

    def call(self, ids: tf.Tensor | Mapping[str, tf.Tensor]) -> tf.Tensor:
        """[B] keys, or field -> [B] ids, to [B, fields * size]."""
        if self.lookups:
            columns = [tf.gather(lookup.value, ids) for lookup in self.lookups]
        else:
            columns = [ids[name] for name in self.field_names]
        rows = [tf.gather(table.value, column) for table, column in zip(self.tables, columns, strict=True)]
        return tf.concat(rows, axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}


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


def find_tables(model: keras.Model) -> list[keras.Variable]:
    """The weights with one row per id, whose gradients are rows. Weight decay would move every row at every step."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, ItemEmbedding | FieldEmbedding)]
    tables = [weight for layer in layers for weight in layer.trainable_weights]
    return tables + [weight for weight in model.trainable_weights if weight.name in ("item_bias", "crosses")]
