"""Items carry their category and fields; fields by id or by key; the gradient of a table is rows; saved and loaded."""

import keras
import numpy as np
import tensorflow as tf

from din_train.model.embedding import FieldEmbedding, GivenVectors, ItemEmbedding


def make() -> ItemEmbedding:
    return ItemEmbedding(
        num_items=6, num_categories=4, item_size=2, category_size=1, item_category_ids=np.array([0, 1, 2, 2, 3, 1])
    )


def test_a_row_is_the_items_beside_its_categorys() -> None:
    layer = make()
    layer.items.assign(np.arange(12).reshape(6, 2))
    layer.categories.assign([[100], [101], [102], [103]])
    assert layer(tf.constant([3, 5, 1])).numpy().tolist() == [[6, 7, 102], [10, 11, 101], [2, 3, 101]]


def test_stored_ids_have_a_type_that_gpus_and_workers_take() -> None:
    """TensorFlow keeps int32 in the CPU's memory, looks up no uint32 on a GPU, and broadcasts none to workers."""
    layer = ItemEmbedding(
        num_items=4,
        num_categories=3,
        item_size=1,
        category_size=1,
        item_category_ids=np.array([0, 1, 2, 2]),
        item_row_ids=np.array([0, 1, 3, 2]),
        other_fields=make_lookup(),
    )
    assert {weight.dtype for weight in layer.weights} == {"float32", "int64"}
    found = layer.find_categories(tf.constant([3, 1])), layer.find_rows(tf.constant([3, 1]))
    assert [(each.dtype.name, each.numpy().tolist()) for each in found] == [("int32", [2, 1]), ("int32", [2, 1])]


def test_the_gradient_is_rows() -> None:
    layer = make()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([3, 5, 3])) * [[1.0], [10.0], [100.0]])
    gradient = tape.gradient(loss, layer.items.value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.indices.numpy().tolist() == [3, 5, 3]
    assert gradient.values.numpy().tolist() == [[1, 1], [10, 10], [100, 100]]


def test_a_hidden_id_has_the_unknown_row_and_keeps_category_and_fields() -> None:
    vectors = GivenVectors(shape=[4, 1], units=1, trained=True, vectors=np.array([[0], [5], [6], [7]], np.float32))
    vectors.projection.assign([[10]])
    options = {"num_items": 4, "num_categories": 3, "item_size": 1, "category_size": 1, "num_rows": 6}
    layer = ItemEmbedding(
        **options,
        item_category_ids=np.array([0, 1, 2, 2]),
        item_row_ids=np.array([0, 1, 5, 4]),
        other_fields=make_lookup(),
        given_vectors=[vectors],
    )
    layer.items.assign([[0], [10], [20], [30], [40], [50]])
    layer.categories.assign([[100], [101], [102]])
    with tf.GradientTape() as tape:
        rows = layer(tf.constant([3, -3, -2, 0]))
    assert rows.numpy().tolist() == [
        [40, 102, 4, 5, 104, 105, 70],
        [10, 102, 4, 5, 104, 105, 50],
        [10, 102, 4, 5, 106, 107, 50],
        [0, 100, 0, 1, 100, 101, 0],
    ]
    gradients = tape.gradient(rows, [layer.items.value, layer.categories.value, vectors.vectors.value])
    assert [each.indices.numpy().tolist() for each in gradients] == [[4, 1, 1, 0], [2, 2, 2, 0], [3, 1, 1, 0]]


def make_lookup() -> FieldEmbedding:
    """Two fields of four keys: 0 is padding, 1 unknown."""
    ids = {"brand": np.array([0, 1, 2, 2], np.int32), "price": np.array([0, 1, 3, 2], np.int32)}
    layer = FieldEmbedding(num_values={"brand": 3, "price": 4}, size=2, values_by_key=ids)
    layer.tables[0].assign(np.arange(6).reshape(3, 2))
    layer.tables[1].assign(100 + np.arange(8).reshape(4, 2))
    return layer


def test_rows_by_key_and_by_id() -> None:
    assert make_lookup()(tf.constant([3, 1])).numpy().tolist() == [[4, 5, 104, 105], [2, 3, 102, 103]]
    by_id = FieldEmbedding(num_values={"hour": 4}, size=1)
    by_id.tables[0].assign([[0], [1], [2], [3]])
    assert by_id({"hour": tf.constant([3, 2, 3])}).numpy().tolist() == [[3], [2], [3]]


def test_the_gradient_of_fields_is_rows() -> None:
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
