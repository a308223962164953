"""The local activation unit: how much each behaviour matters to the candidate (paper section 4.3, Fig. 2)."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from din_train.model.mlp import Activation
from din_train.model.normalization import BatchNorm, Parts
from din_train.model.positions import Positions


@keras.saving.register_keras_serializable(package="din_train")
class LocalActivationUnit(keras.layers.Layer):
    """activation weight of behaviour k for candidate q: MLP(inputs) -> 1, inputs among [q; k; q - k; q * k].

    The first layer is factorised: with its kernel cut into Wq, Wk, Wd, Wp of [E, U] each,

        W [q; k; q - k; q * k] = (Wq + Wd) q + (Wk - Wd) k + Wp (q * k),

    so the candidate's part is computed once a row, not once a position, and nothing of width 4E is built.

    Args:
        inputs: any of `candidate`, `history`, `difference`, `product`; the kernel has their rows in this order.
        hidden_units: widths of the hidden layers.
        activation: after each hidden layer, see `Activation`.
        batch_normalization: of the inputs, over valid positions; they are then computed one by one.
        dropout: share of hidden units dropped in training.
        normalization: `softmax` over the valid positions of a row (the authors' code), `sigmoid` or `none` (the paper).
        scale: divide scores by sqrt(E) before normalising.
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

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        self._width = int(input_shape[0][-1] or 0)
        units = self._config["hidden_units"][0]
        self.kernel = self.add_weight(
            name="kernel", shape=(len(self.inputs) * self._width, units), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(name="bias", shape=(units,), initializer="zeros")
        for batch_norm in self.batch_norms:
            batch_norm.build([(None, self._width)])
        for activation, dense in zip(self.activations, self.dense, strict=True):
            activation.build([(None, units)])
            dense.build((None, units))
            units = dense.units

    def call(
        self, candidates: Parts, behaviours: Parts, positions: Sequence[Positions], training: bool = False
    ) -> list[tf.Tensor]:
        """Activation weights of every position of every part.

        Args:
            candidates: [B_i, E] each.
            behaviours: [N_i, E] each.
            positions: of the behaviours.

        Returns:
            activation_weights [N_i] each.
        """
        weights = [each.weights for each in positions]
        if self.batch_norms:
            hidden = self._normalize_and_apply_kernel(candidates, behaviours, positions, training)
        else:
            hidden = self._apply_factorised_kernel(candidates, behaviours, positions)  # [N_i, U]
        for layer, dense in enumerate(self.dense):
            hidden = self.activations[layer](hidden, weights=weights, training=training)
            if self.dropouts:
                hidden = [self.dropouts[layer](each, training=training) for each in hidden]
            hidden = [dense(each) for each in hidden]
        scores = [tf.squeeze(each, axis=1) for each in hidden]  # [N_i]
        if self._config["scale"]:
            scores = [each / self._width**0.5 for each in scores]
        match self.normalization:
            case "softmax":
                return [place.softmax(score) for place, score in zip(positions, scores, strict=True)]
            case "sigmoid":
                return [tf.sigmoid(score) for score in scores]
        return scores

    def _apply_factorised_kernel(
        self, candidates: Parts, behaviours: Parts, positions: Sequence[Positions]
    ) -> list[tf.Tensor]:
        kernel = dict(zip(self.inputs, tf.split(self.kernel.value, len(self.inputs)), strict=True))  # [E, U] each
        none = tf.zeros_like(next(iter(kernel.values())))
        of_candidate = kernel.get("candidate", none) + kernel.get("difference", none)
        of_behaviour = kernel.get("history", none) - kernel.get("difference", none)
        sees_candidate = "candidate" in kernel or "difference" in kernel
        outputs = []
        for candidate, behaviour, place in zip(candidates, behaviours, positions, strict=True):
            hidden = tf.matmul(behaviour, of_behaviour)
            if "product" in kernel:
                hidden += tf.matmul(place.spread(candidate) * behaviour, kernel["product"])
            if sees_candidate:
                hidden += place.spread(tf.matmul(candidate, of_candidate) + self.bias.value)
            else:
                hidden += self.bias.value
            outputs.append(hidden)
        return outputs

    def _normalize_and_apply_kernel(
        self, candidates: Parts, behaviours: Parts, positions: Sequence[Positions], training: bool
    ) -> list[tf.Tensor]:
        weights = [each.weights for each in positions]
        qs = [place.spread(candidate) for place, candidate in zip(positions, candidates, strict=True)]
        compute = {
            "candidate": lambda q, k: q,  # noqa: ARG005
            "history": lambda q, k: k,  # noqa: ARG005
            "difference": lambda q, k: q - k,
            "product": lambda q, k: q * k,
        }
        outputs = [self.bias.value] * len(qs)
        for name, batch_norm, kernel in zip(
            self.inputs, self.batch_norms, tf.split(self.kernel.value, len(self.inputs)), strict=True
        ):
            values = [compute[name](q, k) for q, k in zip(qs, behaviours, strict=True)]  # [N_i, E]
            values = batch_norm(values, weights=weights, training=training)
            outputs = [output + tf.matmul(each, kernel) for output, each in zip(outputs, values, strict=True)]
        return outputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}
