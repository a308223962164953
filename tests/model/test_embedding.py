"""Items carry their category; the gradient of a table is rows."""

import numpy as np
import tensorflow as tf

from din_train.model.embedding import ItemEmbedding


def make() -> ItemEmbedding:
    return ItemEmbedding(
        num_items=6, num_categories=4, item_size=2, category_size=1, item_category_ids=np.array([0, 1, 2, 2, 3, 1])
    )


def test_a_row_is_the_items_beside_its_categorys() -> None:
    layer = make()
    layer.items.assign(np.arange(12).reshape(6, 2))
    layer.categories.assign([[100], [101], [102], [103]])
    assert layer(tf.constant([3, 5, 1])).numpy().tolist() == [[6, 7, 102], [10, 11, 101], [2, 3, 101]]


def test_the_gradient_is_rows() -> None:
    layer = make()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([3, 5, 3])) * [[1.0], [10.0], [100.0]])
    gradient = tape.gradient(loss, layer.items.value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.indices.numpy().tolist() == [3, 5, 3]
    assert gradient.values.numpy().tolist() == [[1, 1], [10, 10], [100, 100]]
