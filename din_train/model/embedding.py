"""Embeddings (paper section 4.1): an item's id beside its category and other fields, user profile, context."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.dataset.fields import NewItems
from din_train.dataset.vocabulary import PAD_ID, UNKNOWN_ID

# What ids are stored as. TensorFlow keeps a variable of int32 in the CPU's memory, even if there is a GPU: each look-up
# would wait for the CPU, and XLA refuses such a variable. Of uint32 it has no look-up on a GPU (GatherV2), and workers
# cannot share such a variable (CollectiveBcastSend).
_STORED_IDS = "int64"


def _gather(table: Any, keys: tf.Tensor) -> tf.Tensor:
    """`table[keys]`; stored ids as int32."""
    found = tf.gather(table, keys)
    return tf.cast(found, tf.int32) if found.dtype == tf.as_dtype(_STORED_IDS) else found


class _LookUp:
    """What keys have, and what keys have that were added after training (one at least).

    Args:
        known: [keys, ...] a weight.
    """

    def __init__(self, known: keras.Variable) -> None:
        self._known = known
        self._new: tf.Variable | None = None

    def add(self, values: NDArray[Any]) -> None:
        """Take the [K, ...] values of the keys after the known ones, in place of those that were added before."""
        width = tuple(self._known.shape)[1:]
        if width and self._known.dtype == _STORED_IDS:
            fitted = np.zeros((len(values), *width), np.int32)
            fitted[:, : values.shape[1]] = values[:, : width[0]]
            values = fitted
        if self._new is None:
            shape = tf.TensorShape([None, *width])
            self._new = tf.Variable(values, dtype=self._known.dtype, shape=shape, trainable=False)
        else:
            self._new.assign(values)

    @contextmanager
    def adding(self, values: tf.Tensor) -> Iterator[None]:
        """As `add`, for what the body traces: [K, ...] of the known width, a tensor of that graph."""
        before, self._new = self._new, values
        try:
            yield
        finally:
            self._new = before

    def find(self, keys: tf.Tensor) -> tf.Tensor:
        """[n] keys -> [n, ...]."""
        if self._new is None:
            return _gather(self._known.value, keys)
        count = self._known.shape[0]
        known = _gather(self._known.value, tf.minimum(keys, count - 1))
        new = _gather(self._new, tf.maximum(keys - count, 0))
        is_known = keys < count
        return tf.where(is_known if known.shape.rank == 1 else is_known[:, None], known, new)


# Of the numbers in a table that begins at random.
TABLE_STDDEV = 0.01

# The table of a number has a row for it, and one for its absence.
NUMBER_ROWS = 2


@keras.saving.register_keras_serializable(package="din_train")
class FieldEmbedding(keras.layers.Layer):
    """Fields -> their rows side by side, width = fields * size.

    A field is one of these:

        one id                the id's row
        several ids           the sum, mean or maximum of the rows of those that are not padding; zero if all are
        a number (x, missing) x * v + missing * u, with learned v and u: the rows of its table (x is 0 if it is missing)

    Args:
        num_values: field -> table length, the reserved ids 0 (padding) and 1 (unknown) included; 2 of a number.
        size: width of a field's rows.
        poolings: field of several ids -> `sum`, `mean` or `max`.
        widths: input of several ids -> V, how many at most.
        values_by_key: field -> what each key (an item's or a user's id) has of it; saved with the weights: [keys] int32
            ids, [keys, V] int32 ids padded with 0, or [keys, 2] float32 numbers. Without it ids are the input.
        shapes: field -> shape of what the keys have; empty without a look-up. Given when loading, in place of
            `values_by_key`.
    """

    def __init__(
        self,
        *,
        num_values: Mapping[str, int],
        size: int,
        poolings: Mapping[str, str] | None = None,
        widths: Mapping[str, int] | None = None,
        values_by_key: Mapping[str, NDArray[Any]] | None = None,
        shapes: Mapping[str, Sequence[Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.field_names = tuple(num_values)
        self.poolings = dict(poolings or {})
        if values_by_key is not None:
            shapes = {name: [*values_by_key[name].shape, values_by_key[name].dtype.name] for name in num_values}
        self._config: dict[str, Any] = {
            "num_values": dict(num_values),
            "size": size,
            "poolings": self.poolings,
            "widths": dict(widths or {}),
            "shapes": {name: list(shape) for name, shape in (shapes or {}).items()},
        }
        initializer = keras.initializers.RandomNormal(stddev=TABLE_STDDEV)
        self.tables = [
            self.add_weight(name=f"field_{place}", shape=(length, size), initializer=initializer, autocast=False)
            for place, length in enumerate(num_values.values())
        ]
        self.lookups = [
            self.add_weight(
                name=f"ids_{place}",
                shape=tuple(shape[:-1]),
                dtype=_STORED_IDS if shape[-1] == "int32" else shape[-1],
                initializer="zeros",
                trainable=False,
                autocast=False,
            )
            for place, shape in enumerate(self._config["shapes"].values())
        ]
        for lookup, name in zip(self.lookups, num_values, strict=bool(self.lookups)):
            if values_by_key is not None:
                lookup.assign(values_by_key[name])
        self._found = tuple(map(_LookUp, self.lookups))
        self.built = True

    def add_keys(self, values_by_key: Mapping[str, NDArray[Any]]) -> None:
        """What the keys after the known ones have of each field, in place of those that were added before."""
        for found, name in zip(self._found, self.field_names, strict=True):
            found.add(values_by_key[name])

    @contextmanager
    def adding_keys(self, values_by_key: Mapping[str, tf.Tensor]) -> Iterator[None]:
        """As `add_keys`, for what the body traces."""
        with ExitStack() as stack:
            for found, name in zip(self._found, self.field_names, strict=True):
                stack.enter_context(found.adding(values_by_key[name]))
            yield

    @property
    def width(self) -> int:
        """Of the output."""
        return len(self.field_names) * int(self._config["size"])

    @property
    def input_widths(self) -> dict[str, int | None]:
        """Field of the inputs -> V of one of several ids; None of others."""
        return {name: self._config["widths"].get(name) for name in self.field_names}

    def call(self, ids: tf.Tensor | Mapping[str, tf.Tensor]) -> tf.Tensor:
        """[B] keys, or field -> [B] or [B, V] ids, to [B, fields * size]."""
        if self.lookups:
            columns = [found.find(ids) for found in self._found]
        else:
            columns = [ids[name] for name in self.field_names]
        return tf.concat(
            [
                self._embed(name, table.value, column)
                for name, table, column in zip(self.field_names, self.tables, columns, strict=True)
            ],
            axis=1,
        )

    def _embed(self, name: str, table: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        if column.dtype.is_floating:
            return tf.matmul(column, table)
        rows = tf.gather(table, column)
        return rows if name not in self.poolings else pool_rows(rows, column != PAD_ID, self.poolings[name])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}


def pool_rows(rows: tf.Tensor, valid: tf.Tensor, pooling: str) -> tf.Tensor:
    """[B, V, size] rows and [B, V] which of them count -> [B, size]: their `sum`, `mean` or `max`; 0 if none counts."""
    weights = tf.cast(valid, rows.dtype)[:, :, None]
    if pooling == "max":
        lowest = tf.reduce_max(tf.where(valid[:, :, None], rows, rows.dtype.min), axis=1)
        return lowest * tf.reduce_max(weights, axis=1)
    total = tf.reduce_sum(rows * weights, axis=1)
    return total if pooling == "sum" else tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1))


@keras.saving.register_keras_serializable(package="din_train")
class GivenVectors(keras.layers.Layer):
    """Item ids -> W v, v the item's given vector (a text or image embedding): a linear layer without a bias.

    Without a bias the zero vector of an item that has none stays zero. A vector belongs to the id: an item whose id is
    hidden (negative), or that came after training, has that of the unknown item: zero unless training moves it.

    Args:
        shape: items (the reserved ids included) and width of the vectors.
        units: width of the output.
        trained: whether training moves the vectors, too.
        vectors: [num_items, D]; saved with the weights. Left out when loading.
    """

    def __init__(
        self,
        *,
        shape: Sequence[int],
        units: int,
        trained: bool,
        vectors: NDArray[np.float32] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {"shape": list(shape), "units": units, "trained": trained}
        self.vectors = self.add_weight(
            name="vectors", shape=tuple(shape), initializer="zeros", trainable=trained, autocast=False
        )
        self.projection = self.add_weight(
            name="projection", shape=(shape[1], units), initializer="glorot_uniform", autocast=False
        )
        if vectors is not None:
            self.vectors.assign(vectors)
        self.built = True

    def call(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[n] -> [n, units]."""
        is_known = (item_ids >= 0) & (item_ids < self.vectors.shape[0])
        vectors = tf.gather(self.vectors.value, tf.where(is_known, item_ids, UNKNOWN_ID))
        return tf.matmul(vectors, self.projection.value)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}


