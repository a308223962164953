"""Losses by hand: terms of rows and of lists, weights, lists of one class, and sums that add up over cuts."""

import math
from itertools import product

import numpy as np
import pytest
import tensorflow as tf

from din_train.config import LossName
from din_train.model.losses import BprLoss, LogLoss, RankingLoss, SoftmaxLoss, build_loss

# Three lists: one positive and two negatives; two positives and a negative; negatives alone.
LABELS = np.array([1, 0, 0, 0, 1, 1, 0, 0], np.float32)
LOGITS = np.array([2.0, 1.0, -1.0, 0.5, 0.0, 3.0, 9.0, -4.0], np.float32)
LISTS = np.array([4, 4, 4, 5, 5, 5, 6, 6], np.int32)
WEIGHTS = np.array([2.0, 7.0, 7.0, 7.0, 3.0, 0.5, 7.0, 7.0], np.float32)


def compute(loss: RankingLoss, rows: slice | np.ndarray = slice(None), weights: np.ndarray | None = None) -> float:
    chosen = None if weights is None else weights[rows]
    return float(loss.sum_terms(*map(tf.constant, (LABELS[rows], LOGITS[rows], LISTS[rows])), chosen))


def count(loss: RankingLoss, rows: slice | np.ndarray = slice(None)) -> float:
    return float(loss.count_terms(tf.constant(LABELS[rows]), tf.constant(LISTS[rows])))


def softmax_term(positive: float, *negatives: float) -> float:
    shares = [math.exp(positive), *map(math.exp, negatives)]
    return -math.log(shares[0] / sum(shares))


def bpr_term(positive: float, *negatives: float) -> float:
    return sum(-math.log(1 / (1 + math.exp(each - positive))) for each in negatives) / len(negatives)


def test_log_loss_is_a_sum_over_rows() -> None:
    of_rows = [math.log1p(math.exp(-s)) if y else math.log1p(math.exp(s)) for y, s in zip(LABELS, LOGITS, strict=True)]
    assert compute(LogLoss()) == pytest.approx(sum(of_rows), rel=1e-6)
    assert count(LogLoss()) == 8
    assert compute(LogLoss(), weights=WEIGHTS) == pytest.approx(sum(WEIGHTS * of_rows), rel=1e-6)


@pytest.mark.parametrize(("loss", "term"), [(SoftmaxLoss(), softmax_term), (BprLoss(), bpr_term)])
def test_a_loss_of_lists_is_a_sum_over_lists_of_both_classes(loss: RankingLoss, term: object) -> None:
    """A positive never stands against another one, and counts by its own weight."""
    assert callable(term)
    first, second, third = term(2.0, 1.0, -1.0), term(0.0, 0.5), term(3.0, 0.5)
    assert compute(loss) == pytest.approx(first + (second + third) / 2, rel=1e-5)
    assert count(loss) == 2
    expected = 2.0 * first + (3.0 * second + 0.5 * third) / 2
    assert compute(loss, weights=WEIGHTS) == pytest.approx(expected, rel=1e-5)


def test_numbers_of_softmax_and_bpr_by_hand() -> None:
    """log(1 + e^-1 + e^-3), and the mean of log(1 + e^-1) and log(1 + e^-3)."""
    assert compute(SoftmaxLoss(), slice(0, 3)) == pytest.approx(0.349012, abs=1e-6)
    assert compute(BprLoss(), slice(0, 3)) == pytest.approx((0.313262 + 0.048587) / 2, abs=1e-6)


@pytest.mark.parametrize("name", ["logloss", "softmax", "bpr"])
def test_sums_of_groups_of_whole_lists_add_up_in_any_order(name: LossName) -> None:
    loss = build_loss(name)
    whole = compute(loss, weights=WEIGHTS), count(loss)
    parts = [slice(0, 3), slice(3, 6), slice(6, 8)]
    cut = sum(compute(loss, part, WEIGHTS) for part in parts), sum(count(loss, part) for part in parts)
    assert cut == pytest.approx(whole, rel=1e-5)
    mixed = np.array([7, 3, 0, 5, 1, 6, 4, 2])  # padded batches are sorted by the length of histories
    assert (compute(loss, mixed, WEIGHTS), count(loss, mixed)) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("name", ["logloss", "softmax", "bpr"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_are_those_of_central_differences(name: LossName, jit_compile: bool) -> None:
    """Lists of one class have none, and nothing is lost where logits are far apart."""
    loss = build_loss(name)
    logits = np.array([2.0, 1.0, -1.0, 0.5, 0.0, 3.0, 300.0, -300.0], np.float64)

    @tf.function(jit_compile=jit_compile)
    def step(scores: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            total = loss.sum_terms(tf.constant(LABELS), scores, tf.constant(LISTS), tf.constant(WEIGHTS))
        return total, tape.gradient(total, scores)

    gradient = step(tf.constant(logits, tf.float32))[1].numpy()
    assert np.isfinite(gradient).all()
    if name != "logloss":
        assert gradient[6:].tolist() == [0.0, 0.0]
    for place, sign in product(range(6), [1]):
        moved = [logits + np.eye(8)[place] * step_size * sign for step_size in (1e-2, -1e-2)]
        above, below = (float(step(tf.constant(each, tf.float32))[0]) for each in moved)
        # the negative at 300 is the larger part of log loss, whose digits are then few
        assert gradient[place] == pytest.approx((above - below) / 2e-2, abs=2e-2 if name == "logloss" else 2e-3)


def test_no_row_and_no_list_of_both_classes_sum_to_zero() -> None:
    for loss in (SoftmaxLoss(), BprLoss()):
        assert (compute(loss, slice(6, 8)), count(loss, slice(6, 8))) == (0.0, 0.0)
        assert (compute(loss, slice(0, 0)), count(loss, slice(0, 0))) == (0.0, 0.0)
