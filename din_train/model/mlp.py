"""Stacked dense layers with an activation and dropout after each (paper section 4.2, "MLP")."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.activation import Activation
from din_train.model.moving_statistics import Parts
from din_train.model.normalization import BatchNorm, build_normalization


@keras.saving.register_keras_serializable(package="din_train")
class Mlp(keras.layers.Layer):
    """Parts of [B_i, width] -> as many of [B_i, hidden_units[-1]].

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

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        width = input_shape[0][-1]
        if self.input_norm is not None:
            self.input_norm.build([(None, width)])
        for layer, (dense, activation) in enumerate(zip(self.dense, self.activations, strict=True)):
            dense.build((None, width))
            width = dense.units
            activation.build([(None, width)])
            if self.batch_norms:
                self.batch_norms[layer].build([(None, width)])

    def call(self, parts: Parts, training: bool = False) -> list[tf.Tensor]:
        hidden = list(parts)
        if self.input_norm is not None:
            hidden = self.input_norm(hidden, training=training)
        for layer, (dense, activation) in enumerate(zip(self.dense, self.activations, strict=True)):
            hidden = [dense(each) for each in hidden]
            if self.batch_norms:
                hidden = self.batch_norms[layer](hidden, training=training)
            hidden = activation(hidden, training=training)
            if self.dropouts:
                hidden = [self.dropouts[layer](each, training=training) for each in hidden]
        return hidden

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}
