"""Dice with its statistics and slopes in the dense layers around it: four operations a number instead of six.

With y = s / std, which the layer before gives if its weights are divided by std,

    f(s) = alpha s + (1 - alpha) p(s) s = std (1 - alpha) y (alpha / (1 - alpha) + sigmoid(y - mean / std)),

and the layer after is multiplied by std (1 - alpha).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from din_train.model.dice import EPSILON, Dice
from din_train.model.local_activation_unit import LocalActivationUnit
from din_train.model.mlp import Activation, Mlp
from din_train.model.ranking_model import RankingModel

# With slopes nearer to 1 than this, a unit is as good as linear, and its layer is left as it is.
_LEAST_CURVE = 1e-3

Values = dict[int, NDArray[np.float64]]


@contextmanager
def folded_dice(model: RankingModel) -> Iterator[list[tuple[keras.Variable, NDArray[np.float32]]]]:
    """What the body traces of the model computes Dice so; the model's own weights stay as they are.

    Yields:
        the variables that have other values then, and these.
    """
    folding = _Folding()
    for layer in model._flatten_layers():
        if isinstance(layer, LocalActivationUnit):
            before = [(layer.kernel, layer.bias), *((dense.kernel, dense.bias) for dense in layer.dense[:-1])]
            folding.fold(layer.activations, before, layer.dense)
        elif isinstance(layer, Mlp) and layer.dense:
            before = [(each.gamma, each.beta) for each in layer.batch_norms]
            before = before or [(dense.kernel, dense.bias) for dense in layer.dense]
            folding.fold(layer.activations, before, [*layer.dense[1:], model.logit])
    for dice in folding.folded:
        dice.is_folded = True
    try:
        yield folding.list_values()
    finally:
        for dice in folding.folded:
            dice.is_folded = False


class _Folding:
    def __init__(self) -> None:
        self.folded: list[Dice] = []
        self._variables: dict[int, tuple[keras.Variable, NDArray[np.float64]]] = {}

    def fold(
        self,
        activations: Sequence[Activation],
        before: Sequence[tuple[keras.Variable, keras.Variable]],
        after: Sequence[keras.layers.Dense],
    ) -> None:
        """Fold each activation that is Dice alone; the variables before it have its units in their last dimension."""
        for activation, variables, dense in zip(activations, before, after, strict=True):
            (dice, *others) = activation.layers
            if not isinstance(dice, Dice) or others:
                continue
            alpha = dice.alpha.numpy().astype(np.float64)
            if np.abs(1 - alpha).min() < _LEAST_CURVE:
                continue
            deviation = np.sqrt(dice.moving_variance.numpy().astype(np.float64) + EPSILON)
            for variable in variables:
                self._multiply(variable, 1 / deviation)
            self._multiply(dice.moving_mean, 1 / deviation)
            self._multiply(dice.alpha, 1 / (1 - alpha))
            self._multiply(dense.kernel, (deviation * (1 - alpha))[:, None])
            self.folded.append(dice)

    def _multiply(self, variable: keras.Variable, factors: NDArray[np.float64]) -> None:
        value: Any = self._variables.get(id(variable), (variable, variable.numpy().astype(np.float64)))[1]
        self._variables[id(variable)] = variable, value * factors

    def list_values(self) -> list[tuple[keras.Variable, NDArray[np.float32]]]:
        return [(variable, value.astype(np.float32)) for variable, value in self._variables.values()]
