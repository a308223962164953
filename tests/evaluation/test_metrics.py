"""Every metric: hand-computed values, scikit-learn as the oracle, every undefined case."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from din_train.evaluation.metrics import (
    DEFINITIONS,
    ECE_BINS,
    Gauc,
    compute_auc,
    compute_click_probabilities,
    compute_ece,
    compute_gauc,
    compute_logloss,
    compute_normalised_entropy,
    compute_pcoc,
    compute_rela_impr,
    hash_definition,
)


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


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [("impressions", (2 * 1.0 + 4 * 0.5) / 6), ("positives", (1 * 1.0 + 2 * 0.5) / 3), ("uniform", 0.75)],
)
def test_gauc_by_hand_under_each_weighting(weighting: str, expected: float) -> None:
    # user 5: 2 impressions, 1 positive, AUC 1; user 3: 4 impressions, 2 positives, AUC 1/2
    users = np.array([5, 5, 3, 3, 3, 3])
    labels = np.array([1, 0, 1, 1, 0, 0])
    scores = np.array([0.9, 0.1, 0.9, 0.1, 0.5, 0.6])
    assert compute_gauc(users, labels, scores, weighting).value == pytest.approx(expected, abs=1e-12)


def test_weightings_differ_by_positives_not_only_by_impressions() -> None:
    # user 1: 4 impressions, 3 positives, AUC 1; user 2: 4 impressions, 1 positive, AUC 0
    users, labels = np.repeat([1, 2], 4), np.array([1, 1, 1, 0, 1, 0, 0, 0])
    scores = np.array([2, 2, 2, 1, 1, 2, 2, 2.0])
    values = [compute_gauc(users, labels, scores, each).value for each in ("impressions", "positives", "uniform")]
    assert values == [0.5, 0.75, 0.5]


def test_a_tie_counts_one_half() -> None:
    users, labels, scores = arrays([1, 1], [1, 0], [0.3, 0.3])
    assert compute_gauc(users, labels, scores).value == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_scikit_learn_with_ties_and_one_class_users(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(50, 600))
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


def test_probabilities_do_not_overflow() -> None:
    got = compute_click_probabilities(np.array([-2000.0, 0.0, 2000.0], np.float32))
    assert got.tolist() == [0.0, 0.5, 1.0]


def test_normalised_entropy_is_one_for_the_constant_share_and_defined_for_both_classes_only() -> None:
    labels = np.array([1, 0, 0, 0])
    share = np.full(4, np.log(0.25 / 0.75))
    assert compute_normalised_entropy(labels, share) == pytest.approx(1.0, abs=1e-12)
    # logloss of logit 0 is log 2; the entropy of a quarter is 0.5623351446
    assert compute_normalised_entropy(labels, np.zeros(4)) == pytest.approx(np.log(2) / 0.5623351446, abs=1e-9)
    assert compute_normalised_entropy(np.ones(3), np.zeros(3)) is None
    assert compute_normalised_entropy(np.empty(0), np.empty(0)) is None


def test_pcoc_by_hand() -> None:
    assert compute_pcoc(np.array([1, 0, 0, 0]), np.zeros(4)) == pytest.approx(2.0)  # 4 * 0.5 predicted, 1 seen
    assert compute_pcoc(np.zeros(3), np.zeros(3)) is None


def test_ece_by_hand() -> None:
    # two bins' worth of equal probabilities: 0.5 with a share of 1/4, 0.8 with a share of 1: 4/8 * 0.25 + 4/8 * 0.2
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 1])
    logits = np.array([0.0] * 4 + [np.log(4.0)] * 4)
    assert compute_ece(labels, logits) == pytest.approx(0.5 * 0.25 + 0.5 * 0.2, abs=1e-12)
    assert compute_ece(np.empty(0), np.empty(0)) is None


def test_ece_has_bins_of_equally_many_rows_and_no_order() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(-2, 1, ECE_BINS * 50)
    labels = (random.random(len(logits)) < 0.2).astype(np.int8)
    probabilities = compute_click_probabilities(logits)
    bins = np.argsort(probabilities).reshape(ECE_BINS, 50)
    expected = np.mean([abs(labels[rows].mean() - probabilities[rows].mean()) for rows in bins])
    assert compute_ece(labels, logits) == pytest.approx(expected, abs=1e-12)
    order = random.permutation(len(logits))
    assert compute_ece(labels[order], logits[order]) == pytest.approx(expected, abs=1e-12)


def test_the_definition_hash_changes_with_the_weighting_and_names_every_metric() -> None:
    hashes = {hash_definition(each) for each in ("impressions", "positives", "uniform")}
    assert len(hashes) == 3
    named = {line.partition(":")[0] for line in DEFINITIONS}
    assert named == {"auc", "gauc", "gauc_by_history", "logloss", "normalised_entropy", "pcoc", "ece"}


def test_rela_impr_of_the_papers_own_figures() -> None:
    assert compute_rela_impr(0.7337, 0.7300) == pytest.approx(1.61, abs=0.005)  # Table 3: DIN, MovieLens
    assert compute_rela_impr(0.7742, 0.8624) == pytest.approx(-24.34, abs=0.005)  # Table 3: LR, Electronics
    assert compute_rela_impr(0.6, 0.5) is None
    assert compute_rela_impr(None, 0.6) is None
