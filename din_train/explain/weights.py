"""How much each behaviour weighs in a score, and the check that the score is made of those weights.

An activation weight w_k says what share of behaviour k's vector e_k is in the user interest (paper, equation 3). This
can be tested with the score. Without behaviour j the interest must be

    normalisation none, sigmoid    sum_k w_k e_k - w_j e_j
    softmax                        (sum_k w_k e_k - w_j e_j) / (1 - w_j), since the other weights are renormalised

and 0 if nothing is left. The right side is computed here in NumPy, from the weights that are shown; it goes through
the layers above the interest, and must give the logit that `model.score`, the one way to a score, gives the history
without j. The weights of other models (DIEN, BST, TIN) predict nothing: without j other behaviours have other places or
states. Sums run over the other behaviours, so that no digits are lost where w_j is nearly 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from din_train.batches import Inputs, name_histories
from din_train.errors import RunError
from din_train.evaluation.calibration import UNCALIBRATED, Calibration
from din_train.model.bst import BST
from din_train.model.dien import DIEN
from din_train.model.din import DIN
from din_train.model.tin import TIN
from din_train.tensorflow_setup import full_float32

WeighingModel = DIN | DIEN | BST | TIN
Floats = NDArray[np.float64]

# How far two logits may be apart, as a share of the larger or of 1: rounding, by the type the layers compute in. In
# bfloat16 that is as much as some behaviours move the score, so the check is coarse there.
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.2}

# Softmax weights that sum to less have lost their digits to underflow: nothing can be predicted from them.
_LEAST_REST = 1e-30

_POSITIONS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Explanation:
    """One score, of a candidate and a history, or another sequence, of N behaviours, oldest first.

    weights: [N] activation weights. logit: by `model.score`. logits_without: [N] likewise, without each behaviour.
    predicted_without: [N] the same, predicted from the weights; NaN if they cannot tell, see `_LEAST_REST`.
    largest_difference, tolerance: between predicted and scored logits, relative to the larger or 1; None if the model's
    weights predict nothing. calibration: what turns logits into probabilities.
    """

    weights: Floats
    logit: float
    logits_without: Floats
    predicted_without: Floats
    largest_difference: float | None
    tolerance: float | None
    calibration: Calibration = UNCALIBRATED

    @property
    def click_probability(self) -> float:
        return _to_probability(self.logit, self.calibration)

    @property
    def probabilities_without(self) -> list[float]:
        """[N] as `logits_without`."""
        return [_to_probability(logit, self.calibration) for logit in self.logits_without]

    @property
    def predicted_probabilities_without(self) -> list[float | None]:
        """[N] as `predicted_without`; None if the weights cannot tell."""
        return [
            None if np.isnan(logit) else _to_probability(logit, self.calibration) for logit in self.predicted_without
        ]

    @property
    def top(self) -> int | None:
        """The place of the behaviour with the weight that is largest in size, of equal ones the newest."""
        if not len(self.weights):
            return None
        return len(self.weights) - 1 - int(np.argmax(np.abs(self.weights)[::-1]))


@full_float32()
def explain_score(
    model: WeighingModel, inputs: Inputs, place: int = 0, calibration: Calibration = UNCALIBRATED
) -> Explanation:
    """The activation weights of a batch of one row; DIN's are checked, in float32 that a GPU does not cut short.

    Args:
        place: of the sequence that is explained: 0 is the history, 1 the first of `model.sequences`.

    Raises:
        RunError: if a score is not what the weights say.
    """
    if not isinstance(model, DIN):
        return _show_weights(model, inputs, calibration)
    name, sequence = ("history", *model.sequences)[place], model.locate(inputs).sequences[place]
    weights = model.compute_activation_weights(inputs, place)[0].numpy().astype(np.float64)  # [N]
    length = int(inputs[f"{name}_length"][0])
    rows = [model.item_embedding(sequence.item_ids)]
    if model.behaviour_embedding is not None:
        rows.append(model.behaviour_embedding(sequence.fields))
    behaviours = tf.cast(tf.concat(rows, axis=1), tf.float64).numpy()  # [N, E]
    scored = [model.score(inputs)]
    predicted = [_score_interests(model, inputs, place, (weights @ behaviours)[None])]
    is_softmax = model.local_activation_unit.normalization == "softmax"  # which all units have alike
    for left_out in _cut(length):
        others = weights * (np.arange(length) != left_out[:, None])  # [n, N]
        rest = others.sum(axis=1) if is_softmax and length > 1 else np.ones(len(left_out))
        told = rest > _LEAST_REST
        interests = (others / np.where(told, rest, 1.0)[:, None]) @ behaviours  # [n, E]
        shortened = _leave_out(inputs, name, left_out, name_histories(model.behaviour_fields, name))
        scored.append(model.score(shortened))
        predicted.append(np.where(told, _score_interests(model, shortened, place, interests), np.nan))
    return _compare(weights, _join(scored), _join(predicted), TOLERANCE[model.compute_dtype], calibration)


def _show_weights(model: DIEN | BST | TIN, inputs: Inputs, calibration: Calibration) -> Explanation:
    """The weights of the history, and the scores without each behaviour."""
    weights = model.compute_activation_weights(inputs)[0].numpy().astype(np.float64)  # [N]
    histories = name_histories(model.behaviour_fields)
    shortened = [_leave_out(inputs, "history", left_out, histories) for left_out in _cut(len(weights))]
    scored = _join([model.score(each) for each in (inputs, *shortened)])
    _check_finite(scored)
    nothing = np.full(len(weights), np.nan)
    return Explanation(weights, float(scored[0]), scored[1:], nothing, None, None, calibration)


def _check_finite(scored: Floats) -> None:
    if not np.isfinite(scored).all():
        raise RunError(
            "scores: not finite numbers, the training has diverged; lower training.optimizer.learning_rate, and train "
            "anew"
        )


def _compare(
    weights: Floats, scored: Floats, predicted: Floats, tolerance: float, calibration: Calibration
) -> Explanation:
    """From [1 + N] logits, of the whole history and without each behaviour.

    Raises:
        RunError: if two differ, or a score is not a number.
    """
    _check_finite(scored)
    size = np.maximum(1.0, np.maximum(np.abs(predicted), np.abs(scored)))
    difference = np.abs(predicted - scored) / size
    difference[1:][np.isnan(predicted[1:])] = 0.0
    worst = int(np.argmax(difference))  # of a NaN, if there is one
    if not difference[worst] <= tolerance:
        what = "all behaviours" if worst == 0 else f"behaviour {worst} of {len(weights)} left out"
        raise RunError(
            f"activation weights: with {what} they predict a click probability of "
            f"{_to_probability(predicted[worst], calibration):.6f}, but the model scores "
            f"{_to_probability(scored[worst], calibration):.6f} "
            f"(logits {predicted[worst]:.6f} and {scored[worst]:.6f}, expected equal to a share of {tolerance:g}), so "
            "they are not the weights behind the score and are not shown; this is a bug in din-train, report it"
        )
    largest = float(difference[worst])
    return Explanation(weights, float(scored[0]), scored[1:], predicted[1:], largest, tolerance, calibration)


def _join(logits: Sequence[tf.Tensor | Floats]) -> Floats:
    return np.concatenate(logits).astype(np.float64)


def _to_probability(logit: float | np.float64, calibration: Calibration) -> float:
    return float(calibration.compute_probabilities(np.array([logit]))[0]) if np.isfinite(logit) else float("nan")


def _score_interests(model: DIN, inputs: Inputs, place: int, interests: Floats) -> tf.Tensor:
    """[B] logits of the given interests [B, E] in place of those that the model pools from the sequence at a place."""
    batch = model.locate(inputs)
    candidate, behaviours = model.embed(batch)
    pooled = tf.cast(interests, model.compute_dtype)
    if batch.others:
        of_all = model.compute_user_interest(batch, candidate, behaviours, training=False)
        start, end = place * pooled.shape[1], (place + 1) * pooled.shape[1]
        pooled = tf.concat([of_all[:, :start], pooled, of_all[:, end:]], axis=1)
    return tf.cast(model.compute_logits_of_interest(batch, candidate, pooled, training=False), tf.float32)


def _cut(length: int) -> Iterator[NDArray[np.int64]]:
    """The places of the behaviours, in parts that keep each batch of shortened histories small."""
    step = max(1, _POSITIONS_AT_ONCE // max(1, length))
    for start in range(0, length, step):
        yield np.arange(start, min(start + step, length))


def _leave_out(inputs: Inputs, sequence: str, places: NDArray[np.int64], histories: Sequence[str]) -> Inputs:
    """One row per place: the only row of `inputs`, without the behaviour at that place of a sequence.

    Args:
        histories: the inputs that hold the sequence's behaviours.
    """
    length = int(inputs[f"{sequence}_length"][0])
    kept = np.arange(length - 1) + (np.arange(length - 1) >= places[:, None])  # [n, N - 1]
    own = {name: values for name, values in inputs.items() if name != "history_row"}  # each row has its own history
    repeated = {name: np.repeat(values, len(places), axis=0) for name, values in own.items()}
    return {
        **repeated,
        **{name: inputs[name][0][kept] for name in histories},
        f"{sequence}_length": np.full(len(places), length - 1, np.int32),
        "history_row": np.arange(len(places), dtype=np.int32),
    }
