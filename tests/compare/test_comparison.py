"""Runs are put side by side only where their numbers mean the same; their differences come with paired intervals."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from record_factory import METRICS
from scored_rows import make_rows

from din_train.compare.compare import compare_runs
from din_train.config import MetricsConfig
from din_train.errors import ConfigError, RunError
from din_train.evaluation.metrics import compute_auc, compute_gauc
from din_train.evaluation.scores import ScoredRows
from din_train.run_metrics import RunMetrics

USERS = 400
CONFIG = MetricsConfig(resamples=300)


def score_rows(noise: float, seed: int) -> ScoredRows:
    """A positive and a negative a user, told apart the worse the more noise."""
    random = np.random.default_rng(seed)
    label = np.tile(np.array([1, 0], np.int8), USERS)
    logit = (label + random.normal(0, noise, 2 * USERS)).astype(np.float32)
    ids = np.repeat(np.arange(2, USERS + 2, dtype=np.int32), 2)
    return make_rows(user_id=ids, target_item_id=ids, history_length=np.ones_like(ids), label=label, logit=logit)


def describe(rows: ScoredRows, model: str = "din", **others: Any) -> RunMetrics:
    auc, gauc = compute_auc(rows.label, rows.logit), compute_gauc(rows.user_id, rows.label, rows.logit).value
    return replace(METRICS, model=model, auc=auc, gauc=gauc, **others)


GOOD, POOR = score_rows(0.5, 1), score_rows(2.0, 2)
RUNS = {"runs/base": describe(POOR, "base"), "runs/din": describe(GOOD)}
ROWS = {"runs/base": POOR, "runs/din": GOOD}


def test_the_first_run_is_the_base_of_rela_impr_and_of_the_differences() -> None:
    comparison = compare_runs(RUNS, ROWS, CONFIG)
    assert [run.name for run in comparison.runs] == ["runs/base", "runs/din"]
    base, din = (each.gauc for each in RUNS.values())
    assert [run.rela_impr for run in comparison.runs] == pytest.approx([0.0, ((din - 0.5) / (base - 0.5) - 1) * 100])
    gauc, auc = comparison.differences
    assert (gauc.metric, auc.metric, gauc.run, gauc.base) == ("gauc", "auc", "runs/din", "runs/base")
    assert gauc.value == pytest.approx(din - base, abs=1e-12)
    assert auc.value == pytest.approx(RUNS["runs/din"].auc - RUNS["runs/base"].auc, abs=1e-12)
    assert gauc.low < gauc.value < gauc.high
    # one pair a user, so a user's difference is -1, 0 or 1: the interval is that of a mean
    of_users = (GOOD.logit[::2] > GOOD.logit[1::2]).astype(float) - (POOR.logit[::2] > POOR.logit[1::2])
    half = 1.96 * of_users.std() / np.sqrt(USERS)
    assert (gauc.low, gauc.high) == pytest.approx((gauc.value - half, gauc.value + half), abs=0.15 * half)
    assert comparison.warnings == ()


def test_the_sentence_says_who_beats_whom_by_how_much() -> None:
    gauc = compare_runs(RUNS, ROWS, CONFIG).differences[0]
    expected = f"by {gauc.value:.4f} GAUC, 95 % interval {gauc.low:.4f} to {gauc.high:.4f}"
    assert gauc.sentence == f"DIN beats BaseModel {expected}"
    swapped = compare_runs(dict(reversed(RUNS.items())), ROWS, CONFIG).differences[0]
    assert swapped.sentence == gauc.sentence
    assert swapped.value == pytest.approx(-gauc.value)


def test_the_sentence_does_not_claim_what_the_interval_does_not_show() -> None:
    other = score_rows(2.0, 3)
    rows = {"a": POOR, "b": other}
    for base, run in (("a", "b"), ("b", "a")):
        runs = {name: describe(rows[name]) for name in (base, run)}
        gauc = compare_runs(runs, rows, CONFIG).differences[0]
        assert gauc.low < 0 < gauc.high
        assert gauc.sentence.startswith(f"{run} and {base} are not told apart by GAUC: the difference is ")


def test_a_run_does_not_differ_from_itself() -> None:
    twin = {"a": describe(POOR), "b": describe(POOR)}
    gauc = compare_runs(twin, {"a": POOR, "b": POOR}, CONFIG).differences[0]
    assert (gauc.value, gauc.low, gauc.high) == (0.0, 0.0, 0.0)


def test_without_resamples_there_are_no_differences() -> None:
    assert compare_runs(RUNS, ROWS, MetricsConfig(resamples=0)).differences == ()


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("protocol", "protocol"),
        ("split", "split"),
        ("selected_on", "split that chose the epoch"),
        ("rows_sha256", "hash of the scored rows"),
        ("gauc_weighting", "weighting of GAUC"),
        ("metric_definition", "hash of the metrics' definitions"),
    ],
)
def test_refuses_what_does_not_compare_unless_forced_and_then_says_so(key: str, title: str) -> None:
    metrics = {**RUNS, "runs/din": replace(RUNS["runs/din"], **{key: "other"})}
    with pytest.raises(ConfigError, match=f"runs/din: {title} is 'other'") as refused:
        compare_runs(metrics, ROWS, CONFIG)
    assert "--force" in str(refused.value)
    forced = compare_runs(metrics, ROWS, CONFIG, force=True)
    assert forced.warnings[0].startswith(f"runs/din: {title} is 'other', but ")
    assert bool(forced.differences) == (key != "rows_sha256")


def test_refuses_scores_that_the_metrics_were_not_made_from() -> None:
    with pytest.raises(RunError, match=r"runs/din: its scores are not those of its metrics\.json"):
        compare_runs(RUNS, {**ROWS, "runs/din": POOR}, CONFIG)


def test_refuses_rows_of_other_users() -> None:
    mixed = replace(GOOD, user_id=np.roll(GOOD.user_id, 1))
    with pytest.raises(RunError, match="runs/din: its rows are not runs/base's"):
        compare_runs(RUNS, {**ROWS, "runs/din": mixed}, CONFIG)


def test_the_same_users_under_other_numbers_are_the_same_users() -> None:
    renumbered = replace(GOOD, user_id=GOOD.user_id[::-1] * 3)
    assert compare_runs(RUNS, {**ROWS, "runs/din": renumbered}, CONFIG).differences
