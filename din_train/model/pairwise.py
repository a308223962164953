"""Products of every two fields' vectors: what PNN and DeepFM add to BaseModel."""

from collections.abc import Sequence

import tensorflow as tf


def stack_fields(groups: Sequence[tf.Tensor], size: int) -> tf.Tensor:
    """Groups of [B, fields * size] -> [B, F, size], a vector a field."""
    wide = tf.concat(groups, axis=1)
    return tf.reshape(wide, [tf.shape(wide)[0], wide.shape[1] // size, size])


def compute_inner_products(fields: tf.Tensor) -> tf.Tensor:
    """[B, F, size] -> [B, F (F - 1) / 2] products of two different fields."""
    products = tf.matmul(fields, fields, transpose_b=True)  # [B, F, F]
    pairs = [(i, j) for i in range(fields.shape[1]) for j in range(i)]
    places = tf.constant([i * fields.shape[1] + j for i, j in pairs])
    return tf.gather(tf.reshape(products, [tf.shape(fields)[0], fields.shape[1] ** 2]), places, axis=1)


def compute_factorization(fields: tf.Tensor) -> tf.Tensor:
    """[B, F, size] -> [B], the sum of those products in one pass over the fields: ((sum v)^2 - sum v^2) / 2."""
    square_of_sum = tf.square(tf.reduce_sum(fields, axis=1))
    return tf.reduce_sum(square_of_sum - tf.reduce_sum(tf.square(fields), axis=1), axis=1) / 2
