"""Stacked dense layers with an activation and dropout after each (paper section 4.2, "MLP")."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.dice import Dice
from din_train.model.normalization import BatchNorm, build_normalization


class Activation(keras.layers.Layer):
    """`dice`, `prelu` (one slope per unit), `sigmoid`, `relu`, or `sigmoid_dice` (one after the other)."""

    def __init__(self, name: str, dtype: keras.DTypePolicy) -> None:
        super().__init__(dtype=dtype)
        if name == "prelu":
            self.layers = [keras.layers.PReLU(dtype=dtype)]
        else:
            self.layers = [
                Dice(dtype=dtype) if each == "dice" else keras.layers.Activation(each, dtype=dtype)
                for each in name.split("_")
            ]

    def build(self, input_shape: Sequence[int | None]) -> None:
        for layer in self.layers:
            layer.build(input_shape)

    def call(self, inputs: tf.Tensor, weights: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """[N, U] -> [N, U]; `weights` as in `Dice`."""
        for layer in self.layers:
            inputs = layer(inputs, weights=weights, training=training) if isinstance(layer, Dice) else layer(inputs)
        return inputs


@keras.saving.register_keras_serializable(package="din_train")
class Mlp(keras.layers.Layer):
    """[B, width] -> [B, hidden_units[-1]].

    Args:
        hidden_units: width of each dense layer.
        activation: see `Activation`.
        dropout: share of units dropped in training.
        input_normalization: of the input, see `build_normalization`.
        batch_normalization: batch norm before each activation.
    """

    def __init__(
        self,
        *,
        hidden_units: Sequence[int],
        activation: str,
        dropout: float = 0.0,
        input_normalization: str = "none",
        batch_normalization: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "hidden_units": list(hidden_units),
            "activation": activation,
            "dropout": dropout,
            "input_normalization": input_normalization,
            "batch_normalization": batch_normalization,
        }
        self.input_norm = build_normalization(input_normalization, self.dtype_policy)
        self.dense = [keras.layers.Dense(units, dtype=self.dtype_policy) for units in hidden_units]
        self.batch_norms = [BatchNorm(dtype=self.dtype_policy) for _ in hidden_units if batch_normalization]
        self.activations = [Activation(activation, self.dtype_policy) for _ in hidden_units]
        self.dropouts = [keras.layers.Dropout(dropout, dtype=self.dtype_policy) for _ in hidden_units if dropout]

    def build(self, input_shape: Sequence[int | None]) -> None:
        width = input_shape[-1]
        if self.input_norm is not None:
            self.input_norm.build((None, width))
        for layer, (dense, activation) in enumerate(zip(self.dense, self.activations, strict=True)):
            dense.build((None, width))
            width = dense.units
            activation.build((None, width))
            if self.batch_norms:
                self.batch_norms[layer].build((None, width))

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        hidden = inputs
        if self.input_norm is not None:
            hidden = self.input_norm(hidden, training=training)
        for layer, (dense, activation) in enumerate(zip(self.dense, self.activations, strict=True)):
            hidden = dense(hidden)
            if self.batch_norms:
                hidden = self.batch_norms[layer](hidden, training=training)
            hidden = activation(hidden, training=training)
            if self.dropouts:
                hidden = self.dropouts[layer](hidden, training=training)
        return hidden

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}
