"""The null deviation: that of shuffled labels, whose AUC and GAUC are one half in the mean."""

import numpy as np
import pytest

from din_train.audit.label_leaks import compute_null_deviation
from din_train.evaluation.metrics import compute_auc, compute_gauc


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_that_of_shuffled_labels(ties: bool) -> None:
    random = np.random.default_rng(1)
    users = random.integers(0, 12, 150)
    scores = random.normal(size=150)
    if ties:
        scores = np.round(scores)
    labels = (random.random(150) < 0.3).astype(np.int8)
    overall, within = [], []
    for _ in range(4_000):
        shuffled = random.permutation(labels)
        overall.append(compute_auc(shuffled, scores))
        kept = labels.copy()
        for user in range(12):
            kept[users == user] = random.permutation(labels[users == user])
        within.append(compute_gauc(users, kept, scores).value)
    for groups, values in ((np.zeros(150, np.int64), overall), (users, within)):
        deviation = compute_null_deviation(groups, labels, scores)
        assert deviation == pytest.approx(float(np.std(values)), rel=0.05)
        assert float(np.mean(values)) == pytest.approx(0.5, abs=4 * deviation / len(values) ** 0.5)


def test_by_hand_and_undefined() -> None:
    # one positive among three rows without ties has AUC 0, 1/2 or 1: variance 1/6
    assert compute_null_deviation(np.zeros(3), np.array([1, 0, 0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (1 / 6) ** 0.5
    )
    assert compute_null_deviation(np.zeros(2), np.array([1, 0]), np.array([1.0, 1.0])) == 0.0
    assert compute_null_deviation(np.arange(2), np.array([1, 0]), np.array([1.0, 2.0])) is None
