"""Metrics of weighted rows, and GAUC over other groups than users: by hand and against scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from record_factory import METRICS
from scored_rows import make_rows
from sklearn.metrics import log_loss, roc_auc_score

from din_train.config import MetricsConfig
from din_train.evaluation.bootstrap import draws_users, resample_metrics
from din_train.evaluation.display import build_metrics_table, describe_rows, describe_unusual
from din_train.evaluation.evaluate import compute_intervals, compute_metrics
from din_train.evaluation.metrics import (
    compute_auc,
    compute_calibration_bins,
    compute_click_probabilities,
    compute_gauc,
    hash_definition,
)
from din_train.evaluation.scores import ScoredRows, read_scores, write_scores

RANDOM = np.random.default_rng(3)


def draw_rows(size: int = 400) -> ScoredRows:
    """Rows with ties in their scores, weights of 0 among others, and requests of users."""
    users = RANDOM.integers(2, 22, size)
    return make_rows(
        user_id=users,
        label=RANDOM.integers(0, 2, size),
        logit=np.round(RANDOM.normal(size=size), 1),
        weight=RANDOM.choice([0.0, 0.5, 1.0, 3.0], size),
        group=users * 10 + RANDOM.integers(0, 3, size),
    )


def test_a_weighted_auc_by_hand() -> None:
    labels, scores = np.array([1, 0, 0, 1]), np.array([2.0, 1.0, 3.0, 1.0])
    # positive of 2 (weight 2): beats the negative of 1 (weight 3), not that of 3 (weight 1); positive of 1 (weight 1):
    # ties with the first. 2 * 3 + 1 * 3 / 2 = 7.5 of 3 * 4 = 12
    assert compute_auc(labels, scores, np.array([2.0, 3.0, 1.0, 1.0])) == pytest.approx(7.5 / 12)
    assert compute_auc(labels, scores, np.array([0.0, 1.0, 1.0, 0.0])) is None  # no positive counts


def test_metrics_agree_with_scikit_learn() -> None:
    rows = draw_rows()
    weight = rows.weight
    assert weight is not None
    metrics = compute_metrics(rows, MetricsConfig())
    probabilities = compute_click_probabilities(rows.logit)
    assert metrics.auc == pytest.approx(roc_auc_score(rows.label, rows.logit, sample_weight=weight))
    logloss = log_loss(rows.label, probabilities, sample_weight=weight)
    assert metrics.logloss == pytest.approx(logloss)
    share = np.average(rows.label, weights=weight)
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert metrics.normalised_entropy == pytest.approx(logloss / entropy)
    assert metrics.pcoc == pytest.approx((weight @ probabilities) / (weight @ rows.label))
    aucs, sizes = [], []
    for group in np.unique(rows.groups):
        mine = rows.groups == group
        sums = [weight[mine & (rows.label == label)].sum() for label in (0, 1)]
        if min(sums) > 0:
            aucs.append(roc_auc_score(rows.label[mine], rows.logit[mine], sample_weight=weight[mine]))
            sizes.append(weight[mine].sum())
    assert metrics.gauc == pytest.approx(np.average(aucs, weights=sizes))
    assert (metrics.gauc_users, metrics.num_users) == (len(aucs), len(np.unique(rows.user_id)))


def test_weights_of_one_change_nothing_and_whole_weights_repeat_rows() -> None:
    rows = draw_rows()
    weights = RANDOM.integers(0, 4, len(rows))
    plain = [rows.label, rows.logit]
    assert compute_auc(*plain, np.ones(len(rows))) == pytest.approx(compute_auc(*plain))
    repeated = [np.repeat(each, weights) for each in plain]
    assert compute_auc(*plain, weights) == pytest.approx(compute_auc(*repeated))
    of_users = compute_gauc(rows.user_id, *plain, weights=weights).value
    assert of_users == pytest.approx(compute_gauc(np.repeat(rows.user_id, weights), *repeated).value)


def test_weighted_bins_by_hand() -> None:
    bins = compute_calibration_bins(np.array([1, 0]), np.array([0.5, 0.5]), np.array([1.0, 3.0]))
    assert (bins.share.tolist(), bins.mean_probability.tolist(), bins.rows.tolist()) == ([0.25], [0.5], [4.0])


def test_gauc_over_requests_by_hand() -> None:
    rows = make_rows(
        user_id=[2, 2, 2, 2, 3, 3],
        group=[5, 5, 6, 6, 7, 7],
        label=[1, 0, 1, 0, 0, 0],
        logit=[1.0, 0.0, 2.0, 3.0, 0.0, 1.0],
    )
    metrics = compute_metrics(rows, MetricsConfig(group="request"))
    assert (metrics.gauc, metrics.gauc_users, metrics.gauc_users_skipped, metrics.num_users) == (0.5, 2, 1, 2)
    by_user = compute_metrics(rows.take(np.arange(4)), MetricsConfig()).gauc
    assert by_user == 0.5  # two requests of one user in the same group ids
    intervals = compute_intervals(rows, MetricsConfig(group="request", resamples=20))
    assert intervals is not None
    assert (intervals["unit"], intervals["gauc"]) == ("user", [0.5, 0.5])


def test_units_are_groups_if_users_share_them() -> None:
    users, groups = np.array([2, 2, 3, 3]), np.array([1, 1, 1, 2])
    assert draws_users(users, None)
    assert draws_users(users, np.array([1, 2, 3, 3]))
    assert not draws_users(users, groups)
    rows = make_rows(user_id=users, group=groups, label=[1, 0, 1, 0], logit=[1.0, 0.0, 1.0, 0.0])
    intervals = compute_intervals(rows, MetricsConfig(group="session", resamples=20))
    assert intervals is not None
    assert intervals["unit"] == "session"


def test_resamples_are_weighted_alike() -> None:
    rows = draw_rows()
    assert rows.weight is not None
    users = np.unique(rows.user_id)
    config = MetricsConfig(resamples=3)
    (got,) = resample_metrics(rows.user_id, rows.label, [rows.logit], config, weights=rows.weight, groups=rows.group)
    random = np.random.default_rng([1, len(users)])
    for place in range(3):
        drawn = random.integers(0, len(users), len(users), dtype=np.int64)
        chosen = np.concatenate([np.flatnonzero(rows.user_id == users[each]) for each in drawn])
        copies = np.concatenate([np.full(np.sum(rows.user_id == users[each]), n) for n, each in enumerate(drawn)])
        sample = [rows.label[chosen], rows.logit[chosen]]
        assert got.auc[place] == pytest.approx(compute_auc(*sample, rows.weight[chosen]))
        groups = rows.groups[chosen] * 1000 + copies
        expected = compute_gauc(groups, *sample, weights=rows.weight[chosen]).value
        assert got.gauc[place] == pytest.approx(expected)


def test_weights_and_groups_are_kept_with_the_scores(tmp_path: Path) -> None:
    rows = draw_rows(20)
    write_scores(tmp_path / "scores.test.parquet", rows)
    back = read_scores(tmp_path / "scores.test.parquet")
    for name in ("weight", "group", "label"):
        assert getattr(back, name).tolist() == getattr(rows, name).tolist()


def test_the_output_says_so() -> None:
    metrics = METRICS.__class__(**{**vars(METRICS), "gauc_group": "request", "weighted": True})
    assert describe_unusual(METRICS) is None
    assert describe_unusual(metrics) == "GAUC over requests; all metrics weighted by the rows' weights"
    assert "GAUC is over 2 requests, weighted by their number of rows" in describe_rows(metrics)
    assert "All metrics are weighted by the rows' weights." in describe_rows(metrics)
    table = build_metrics_table(metrics)
    assert "weighted rows" in str(table.title)
    assert "requests in GAUC" in list(table.columns[0].cells)
    assert metrics.to_json()["gauc_group"] == "request"


def test_definitions_tell_groups_and_weights_apart() -> None:
    hashes = {
        hash_definition("impressions", group, weighted=weighted)
        for group in ("user", "request")
        for weighted in (False, True)
    }
    assert len(hashes) == 4
    assert hash_definition("impressions") in hashes
