"""Faults planted in what a run has stored: scores, rows, metrics; each check finds its kind."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_runs import has_failed, open_subject, score

from din_train.audit import parity
from din_train.audit.audited_run import AuditedRun, Status
from din_train.audit.parity import check_metrics, check_same_rows, check_stored_scores


@pytest.fixture
def run(trained_run: Path) -> AuditedRun:
    return open_subject(trained_run)


def test_other_weights_than_those_that_scored(run: AuditedRun) -> None:
    assert not has_failed(check_stored_scores(run))
    run.model.trainable_weights[0].assign(run.model.trainable_weights[0] * 1.01)
    assert has_failed(check_stored_scores(replace(run)))  # a copy has scored nothing yet


def test_a_model_that_reads_the_batch(run: AuditedRun) -> None:
    """As a normalisation layer does that is left in training mode."""
    original = run.model.score
    run.model.score = lambda inputs: original(inputs) - 1e-3 * len(inputs["history_length"])
    assert has_failed(check_stored_scores(run))


@pytest.mark.parametrize("column", ["user_id", "target_item_id", "history_length", "history_end", "label", "logit"])
def test_one_stored_value_changed(run: AuditedRun, column: str) -> None:
    assert run.stored is not None
    values = getattr(run.stored, column).copy()
    values[17] = 1 - values[17]
    assert has_failed(check_stored_scores(replace(run, stored=replace(run.stored, **{column: values}))))


def test_stored_scores_of_other_rows_or_none(run: AuditedRun) -> None:
    assert run.stored is not None
    assert has_failed(check_stored_scores(replace(run, stored=run.stored.take(np.arange(9)))))
    without = replace(run, stored=None)
    assert check_stored_scores(without).status is Status.SKIPPED
    assert not has_failed(check_metrics(without))
    assert "no scores of all rows" in check_metrics(replace(without, rows=run.rows[:9])).finding


KEYS = ("auc", "gauc", "logloss", "pcoc", "ece", "num_samples", "num_positives", "gauc_users", "gauc_users_skipped")


def test_an_edited_metric(run: AuditedRun) -> None:
    assert not has_failed(check_metrics(run))
    for key in KEYS:
        for value in (getattr(run.metrics, key) + 1e-6, None):
            check = check_metrics(replace(run, metrics=replace(run.metrics, **{key: value})))
            assert has_failed(check)
            assert f"{key} {value} there" in check.finding


def test_an_edited_gauc_by_history(tmp_path: Path) -> None:
    run = score(tmp_path, "user", "lr")
    value = run.metrics.gauc_by_history
    assert value is not None
    assert check_metrics(run).measured["gauc_by_history"] == pytest.approx(value, abs=1e-9)
    check = check_metrics(replace(run, metrics=replace(run.metrics, gauc_by_history=value + 1e-6)))
    assert has_failed(check)
    assert f"gauc_by_history {value + 1e-6} there" in check.finding


def test_a_gauc_that_is_not_that_of_pairs(run: AuditedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run.stored is not None
    with_ties = replace(run, stored=replace(run.stored, logit=np.round(run.stored.logit, 1)))
    recomputed = {key: value for key, value in check_metrics(with_ties).measured.items() if hasattr(run.metrics, key)}
    with_ties = replace(with_ties, metrics=replace(run.metrics, **recomputed))
    assert not has_failed(check_metrics(with_ties))
    original: Any = parity.compute_gauc
    monkeypatch.setattr(parity, "compute_gauc", lambda u, y, s, *w: original(u, y, s - 1e-4 * np.arange(len(s)), *w))
    assert has_failed(check_metrics(with_ties))  # it gives ties to the row that comes first, a positive


def test_other_test_rows_than_the_metrics_have(run: AuditedRun) -> None:
    assert not has_failed(check_same_rows(run))
    labels = run.samples.labels.copy()
    labels[[0, 1]] = labels[[1, 0]]
    assert has_failed(check_same_rows(replace(run, samples=replace(run.samples, labels=labels))))
    assert has_failed(check_same_rows(replace(run, metrics=replace(run.metrics, rows_sha256="0" * 64))))
