"""Intervals: resampled metrics equal the metrics of the resampled rows, and cover what they should."""

import numpy as np
import pytest

from din_train.config import MetricsConfig
from din_train.evaluation.bootstrap import _draw_counts, compute_interval, resample_metrics
from din_train.evaluation.metrics import compute_auc, compute_gauc


def make_rows(seed: int, users: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    user_ids = np.sort(random.integers(5, 5 + users, 400))
    labels = (random.random(400) < 0.4).astype(np.int8)
    return user_ids, labels, np.round(random.normal(labels, 1.0), 1).astype(np.float32)  # with ties


@pytest.mark.parametrize("weighting", ["impressions", "positives", "uniform"])
def test_a_resample_is_the_metric_of_the_rows_it_drew(weighting: str) -> None:
    user_ids, labels, scores = make_rows(0)
    config = MetricsConfig(resamples=5, gauc_weighting=weighting)
    (got,) = resample_metrics(user_ids, labels, [scores], config)
    users = np.unique(user_ids)
    for place, counts in enumerate(_draw_counts(len(users), 5)):
        assert counts.sum() == len(users)
        drawn = [
            (np.flatnonzero(user_ids == user), 1000 * copy + user)
            for user, count in zip(users, counts, strict=True)
            for copy in range(int(count))
        ]
        rows = np.concatenate([rows for rows, _ in drawn])
        names = np.concatenate([np.full(len(rows), name) for rows, name in drawn])
        assert got.auc[place] == pytest.approx(compute_auc(labels[rows], scores[rows]), abs=1e-12)
        expected = compute_gauc(names, labels[rows], scores[rows], weighting).value
        assert got.gauc[place] == pytest.approx(expected, abs=1e-12)


def test_the_same_rows_are_resampled_alike_for_every_score() -> None:
    user_ids, labels, scores = make_rows(1)
    config = MetricsConfig(resamples=20)
    both = resample_metrics(user_ids, labels, [scores, -scores], config)
    (alone,) = resample_metrics(user_ids, labels, [scores], config)
    np.testing.assert_array_equal(both[0].auc, alone.auc)
    np.testing.assert_allclose(both[1].gauc, 1 - alone.gauc, atol=1e-12)


def test_the_interval_is_the_middle_of_the_values() -> None:
    assert compute_interval(np.arange(101.0), 0.5) == (25.0, 75.0)
    assert compute_interval(np.array([1.0, np.nan, 1.0]), 0.95) == (1.0, 1.0)
    assert compute_interval(np.array([np.nan]), 0.95) is None
    assert compute_interval(np.empty(0), 0.95) is None


def test_users_with_one_class_count_for_auc_and_leave_gauc_undefined() -> None:
    user_ids, labels = np.array([1, 1, 2, 2]), np.array([1, 1, 0, 0], np.int8)
    (got,) = resample_metrics(user_ids, labels, [np.array([2.0, 1.0, 0.0, 0.5])], MetricsConfig(resamples=50))
    assert np.isnan(got.gauc).all()
    defined = got.auc[np.isfinite(got.auc)]
    assert 0 < len(defined) < 50  # a resample may hold one of the two users twice
    assert (defined == 1.0).all()


def test_95_percent_intervals_hold_the_truth_about_95_times_in_a_hundred() -> None:
    random = np.random.default_rng(7)
    users, times = 200, 150
    truth, held = 0.76025, 0  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt(2))
    for _ in range(times):
        labels = np.tile(np.array([1, 0], np.int8), users)
        scores = labels + random.normal(size=2 * users)
        ids = np.repeat(np.arange(users), 2)
        (got,) = resample_metrics(ids, labels, [scores], MetricsConfig(resamples=200))
        interval = compute_interval(got.gauc, 0.95)
        assert interval is not None
        held += interval[0] <= truth <= interval[1]
    assert 0.88 <= held / times <= 0.99


def test_no_rows() -> None:
    nothing = np.empty(0, np.int64)
    (got,) = resample_metrics(nothing, nothing, [np.empty(0)], MetricsConfig(resamples=5))
    assert len(got.auc) == len(got.gauc) == 0
