"""AUC, GAUC, logloss: hand-computed values, scikit-learn as the oracle, every undefined case."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from din_train.evaluation.metrics import Gauc, compute_auc, compute_gauc, compute_logloss, compute_rela_impr


def arrays(*columns: list[float]) -> list[np.ndarray]:
    return [np.array(column) for column in columns]


def slow_gauc(users: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> tuple[float | None, int, int]:
    """The definition, a user at a time, with scikit-learn's AUC."""
    total, weight, counted, skipped = 0.0, 0, 0, 0
    for user in np.unique(users):
        mine = users == user
        if len(set(labels[mine])) < 2:
            skipped += 1
            continue
        total += mine.sum() * roc_auc_score(labels[mine], scores[mine])
        weight += mine.sum()
        counted += 1
    return (total / weight if weight else None), counted, skipped


def test_auc_by_hand() -> None:
    # pairs (positive, negative): 3>2, 3>1, 1<2, 1=1 -> (1 + 1 + 0 + 1/2) / 4
    labels, scores = arrays([1, 0, 1, 0], [3.0, 2.0, 1.0, 1.0])
    assert compute_auc(labels, scores) == 0.625


def test_gauc_by_hand_weighs_users_by_impressions() -> None:
    # user 5: 2 impressions, AUC 1; user 3: 3 impressions, AUC 1/2; user 9: clicks only, left out
    users = np.array([5, 3, 5, 3, 3, 9])
    labels = np.array([1, 1, 0, 0, 0, 1])
    scores = np.array([0.9, 0.5, 0.1, 0.4, 0.6, 0.7])
    assert compute_gauc(users, labels, scores) == Gauc((2 * 1.0 + 3 * 0.5) / 5, users=2, skipped=1)


def test_a_tie_counts_one_half() -> None:
    users, labels, scores = arrays([1, 1], [1, 0], [0.3, 0.3])
    assert compute_gauc(users, labels, scores).value == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_scikit_learn_with_ties_and_one_class_users(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(50, 3000))
    users = random.integers(-5, size // 4, size)
    labels = (random.random(size) < random.uniform(0.05, 0.95)).astype(np.int8)
    scores = random.normal(size=size).astype(random.choice(["float32", "float64"]))
    if seed % 2:
        scores = np.round(scores, 1)  # many ties
    value, counted, skipped = slow_gauc(users, labels, scores)
    got = compute_gauc(users, labels, scores)
    assert got.value == pytest.approx(value, abs=1e-12)
    assert (got.users, got.skipped) == (counted, skipped)
    assert compute_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    order = random.permutation(size)
    assert compute_gauc(users[order], labels[order], scores[order]).value == pytest.approx(got.value, abs=1e-12)


def test_a_single_user_has_gauc_equal_to_auc() -> None:
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 2, 100), random.normal(size=100)
    got = compute_gauc(np.full(100, 7), labels, scores)
    assert got.value == compute_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert (got.users, got.skipped) == (1, 0)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only_is_undefined(label: int) -> None:
    users, labels, scores = np.array([1, 1, 2]), np.full(3, label), np.array([0.1, 0.2, 0.3])
    assert compute_auc(labels, scores) is None
    assert compute_gauc(users, labels, scores) == Gauc(None, users=0, skipped=2)


def test_nothing_is_undefined() -> None:
    nothing = np.empty(0, np.int64)
    assert compute_auc(nothing, nothing.astype(float)) is None
    assert compute_gauc(nothing, nothing, nothing.astype(float)) == Gauc(None, users=0, skipped=0)
    assert compute_logloss(nothing, nothing.astype(float)) is None


def test_logloss_equals_scikit_learn_and_is_finite_where_a_probability_is_not() -> None:
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 2, 500), random.normal(0, 3, 500)
    assert compute_logloss(labels, logits) == pytest.approx(log_loss(labels, 1 / (1 + np.exp(-logits))), abs=1e-12)
    assert compute_logloss(np.array([0]), np.array([2000.0], np.float32)) == 2000.0


def test_rela_impr_of_the_papers_own_figures() -> None:
    assert compute_rela_impr(0.7337, 0.7300) == pytest.approx(1.61, abs=0.005)  # Table 3: DIN, MovieLens
    assert compute_rela_impr(0.7742, 0.8624) == pytest.approx(-24.34, abs=0.005)  # Table 3: LR, Electronics
    assert compute_rela_impr(0.6, 0.5) is None
    assert compute_rela_impr(None, 0.6) is None
