"""Declared fields (paper section 4.1): an item's beside its category, the user's profile, the context."""

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
