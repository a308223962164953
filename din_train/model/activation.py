"""Activation functions of the unit and the MLP, applied to a batch's parts."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from din_train.model.dice import Dice
from din_train.model.moving_statistics import Parts, Weights


class Activation(keras.layers.Layer):
    """`dice`, `prelu` (one slope a unit), `sigmoid`, `relu`, or `sigmoid_dice` (one after the other)."""

    def __init__(self, name: str, dtype: keras.DTypePolicy) -> None:
        super().__init__(dtype=dtype)
        if name == "prelu":
            self.layers = [keras.layers.PReLU(dtype=dtype)]
        else:
            self.layers = [
                Dice(dtype=dtype) if each == "dice" else keras.layers.Activation(each, dtype=dtype)
                for each in name.split("_")
            ]

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        for layer in self.layers:
            layer.build(input_shape if isinstance(layer, Dice) else input_shape[0])

    def call(self, parts: Parts, weights: Weights | None = None, training: bool = False) -> list[tf.Tensor]:
        """Parts of [N_i, U] to as many of the same shape; `weights` as in `Dice`."""
        for layer in self.layers:
            if isinstance(layer, Dice):
                parts = layer(parts, weights=weights, training=training)
            else:
                parts = [layer(part) for part in parts]
        return list(parts)
