"""DIN as a textbook writes it: what the product's kernels are tested against, and the baseline they are timed against.

Every history is padded to the longest of its batch, the candidate is repeated at each position, the unit's inputs are
laid side by side (four times the embedding's width), and each dense layer runs on every position, padding included.
Nothing here is shared with the product but the weights it is given.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

DICE_EPSILON = 1e-8
BATCH_NORM_EPSILON = 1e-3


def compute_activation_weights(
    unit: Any, candidate: tf.Tensor, history: tf.Tensor, history_length: tf.Tensor, *, training: bool
) -> tf.Tensor:
    """The product's `LocalActivationUnit` in plain operations, from its weights and options.

    Args:
        unit: the layer.
        candidate: [B, E].
        history: [B, T, E], padded on the right.
        history_length: [B].
        training: use the batch's statistics over valid positions, not the moving averages.

    Returns:
        [B, T] weights, 0 at padding.
    """
    options = unit.get_config()
    width = history.shape[2]
    mask = tf.sequence_mask(history_length, history.shape[1], dtype=history.dtype)  # [B, T]
    q = tf.repeat(candidate[:, None, :], history.shape[1], axis=1)  # [B, T, E]
    values = {"candidate": q, "history": history, "difference": q - history, "product": q * history}
    inputs = [values[name] for name in options["inputs"]]
    if options["batch_normalization"]:
        inputs = [
            _normalize(layer, each, mask, training=training)
            for layer, each in zip(unit.batch_norms, inputs, strict=True)
        ]
    kernels = [(unit.kernel.value, unit.bias.value), *[(each.kernel.value, each.bias.value) for each in unit.dense]]
    hidden = tf.concat(inputs, axis=2)  # [B, T, 4E]
    for (kernel, bias), activation in zip(kernels, [*unit.activations, None], strict=True):
        hidden = tf.einsum("bti,ij->btj", hidden, kernel) + bias
        for layer in activation.layers if activation is not None else ():
            hidden = _activate(layer, hidden, mask, training=training)
    scores = hidden[:, :, 0]  # [B, T]
    if options["scale"]:
        scores /= width**0.5
    if options["normalization"] == "softmax":
        exponents = tf.exp(scores - tf.reduce_max(scores, axis=1, keepdims=True)) * mask
        return tf.math.divide_no_nan(exponents, tf.reduce_sum(exponents, axis=1, keepdims=True))
    return (tf.sigmoid(scores) if options["normalization"] == "sigmoid" else scores) * mask


def _activate(layer: Any, values: tf.Tensor, mask: tf.Tensor, *, training: bool) -> tf.Tensor:
    if hasattr(layer, "moving_mean"):  # Dice
        mean, variance = _compute_moments(layer, values, mask, training=training)
        p = tf.sigmoid((values - mean) / tf.sqrt(variance + DICE_EPSILON))
        return p * values + (1 - p) * layer.alpha.value * values
    if hasattr(layer, "alpha"):  # PReLU
        return tf.maximum(values, 0) + layer.alpha.value * tf.minimum(values, 0)
    return {"sigmoid": tf.sigmoid, "relu": tf.nn.relu}[layer.activation.__name__](values)


def _normalize(layer: Any, values: tf.Tensor, mask: tf.Tensor, *, training: bool) -> tf.Tensor:
    mean, variance = _compute_moments(layer, values, mask, training=training)
    return (values - mean) / tf.sqrt(variance + BATCH_NORM_EPSILON) * layer.gamma.value + layer.beta.value


def _compute_moments(layer: Any, values: tf.Tensor, mask: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    if not training:
        return layer.moving_mean.value, layer.moving_variance.value
    weights = mask[:, :, None]
    rows = tf.reduce_sum(mask)
    mean = tf.math.divide_no_nan(tf.reduce_sum(values * weights, axis=[0, 1]), rows)
    variance = tf.math.divide_no_nan(tf.reduce_sum(tf.square(values - mean) * weights, axis=[0, 1]), rows)
    return mean, variance


class TextbookDice(keras.layers.Layer):
    """Dice over every position, padding or not, as most published code has it."""

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.norm = keras.layers.BatchNormalization(center=False, scale=False, epsilon=DICE_EPSILON)
        self.norm.build(input_shape)
        self.alpha = self.add_weight(name="alpha", shape=(input_shape[-1],), initializer="zeros")

    def call(self, values: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The shape of `values`."""
        p = tf.sigmoid(self.norm(values, training=training))
        return p * values + (1.0 - p) * self.alpha * values


class TextbookDIN(keras.Model):
    """DIN with `keras.layers.Embedding` and `Dense`; takes the product's batches.

    Args:
        num_items, num_categories: table lengths. item_category_ids: [num_items].
        size: width of an item's and of a category's row.
        unit: widths of the activation unit's hidden layers. mlp: of the MLP's.
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
    ) -> None:
        super().__init__()
        self.items = keras.layers.Embedding(num_items, size)
        self.categories = keras.layers.Embedding(num_categories, size)
        self.item_category_ids = tf.constant(item_category_ids)
        self.unit = [each for width in unit for each in (keras.layers.Dense(width), TextbookDice())]
        self.score = keras.layers.Dense(1)
        self.mlp = [each for width in mlp for each in (keras.layers.Dense(width), TextbookDice())]
        self.logit = keras.layers.Dense(1)

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """A batch -> logit [B]."""
        q = self._embed(inputs["target_item_id"])  # [B, E]
        k = self._embed(inputs["history_item_ids"])  # [B, T, E]
        repeated = tf.repeat(q[:, None, :], tf.shape(k)[1], axis=1)  # [B, T, E]
        hidden = tf.concat([repeated, k, repeated - k, repeated * k], axis=2)  # [B, T, 4E]
        for layer in self.unit:
            hidden = layer(hidden, training=training) if isinstance(layer, TextbookDice) else layer(hidden)
        scores = tf.squeeze(self.score(hidden), axis=2) / k.shape[2] ** 0.5  # [B, T]
        valid = tf.sequence_mask(inputs["history_length"], tf.shape(k)[1])
        weights = tf.nn.softmax(tf.where(valid, scores, tf.fill(tf.shape(scores), -1e9)))
        hidden = tf.concat([tf.squeeze(tf.matmul(weights[:, None, :], k), axis=1), q], axis=1)
        for layer in self.mlp:
            hidden = layer(hidden, training=training) if isinstance(layer, TextbookDice) else layer(hidden)
        return tf.squeeze(self.logit(hidden), axis=1)

    def _embed(self, item_ids: tf.Tensor) -> tf.Tensor:
        return tf.concat([self.items(item_ids), self.categories(tf.gather(self.item_category_ids, item_ids))], axis=-1)
