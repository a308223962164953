"""Stacked dense layers with an activation and dropout after each (paper section 4.2, "MLP")."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.dice import build_activation


@keras.saving.register_keras_serializable(package="din_train")
class Mlp(keras.layers.Layer):
    """[B, width] -> [B, hidden_units[-1]].

    Args:
        hidden_units: width of each dense layer.
        activation: see `build_activation`.
        dropout: share of units dropped in training.
    """

    def __init__(self, *, hidden_units: Sequence[int], activation: str, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._config = {"hidden_units": list(hidden_units), "activation": activation, "dropout": dropout}
        self.dense = [keras.layers.Dense(units, dtype=self.dtype_policy) for units in hidden_units]
        self.activations = [build_activation(activation, self.dtype_policy) for _ in hidden_units]
        self.dropouts = [keras.layers.Dropout(dropout, dtype=self.dtype_policy) for _ in hidden_units]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = input_shape[-1]
        for dense, activation in zip(self.dense, self.activations, strict=True):
            dense.build((None, width))
            activation.build((None, dense.units))
            width = dense.units

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        hidden = inputs
        for dense, activation, dropout in zip(self.dense, self.activations, self.dropouts, strict=True):
            hidden = dense(hidden)
            hidden = dropout(activation(hidden, training=training), training=training)
        return hidden

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.dense[-1].units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}
