"""Every check passes on runs of every protocol, and has looked at what it says."""

from pathlib import Path

import numpy as np
import pytest
from audit_runs import EVENTS_A_USER, USERS, find_failed, has_failed, open_subject, prepare, score

from din_train.audit.audit import CHECKS, run_checks
from din_train.audit.audited_run import AuditedRun, Check, Status, choose_rows
from din_train.audit.label_leaks import check_item_kinds, check_negatives_pool


def audit(run: AuditedRun) -> dict[str, Check]:
    checks = run_checks(run)
    assert find_failed(checks) == {}
    assert len(checks) == len(CHECKS) == len({each.name for each in checks})
    return {each.name: each for each in checks}


def list_skipped(checks: dict[str, Check]) -> set[str]:
    return {name for name, each in checks.items() if each.status is Status.SKIPPED}


def test_a_trained_run_of_din_under_holdout(trained_run: Path) -> None:
    checks = audit(open_subject(trained_run))
    assert list_skipped(checks) == {"training: drawn rows"}
    assert checks["test rows: unseen"].measured["test_events"] == USERS
    assert checks["parity: stored scores"].measured["same_bits"] == 1.0
    assert checks["future: histories"].measured["samples"] == (EVENTS_A_USER - 3) * USERS * 3 + 2 * USERS * 4
    assert checks["metrics: recomputed"].measured["gauc_users"] == USERS


def test_lr_under_user(tmp_path: Path) -> None:
    checks = audit(score(tmp_path, "user", "lr"))
    assert checks["test rows: users"].measured == {
        "users": 48, "train": 0, "validation": 0, "train and validation": 0
    }  # fmt: skip
    assert (
        checks["test rows: unseen"].measured["test_events"] == 48 * EVENTS_A_USER
    )  # of 300 users about 15 %, by their hashes


def test_base_under_paper(tmp_path: Path) -> None:
    checks = audit(score(tmp_path, "paper", "base", metrics={"gauc_weighting": "uniform"}))
    assert "GAUC by uniform" in checks["metrics: recomputed"].finding


def test_base_under_time(tmp_path: Path) -> None:
    checks = audit(score(tmp_path, "time", "base"))
    assert checks["test rows: unseen"].measured["test_events"] == 2 * USERS
    assert checks["future: histories"].measured["ending elsewhere than the protocol says"] == 0
    assert checks["future: appended"].measured["changed"] > 0.9


def test_lr_on_ready_made_samples(tmp_path: Path) -> None:
    checks = audit(score(tmp_path, "presampled", "lr"))
    assert checks["future: histories"].measured["positives"] == USERS * (EVENTS_A_USER - 1)
    assert "leak: negatives' pool" in list_skipped(checks)


def test_din_on_impressions(tmp_path: Path) -> None:
    checks = audit(score(tmp_path, "impressions", "din"))
    assert checks["future: histories"].measured["at or after their request's moment"] == 0
    assert checks["leak: kinds of items"].status is Status.NOTE


@pytest.mark.parametrize("min_count", [1, 16])
@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
@pytest.mark.parametrize("exclude", ["all", "history"])
def test_negatives_of_every_draw(tmp_path: Path, distribution: str, exclude: str, min_count: int) -> None:
    """With a `min_count` of 16 some items are unknown, as targets and as negatives."""
    negatives = {"distribution": distribution, "exclude": exclude, "resample": "epoch"}
    run = prepare(tmp_path, "holdout", vocabulary={"min_count": min_count}, negatives=negatives)
    pool, kinds = check_negatives_pool(run), check_item_kinds(run)
    assert not has_failed(pool)
    assert pool.measured["deviations"] < 4
    assert not has_failed(kinds)
    unknown = kinds.measured["unknown"]
    assert (unknown["test_positives"] > 20) == (unknown["test_negatives"] > 60) == (min_count == 16)


def test_rows_are_drawn_as_whole_users() -> None:
    users = np.repeat(np.arange(100, dtype=np.int32), 7)
    rows = choose_rows(users, 50, 3)
    assert len(rows) == 49
    assert set(np.unique(users[rows], return_counts=True)[1]) == {7}
    assert rows.tolist() == sorted(rows) == choose_rows(users, 50, 3).tolist() != choose_rows(users, 50, 4).tolist()
    assert len(choose_rows(users, 3, 1)) == 7  # one user at least
    assert choose_rows(users, 700, 1).tolist() == list(range(700))
