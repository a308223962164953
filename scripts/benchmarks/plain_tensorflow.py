"""DIN as a good engineer writes it without Keras layers: the faster baseline of `bench_training.py`.

A step is one `tf.function` on variables, traced once for every shape; Keras gives the optimiser alone. As in a textbook
each row has its own history, padded to the longest of its batch, the unit's inputs are laid side by side (four times
the embedding's width), and activations are sigmoids, which cost less than Dice.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import tensorflow as tf

Layer = tuple[tf.Variable, tf.Variable]


class PlainDIN(tf.Module):
    """Embeddings of item and category, the unit, a layer on the interest, the MLP, a number per candidate item.

    Args:
        num_items, num_categories: table lengths. item_category_ids: [num_items].
        size: width of an item's and of a category's row.
        unit: widths of the activation unit's hidden layers. mlp: of the MLP's.
        optimizer: Keras's.
    """

    def __init__(
        self,
        *,
        num_items: int,
        num_categories: int,
        item_category_ids: Any,
        size: int,
        unit: Sequence[int],
        mlp: Sequence[int],
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        super().__init__()
        self._draw = keras.initializers.GlorotUniform(seed=1)
        self._categories_of_items = tf.constant(item_category_ids)
        width = 2 * size
        self.items = tf.Variable(self._draw((num_items, size)))
        self.categories = tf.Variable(self._draw((num_categories, size)))
        self.item_bias = tf.Variable(tf.zeros([num_items]))
        self.unit = self._build([4 * width, *unit, 1])
        self.interest = self._build([width, width])
        self.mlp = self._build([3 * width, *mlp, 1])
        self._optimizer = optimizer
        self._weights = list(self.trainable_variables)
        optimizer.build(self._weights)

    def _build(self, widths: Sequence[int]) -> list[Layer]:
        return [
            (tf.Variable(self._draw((inputs, units))), tf.Variable(tf.zeros([units])))
            for inputs, units in pairwise(widths)
        ]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None], tf.float32),
        ]
    )
    def train_step(self, targets: tf.Tensor, history: tf.Tensor, length: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Take a step on [B] targets, [B, T] histories and their [B] lengths and labels; the mean loss before it."""
        with tf.GradientTape() as tape:
            logits = self._compute_logits(targets, history, length)
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))
        self._optimizer.apply_gradients(zip(tape.gradient(loss, self._weights), self._weights, strict=True))
        return loss

    def _compute_logits(self, targets: tf.Tensor, history: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        q, k = self._embed(targets), self._embed(history)  # [B, E], [B, T, E]
        width = k.shape[2]
        repeated = tf.repeat(q[:, None, :], tf.shape(k)[1], axis=1)
        hidden = _apply(tf.concat([repeated, k, repeated - k, repeated * k], axis=2), self.unit)
        valid = tf.sequence_mask(length, tf.shape(k)[1])
        scores = tf.where(valid, tf.squeeze(hidden, axis=2), -1e9) / width**0.5  # [B, T]
        pooled = tf.squeeze(tf.matmul(tf.nn.softmax(scores)[:, None, :], k), axis=1)
        interest = _apply(pooled, self.interest)
        logits = _apply(tf.concat([interest, q, interest * q], axis=1), self.mlp)
        return tf.squeeze(logits, axis=1) + tf.gather(self.item_bias, targets)

    def _embed(self, item_ids: tf.Tensor) -> tf.Tensor:
        categories = tf.gather(self._categories_of_items, item_ids)
        return tf.concat([tf.gather(self.items, item_ids), tf.gather(self.categories, categories)], axis=-1)


def _apply(values: tf.Tensor, layers: Sequence[Layer]) -> tf.Tensor:
    """Dense layers with sigmoids between them."""
    for place, (kernel, bias) in enumerate(layers):
        values = tf.tensordot(tf.sigmoid(values) if place else values, kernel, 1) + bias
    return values
