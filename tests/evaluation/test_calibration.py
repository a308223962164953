"""Calibrations against closed forms: two scores, blocks that pool, targets that stay inside 0 and 1, files."""

import math
from pathlib import Path

import numpy as np
import pytest

from din_train.checksums import begin_index
from din_train.config import MetricsConfig
from din_train.errors import DamagedError, RunError
from din_train.evaluation.calibration import (
    UNCALIBRATED,
    Calibration,
    fit_calibration,
    read_calibration,
    write_calibration,
)
from din_train.evaluation.evaluate import compute_metrics
from din_train.evaluation.scores import ScoredRows, read_scores, write_scores
from din_train.run_directory import RunDirectory


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_platt_meets_the_targets_means_of_two_scores() -> None:
    """Two scores and two parameters: each score's probability is the mean of its rows' targets."""
    scores = np.array([-5.0] * 4 + [3.0] * 4, np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 1], np.int8)  # 4 of each, so targets are 5/6 and 1/6
    fitted = fit_calibration("platt", labels, scores)
    low, high = (3 * (1 / 6) + 5 / 6) / 4, (1 / 6 + 3 * (5 / 6)) / 4
    assert fitted.compute_probabilities(np.array([-5.0, 3.0])) == pytest.approx([low, high], abs=1e-6)
    assert fitted.slope == pytest.approx((logit(high) - logit(low)) / 8, abs=1e-6)
    assert (fitted.positive_share, fitted.rows) == (0.5, 8)


def test_platt_takes_weights() -> None:
    """A weight of 2 is a row twice, but for the targets, which count rows."""
    scores, labels = np.array([0.0, 0.0, 1.0, 1.0], np.float32), np.array([1, 0, 1, 0], np.int8)
    fitted = fit_calibration("platt", labels, scores, np.array([1, 3, 3, 1], np.float32))
    low, high = (0.75 + 3 * 0.25) / 4, (3 * 0.75 + 0.25) / 4  # targets 3/4 and 1/4
    assert fitted.compute_probabilities(np.array([0.0, 1.0])) == pytest.approx([low, high], abs=1e-6)
    assert fitted.positive_share == pytest.approx(0.5)


def test_platt_stays_finite_where_scores_tell_the_classes_apart() -> None:
    scores, labels = np.array([1.0, 2.0, 3.0, 4.0], np.float32), np.array([0, 0, 1, 1], np.int8)
    fitted = fit_calibration("platt", labels, scores)
    assert (
        0.1 < fitted.compute_probabilities(np.array([1.0]))[0] < fitted.compute_probabilities(np.array([4.0]))[0] < 0.9
    )


def test_platt_never_falls() -> None:
    """Scores that are worse than none: the share of positives, whatever the score."""
    scores, labels = np.array([4.0, 3.0, 2.0, 1.0], np.float32), np.array([0, 0, 0, 1], np.int8)
    fitted = fit_calibration("platt", labels, scores)
    assert fitted.slope == 0
    assert fitted.compute_probabilities(np.array([-9.0, 9.0])) == pytest.approx([0.25, 0.25])


def test_isotonic_pools_what_falls_and_interpolates() -> None:
    """Shares 0, 1, 0, 1 of scores 0 to 3: the middle two pool to a half; the ends are Platt's targets 3/4 and 1/4."""
    scores, labels = np.array([3.0, 0.0, 1.0, 2.0], np.float32), np.array([1, 0, 1, 0], np.int8)
    fitted = fit_calibration("isotonic", labels, scores)
    given = np.array([-7.0, 0.0, 0.5, 1.0, 1.7, 2.0, 3.0, 8.0])
    expected = [0.25, 0.25, 0.375, 0.5, 0.5, 0.5, 0.75, 0.75]
    assert fitted.compute_probabilities(given) == pytest.approx(expected)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_rows_of_one_class_are_refused(method: str) -> None:
    with pytest.raises(RunError, match=f"received '{method}', but the 3 validation rows are of one class"):
        fit_calibration(method, np.ones(3, np.int8), np.arange(3.0))


@pytest.mark.parametrize("method", ["none", "platt", "isotonic"])
def test_a_run_gives_back_what_was_fitted(tmp_path: Path, method: str) -> None:
    begin_index(tmp_path)
    run, random = RunDirectory(tmp_path), np.random.default_rng(1)
    fitted = fit_calibration(method, random.integers(0, 2, 50), random.normal(size=50).astype(np.float32))
    write_calibration(run, fitted)
    assert run.calibration_file.exists() == (method != "none")
    assert read_calibration(run, method) == fitted
    assert read_calibration(run, "none") == UNCALIBRATED


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path) -> None:
    begin_index(tmp_path)
    run = RunDirectory(tmp_path)
    with pytest.raises(RunError, match=r"calibration\.json: no such file"):
        read_calibration(run, "platt")
    write_calibration(run, Calibration("platt", slope=2.0, positive_share=0.5, rows=3))
    run.calibration_file.write_text(run.calibration_file.read_text().replace("2.0", "3.0"))
    with pytest.raises(DamagedError, match=r"calibration\.json"):
        read_calibration(run, "platt")


def test_metrics_rank_by_scores_and_take_calibrated_probabilities(tmp_path: Path) -> None:
    """An isotonic step gives two scores of one user one probability: GAUC still tells them apart."""
    begin_index(tmp_path)
    ids, long_ids = np.zeros(4, np.int32), np.zeros(4, np.int64)
    step = Calibration("isotonic", scores=(0.0, 1.0, 2.0), probabilities=(0.2, 0.5, 0.5), positive_share=0.5, rows=9)
    logits = np.array([2.0, 1.0, 0.0, 0.0], np.float32)
    rows = ScoredRows(
        user_id=ids, target_item_id=ids, history_length=ids, history_end=long_ids, event=long_ids,
        label=np.array([1, 0, 0, 0], np.int8), logit=logits, log_odds=step.compute_log_odds(logits),
    )  # fmt: skip
    path = tmp_path / "scores.test.parquet"
    write_scores(path, rows)
    read = read_scores(path)
    assert read.click_probabilities == pytest.approx([0.5, 0.5, 0.2, 0.2])
    metrics = compute_metrics(read, MetricsConfig())
    assert (metrics.gauc, metrics.auc) == (1.0, 1.0)
    assert metrics.pcoc == pytest.approx(1.4)
    assert metrics.logloss == pytest.approx(-(2 * math.log(0.5) + 2 * math.log(0.8)) / 4)
