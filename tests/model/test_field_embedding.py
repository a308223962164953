"""Declared fields: rows side by side, by id or by key; rows in the gradient; saved and loaded."""

import keras
import numpy as np
import tensorflow as tf

from din_train.model.embedding import ItemEmbedding
from din_train.model.fields import FieldEmbedding


def make_lookup() -> FieldEmbedding:
    """Two fields of four keys: 0 is padding, 1 unknown."""
    ids = {"brand": np.array([0, 1, 2, 2], np.int32), "price": np.array([0, 1, 3, 2], np.int32)}
    layer = FieldEmbedding(num_values={"brand": 3, "price": 4}, size=2, ids_by_key=ids)
    layer.tables[0].assign(np.arange(6).reshape(3, 2))
    layer.tables[1].assign(100 + np.arange(8).reshape(4, 2))
    return layer


def test_rows_by_key_and_by_id() -> None:
    assert make_lookup()(tf.constant([3, 1])).numpy().tolist() == [[4, 5, 104, 105], [2, 3, 102, 103]]
    by_id = FieldEmbedding(num_values={"hour": 4}, size=1)
    by_id.tables[0].assign([[0], [1], [2], [3]])
    assert by_id({"hour": tf.constant([3, 2, 3])}).numpy().tolist() == [[3], [2], [3]]


def test_the_gradient_is_rows() -> None:
    layer = make_lookup()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([2, 3, 1])))
    gradient = tape.gradient(loss, layer.tables[0].value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.indices.numpy().tolist() == [2, 2, 1]


def test_an_item_has_its_fields_beside_id_and_category_and_survives_its_config() -> None:
    options = {"num_items": 4, "num_categories": 3, "item_size": 1, "category_size": 1}
    layer = ItemEmbedding(**options, item_category_ids=np.array([0, 1, 2, 2]), other_fields=make_lookup())
    layer.items.assign([[0], [10], [20], [30]])
    layer.categories.assign([[0], [-1], [-2]])
    rows = layer(tf.constant([2, 3]))
    assert rows.numpy().tolist() == [[20, -2, 4, 5, 106, 107], [30, -2, 4, 5, 104, 105]]
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    again.set_weights(layer.get_weights())
    assert again(tf.constant([2, 3])).numpy().tolist() == rows.numpy().tolist()
