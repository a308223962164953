"""Items carry their category; candidate and history share tables; one gradient row an id."""

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
    first, second = layer([tf.constant([3, 5]), tf.constant([3, 1, 4])])
    assert first.numpy().tolist() == [[6, 7, 102], [10, 11, 101]]
    assert second.numpy().tolist() == [[6, 7, 102], [2, 3, 101], [8, 9, 103]]


def test_the_gradient_has_one_summed_row_a_distinct_id() -> None:
    layer = make()
    with tf.GradientTape() as tape:
        first, second = layer([tf.constant([3, 5]), tf.constant([3, 3])])
        loss = tf.reduce_sum(first) + 10.0 * tf.reduce_sum(second)
    gradient = tape.gradient(loss, layer.items.value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.indices.numpy().tolist() == [3, 5]
    assert gradient.values.numpy().tolist() == [[21, 21], [1, 1]]
