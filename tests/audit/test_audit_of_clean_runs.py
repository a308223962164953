"""Every check passes on runs of every protocol, and has looked at what it says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_runs import EVENTS_A_USER, USERS, find_failed, open_subject, train

from din_train.audit.check import Check, Status
from din_train.audit.checks import CHECKS, run_checks
from din_train.audit.null_deviation import compute_null_deviation
from din_train.audit.subject import choose_rows
from din_train.evaluation.metrics import compute_auc, compute_gauc


def audit(tmp_path: Path, kind: str, model: str, **changes: Any) -> dict[str, Check]:
    checks = run_checks(open_subject(train(tmp_path / "made", kind, model, **changes)))
    assert find_failed(checks) == {}
    assert len(checks) == len(CHECKS) == len({each.name for each in checks})
    return {each.name: each for each in checks}


def list_skipped(checks: dict[str, Check]) -> set[str]:
    return {name for name, each in checks.items() if each.status is Status.SKIPPED}


def test_din_under_holdout_refitted(tmp_path: Path) -> None:
    checks = audit(tmp_path, "holdout", "din", training={"refit": True, "epochs": 1})
    assert not list_skipped(checks)
    trained = (EVENTS_A_USER - 3) * USERS * 3
    assert checks["test rows: rows trained on"].measured == {"selection": [trained], "refit": [trained + USERS * 3]}
    assert checks["test rows: unseen"].measured["test_events"] == USERS
    assert checks["parity: stored scores"].measured["same_bits"] == 1.0
    assert checks["future: histories"].measured["samples"] == trained + 2 * USERS * 4
    assert checks["metrics: recomputed"].measured["gauc_users"] == USERS


def test_base_under_paper(tmp_path: Path) -> None:
    checks = audit(tmp_path, "paper", "base", metrics={"gauc_weighting": "uniform"})
    assert "uniform" in checks["metrics: recomputed"].finding


def test_lr_under_time(tmp_path: Path) -> None:
    checks = audit(tmp_path, "time", "lr")
    assert checks["test rows: unseen"].measured["test_events"] == 2 * USERS
    assert checks["future: histories"].measured["ending elsewhere than the protocol says"] == 0
    assert checks["future: appended"].measured["changed"] > 0.9


def test_din_under_user(tmp_path: Path) -> None:
    checks = audit(tmp_path, "user", "din")
    assert checks["test rows: users"].measured == {
        "users": 45, "train": 0, "validation": 0, "train and validation": 0
    }  # fmt: skip
    assert checks["test rows: unseen"].measured["test_events"] == 45 * EVENTS_A_USER


def test_base_on_ready_made_samples(tmp_path: Path) -> None:
    checks = audit(tmp_path, "presampled", "base")
    assert checks["future: histories"].measured["positives"] == USERS * (EVENTS_A_USER - 1)
    assert list_skipped(checks) >= {"leak: negatives' pool", "leak: negatives' inputs"}


def test_din_on_impressions(tmp_path: Path) -> None:
    checks = audit(tmp_path, "impressions", "din")
    assert checks["future: histories"].measured["at or after their request's moment"] == 0
    assert checks["leak: kinds of items"].status is Status.NOTE


def test_popular_negatives_excluded_by_history_and_drawn_anew(tmp_path: Path) -> None:
    negatives = {"distribution": "popularity", "exclude": "history", "resample": "epoch"}
    checks = audit(tmp_path, "holdout", "base", negatives=negatives)
    assert checks["leak: negatives' pool"].measured["deviations"] < 4


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
@pytest.mark.parametrize("exclude", ["all", "history"])
def test_rare_items_that_are_unknown(tmp_path: Path, distribution: str, exclude: str) -> None:
    negatives = {"distribution": distribution, "exclude": exclude, "resample": "epoch"}
    checks = audit(tmp_path, "holdout", "lr", vocabulary={"min_count": 16}, negatives=negatives, training={"epochs": 1})
    unknown = checks["leak: kinds of items"].measured["unknown"]
    assert unknown["test_positives"] > 20
    assert unknown["test_negatives"] > 60
    assert checks["leak: negatives' pool"].measured["deviations"] < 4


@pytest.mark.parametrize("ties", [False, True])
def test_the_null_deviation_is_that_of_shuffled_labels(ties: bool) -> None:
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
    one_group = np.zeros(150, np.int64)
    assert compute_null_deviation(one_group, labels, scores) == pytest.approx(float(np.std(overall)), rel=0.05)
    assert compute_null_deviation(users, labels, scores) == pytest.approx(float(np.std(within)), rel=0.05)


def test_the_null_deviation_by_hand_and_where_undefined() -> None:
    # one positive among three rows without ties has AUC 0, 1/2 or 1: variance 1/6
    assert compute_null_deviation(np.zeros(3), np.array([1, 0, 0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (1 / 6) ** 0.5
    )
    assert compute_null_deviation(np.zeros(2), np.array([1, 0]), np.array([1.0, 1.0])) == 0.0
    assert compute_null_deviation(np.arange(2), np.array([1, 0]), np.array([1.0, 2.0])) is None


def test_rows_are_drawn_as_whole_users() -> None:
    users = np.repeat(np.arange(100, dtype=np.int32), 7)
    rows = choose_rows(users, 50, 3)
    assert len(rows) == 49
    assert set(np.unique(users[rows], return_counts=True)[1]) == {7}
    assert rows.tolist() == sorted(rows) == choose_rows(users, 50, 3).tolist() != choose_rows(users, 50, 4).tolist()
    assert len(choose_rows(users, 3, 1)) == 7  # one user at least
    assert choose_rows(users, 700, 1).tolist() == list(range(700))
