"""The local activation unit: how much each behaviour matters to the candidate (paper section 4.3, Fig. 2)."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.mlp import Activation
from din_train.model.normalization import BatchNorm
from din_train.model.positions import PairedBehaviours, Positions


@keras.saving.register_keras_serializable(package="din_train")
class LocalActivationUnit(keras.layers.Layer):
    """activation weight of behaviour k for candidate q: MLP(inputs) -> 1, inputs among [q; k; q - k; q * k].

    The first layer is factorised: with its kernel cut into Wq, Wk, Wd, Wp of [E, U] each,

        W [q; k; q - k; q * k] = (Wq + Wd) q + (Wk - Wd) k + Wp (q * k),

    so the candidate's part is computed once per candidate, the behaviour's part once per history, however many
    candidates share it, and nothing of width 4E is built.

    Args:
        inputs: any of `candidate`, `history`, `difference`, `product`; the kernel has their rows in this order.
        hidden_units: widths of the hidden layers.
        activation: after each hidden layer, see `Activation`.
        batch_normalization: of the inputs, over valid positions; they are then computed one by one.
        dropout: share of hidden units dropped in training.
        normalization: `softmax` over the valid positions of a row (the authors' code), `sigmoid` or `none` (the paper).
        scale: divide scores by sqrt(E) before normalising.

    Example:
        >>> import numpy as np
        >>> from din_train.model.local_activation_unit import LocalActivationUnit
        >>> from din_train.model.positions import flatten_history
        >>> candidate = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)  # [B, E]
        >>> history = np.array([[[1, 2], [3, 4]], [[5, 6], [0, 0]]], np.float32)  # [B, T, E], padded with zeros
        >>> behaviours, positions = flatten_history(history, np.array([2, 1]))  # [N, E], N = 2 + 1
        >>> unit = LocalActivationUnit(
        ...     inputs=["candidate", "history", "product"],
        ...     hidden_units=[4],
        ...     activation="dice",
        ...     normalization="softmax",
        ...     scale=True,
        ... )
        >>> activation_weights = unit(candidate, behaviours, positions=positions)
        >>> activation_weights.shape
        TensorShape([3])
        >>> print(positions.sum(activation_weights[:, None]).numpy().round(3).ravel())  # 1 in each row
        [1. 1.]
        >>> user_interest = positions.sum(activation_weights[:, None] * behaviours)
        >>> print(user_interest[1].numpy().round(3))  # one behaviour has all the weight
        [5. 6.]
    """

    def __init__(
        self,
        *,
        inputs: Sequence[str],
        hidden_units: Sequence[int],
        activation: str,
        normalization: str,
        scale: bool,
        batch_normalization: bool = False,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config: dict[str, Any] = {
            "inputs": list(inputs),
            "hidden_units": list(hidden_units),
            "activation": activation,
            "normalization": normalization,
            "scale": scale,
            "batch_normalization": batch_normalization,
            "dropout": dropout,
        }
        self.inputs = tuple(inputs)
        self.normalization = normalization
        self.batch_norms = [BatchNorm(dtype=self.dtype_policy) for _ in inputs if batch_normalization]
        self.activations = [Activation(activation, self.dtype_policy) for _ in hidden_units]
        self.dropouts = [keras.layers.Dropout(dropout, dtype=self.dtype_policy) for _ in hidden_units if dropout]
        self.dense = [keras.layers.Dense(units, dtype=self.dtype_policy) for units in [*hidden_units[1:], 1]]

    def build(self, input_shape: Sequence[int | None]) -> None:
        self._width = int(input_shape[-1] or 0)
        units = self._config["hidden_units"][0]
        self.kernel = self.add_weight(
            name="kernel", shape=(len(self.inputs) * self._width, units), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(name="bias", shape=(units,), initializer="zeros")
        for batch_norm in self.batch_norms:
            batch_norm.build((None, self._width))
        for activation, dense in zip(self.activations, self.dense, strict=True):
            activation.build((None, units))
            dense.build((None, units))
            units = dense.units

    def call(
        self,
        candidate: tf.Tensor,
        behaviours: tf.Tensor,
        positions: Positions,
        pairs: PairedBehaviours | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """The activation weight of every pair of a candidate and a behaviour of its history.

        Args:
            candidate: [M, E].
            behaviours: [N, E] of the histories.
            positions: of the P pairs, candidate by candidate.
            pairs: the behaviours with their candidates; None if each candidate has its own history, so that P = N.

        Returns:
            activation_weights [P].
        """
        pairs = pairs or PairedBehaviours(behaviours, positions)
        if self.batch_norms:
            hidden = self._normalize_and_apply_kernel(candidate, pairs.values, positions, training)
        else:
            hidden = self._apply_factorised_kernel(candidate, pairs)  # [P, U]
        for layer, dense in enumerate(self.dense):
            hidden = self.activations[layer](hidden, weights=positions.weights, training=training)
            if self.dropouts:
                hidden = self.dropouts[layer](hidden, training=training)
            hidden = dense(hidden)
        scores = tf.squeeze(hidden, axis=1)  # [P]
        if self._config["scale"]:
            scores = scores / self._width**0.5
        match self.normalization:
            case "softmax":
                return positions.softmax(scores)
            case "sigmoid":
                return tf.sigmoid(scores)
        return scores

    def _cut_kernel(self) -> dict[str, tf.Tensor]:
        """Input -> its [E, U]; zeros of what is no input."""
        kernel = dict(zip(self.inputs, tf.split(self.kernel.value, len(self.inputs)), strict=True))
        none = tf.zeros_like(next(iter(kernel.values())))
        return {name: kernel.get(name, none) for name in ("candidate", "history", "difference", "product")}

    def _apply_factorised_kernel(self, candidate: tf.Tensor, pairs: PairedBehaviours) -> tf.Tensor:
        """[P, U], of which what is the same for every candidate is computed once per behaviour."""
        kernel = self._cut_kernel()
        of_behaviours = tf.matmul(pairs.behaviours, kernel["history"] - kernel["difference"]) + self.bias.value
        return pairs.apply_kernels(
            of_behaviours,
            candidate,
            kernel["product"] if "product" in self.inputs else None,
            kernel["candidate"] + kernel["difference"] if {"candidate", "difference"} & {*self.inputs} else None,
        )

    def _normalize_and_apply_kernel(
        self, candidate: tf.Tensor, behaviours: tf.Tensor, positions: Positions, training: bool
    ) -> tf.Tensor:
        q = positions.spread(candidate)
        compute = {
            "candidate": lambda: q,
            "history": lambda: behaviours,
            "difference": lambda: q - behaviours,
            "product": lambda: q * behaviours,
        }
        hidden = self.bias.value
        for name, batch_norm, kernel in zip(
            self.inputs, self.batch_norms, tf.split(self.kernel.value, len(self.inputs)), strict=True
        ):
            values = batch_norm(compute[name](), weights=positions.weights, training=training)  # [P, E]
            hidden = hidden + tf.matmul(values, kernel)
        return hidden

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}