@keras.saving.register_keras_serializable(package="din_train")
class ItemEmbedding(keras.layers.Layer):
    """Item ids -> [item row; category row; rows of other fields; given vectors], E = the sum of their widths.

    Candidate and history share the tables. An item's category and fields are looked up here, so a batch carries item
    ids only. The gradient of a table is `tf.IndexedSlices`, a row an id looked up; optimisers sum those of one id.

    A negative id, -i, is item i with its id hidden, as training has some (`vocabulary.unknown_rate`): it has the
    unknown item's row, and the category and other fields of item i. An item that came after training is scored so, too.

    Args:
        num_items: items, the reserved ids 0 (padding) and 1 (unknown) included.
        num_categories: table length, likewise.
        item_size, category_size: widths.
        item_category_ids: [num_items] category of each item id; saved with the weights. Left out when loading.
        item_row_ids: [num_items] row of each item id where some share one; saved with the weights. None: its own.
        num_rows: length of the table of items if some share rows; `num_items` if left out.
        shares_rows: given when loading, in place of `item_row_ids`.
        other_fields: looks up the rows of the other fields by item id; None without any.
        given_vectors: projects given vectors by item id.
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
        num_rows: int | None = None,
        shares_rows: bool = False,
        other_fields: FieldEmbedding | None = None,
        given_vectors: Sequence[GivenVectors] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "num_items": num_items,
            "num_categories": num_categories,
            "item_size": item_size,
            "category_size": category_size,
            "num_rows": num_rows or num_items,
            "shares_rows": shares_rows or item_row_ids is not None,
        }
        self.num_rows, self.item_size = num_rows or num_items, item_size
        initializer = keras.initializers.RandomNormal(stddev=TABLE_STDDEV)
        self.items = self.add_weight(
            name="items", shape=(self.num_rows, item_size), initializer=initializer, autocast=False
        )
        self.categories = self.add_weight(
            name="categories", shape=(num_categories, category_size), initializer=initializer, autocast=False
        )
        self.item_category_ids = self.add_weight(
            name="item_category_ids", shape=(num_items,), dtype=_STORED_IDS, initializer="zeros", trainable=False
        )
        if item_category_ids is not None:
            self.item_category_ids.assign(item_category_ids)
        self.item_row_ids = (
            self.add_weight(
                name="item_row_ids", shape=(num_items,), dtype=_STORED_IDS, initializer="zeros", trainable=False
            )
            if self._config["shares_rows"]
            else None
        )
        if self.item_row_ids is not None and item_row_ids is not None:
            self.item_row_ids.assign(item_row_ids)
        self.other_fields = other_fields
        self.given_vectors = list(given_vectors)
        self._categories = _LookUp(self.item_category_ids)
        self._new_rows: tf.Variable | None = None
        self.built = True

    def add_items(self, items: NewItems) -> None:
        """Take new items, in place of those that were added before; what was traced earlier does not know of them."""
        self._categories.add(items.category_ids)
        if self.other_fields is not None:
            self.other_fields.add_keys(items.fields)
        if self._new_rows is None:
            self._new_rows = tf.Variable(items.rows, shape=[None], trainable=False)
        else:
            self._new_rows.assign(items.rows)

    @contextmanager
    def adding_items(self, items: NewItems) -> Iterator[None]:
        """As `add_items`, for what the body traces: the items' values are tensors of that graph, one item at least."""
        before, self._new_rows = self._new_rows, items.rows
        try:
            with ExitStack() as stack:
                stack.enter_context(self._categories.adding(items.category_ids))
                if self.other_fields is not None:
                    stack.enter_context(self.other_fields.adding_keys(items.fields))
                yield
        finally:
            self._new_rows = before

    def call(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[n] -> [n, E]."""
        category_ids = self.find_categories(item_ids)
        rows = tf.gather(self.items.value, self.find_rows(item_ids))
        parts = [rows, tf.gather(self.categories.value, category_ids)]
        if self.other_fields is not None:
            parts.append(self.other_fields(tf.abs(item_ids)))
        parts += [vectors(item_ids) for vectors in self.given_vectors]
        return tf.concat(parts, axis=1)

    def find_rows(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Item ids -> the rows that they have in a table of items."""
        item_ids = tf.where(item_ids < 0, UNKNOWN_ID, item_ids)
        if self._new_rows is None:
            return item_ids if self.item_row_ids is None else _gather(self.item_row_ids.value, item_ids)
        count = self.item_category_ids.shape[0]
        known = tf.minimum(item_ids, count - 1)
        known = known if self.item_row_ids is None else _gather(self.item_row_ids.value, known)
        return tf.where(item_ids < count, known, tf.gather(self._new_rows, tf.maximum(item_ids - count, 0)))

    def find_categories(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Item ids -> the ids of their categories."""
        return self._categories.find(tf.abs(item_ids))

    def sum_by_row(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """[num_items] counts of item ids -> [num_rows] of the rows."""
        if self.item_row_ids is None:
            return counts
        return np.bincount(self.item_row_ids.numpy(), weights=counts, minlength=self.num_rows).astype(np.int64)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self._config,
            "other_fields": keras.saving.serialize_keras_object(self.other_fields),
            "given_vectors": [keras.saving.serialize_keras_object(each) for each in self.given_vectors],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ItemEmbedding":
        """The layer without weights; `other_fields` and `given_vectors` are layers of their own."""
        layers = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("other_fields", "given_vectors")}
        return cls(**{**config, **layers})


def find_tables(model: keras.Model) -> list[keras.Variable]:
    """The weights with one row per id, whose gradients are rows. Weight decay would move every row at every step."""
    kinds = ItemEmbedding | FieldEmbedding | GivenVectors
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, kinds)]
    tables = [weight for layer in layers for weight in layer.trainable_weights]
    return tables + [weight for weight in model.trainable_weights if weight.name in ("item_bias", "crosses")]
