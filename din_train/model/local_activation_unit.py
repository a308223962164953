"""The local activation unit: how much each behaviour matters to the candidate (paper section 4.3, Fig. 2)."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.dice import build_activation
from din_train.model.history import softmax_by_row


@keras.saving.register_keras_serializable(package="din_train")
class LocalActivationUnit(keras.layers.Layer):
    """activation weight of behaviour k for candidate q: MLP([q; k; q - k; q * k]) -> 1 (the authors' inputs).

    The first layer is factorised: with its kernel cut into Wq, Wk, Wd, Wp of [E, U] each,

        W [q; k; q - k; q * k] = (Wq + Wd) q + (Wk - Wd) k + Wp (q * k),

    so the candidate's part is computed once a row, not once a position, and nothing of width 4E is built.

    Args:
        hidden_units: widths of the hidden layers.
        activation: after each hidden layer, see `build_activation`.
        normalization: `softmax` over the valid positions of a row (the authors' code), or `none` (the paper).
        scale: divide scores by sqrt(E) before normalising.
    """

    def __init__(
        self, *, hidden_units: Sequence[int], activation: str, normalization: str, scale: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "hidden_units": list(hidden_units),
            "activation": activation,
            "normalization": normalization,
            "scale": scale,
        }
        first, *later = [*hidden_units, 1]
        self._first_units = first
        self.activations = [build_activation(activation, self.dtype_policy) for _ in hidden_units]
        self.dense = [keras.layers.Dense(units, dtype=self.dtype_policy) for units in later]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._width = int(input_shape[-1] or 0)
        self.kernel = self.add_weight(
            name="kernel", shape=(4 * self._width, self._first_units), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(name="bias", shape=(self._first_units,), initializer="zeros")
        units = self._first_units
        for activation, dense in zip(self.activations, self.dense, strict=True):
            activation.build((None, units))
            dense.build((None, units))
            units = dense.units

    def call(self, candidate: tf.Tensor, behaviours: tf.Tensor, rows: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Activation weights of the valid positions.

        Args:
            candidate: [B, E].
            behaviours: [N, E], valid positions only.
            rows: [N], the row of each behaviour.

        Returns:
            activation_weights [N].
        """
        of_candidate, of_behaviour, of_difference, of_product = tf.split(self.kernel.value, 4)  # [E, U] each
        candidate_part = tf.matmul(candidate, of_candidate + of_difference) + self.bias.value  # [B, U]
        hidden = (
            tf.gather(candidate_part, rows)
            + tf.matmul(behaviours, of_behaviour - of_difference)
            + tf.matmul(tf.gather(candidate, rows) * behaviours, of_product)
        )  # [N, U]
        for activation, dense in zip(self.activations, self.dense, strict=True):
            hidden = dense(activation(hidden, training=training))
        scores = tf.squeeze(hidden, axis=1)  # [N]
        if self._config["scale"]:
            scores = scores / self._width**0.5
        if self._config["normalization"] == "none":
            return scores
        return softmax_by_row(scores, rows, tf.shape(candidate)[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}
