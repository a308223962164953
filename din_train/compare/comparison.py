"""Runs side by side: only numbers that mean the same stand in one table, and differences come with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from din_train.config import MetricsConfig
from din_train.errors import ConfigError, RunError
from din_train.evaluation.bootstrap import compute_interval, resample_metrics
from din_train.evaluation.metrics import compute_auc, compute_gauc, compute_rela_impr
from din_train.evaluation.scores import ScoredRows
from din_train.run_metrics import RunMetrics

# What must be equal for two numbers to be comparable, and what it is called.
_SAME = {
    "protocol": "protocol",
    "split": "split",
    "selected_on": "split that chose the epoch",
    "rows_sha256": "hash of the scored rows",
    "gauc_weighting": "weighting of GAUC",
    "metric_definition": "hash of the metrics' definitions",
}

MODEL_TITLES = {
    "din": "DIN",
    "base": "BaseModel",
    "lr": "LR",
    "wide_deep": "Wide&Deep",
    "pnn": "PNN",
    "deepfm": "DeepFM",
}


@dataclass(frozen=True)
class ComparedRun:
    """name: that of its directory. rela_impr: of GAUC over the first run's, per cent."""

    name: str
    metrics: RunMetrics
    rela_impr: float | None


@dataclass(frozen=True)
class Difference:
    """run's metric minus the base's, over the same resampled users.

    low, high: bounds of the interval of `confidence`. sentence: the same in words.
    """

    metric: str
    run: str
    base: str
    value: float
    low: float
    high: float
    confidence: float
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """runs: in the order given, the first is the base. differences: of the others from it. warnings: if forced."""

    runs: tuple[ComparedRun, ...]
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]


def format_rela_impr(rela_impr: float | None) -> str:
    """`+1.23 %`, or `undefined`."""
    return "undefined" if rela_impr is None else f"{rela_impr:+.2f} %"


def compare_runs(
    metrics: Mapping[str, RunMetrics],
    rows: Mapping[str, ScoredRows],
    config: MetricsConfig,
    *,
    force: bool = False,
) -> Comparison:
    """Compare the other runs with the first.

    Args:
        metrics: run name -> its metrics.json. rows: run name -> its scored rows.
        config: GAUC's weighting, resamples and confidence.
        force: put numbers side by side that do not compare, and say so.

    Raises:
        ConfigError: if the runs were not scored on the same rows, by the same protocol and definitions.
        RunError: if scores are not those that the metrics were made from.
    """
    base_name, *others = metrics
    problems = {name: list(_find_mismatches(name, metrics[name], base_name, metrics[base_name])) for name in others}
    warnings = [problem for of_run in problems.values() for problem in of_run]
    if warnings and not force:
        raise ConfigError(
            [f"{each}; their numbers do not compare (--force shows them all the same)" for each in warnings]
        )
    for name, scored in rows.items():
        if compute_auc(scored.label, scored.logit) != metrics[name].auc:
            raise RunError(
                f"{name}: its scores are not those of its metrics.json: one of the two was changed; train the run again"
            )
    titles = _name_runs(metrics)
    runs = tuple(
        ComparedRun(name, each, compute_rela_impr(each.gauc, metrics[base_name].gauc)) for name, each in metrics.items()
    )
    differences = []
    for name in others:
        if metrics[name].rows_sha256 == metrics[base_name].rows_sha256:
            differences += _compute_differences(name, base_name, rows, config, titles)
        else:
            warnings.append(f"{name}: other rows than {base_name}, so the difference has no interval")
    return Comparison(runs, tuple(differences), tuple(warnings))


def _find_mismatches(name: str, metrics: RunMetrics, base_name: str, base: RunMetrics) -> Sequence[str]:
    return [
        f"{name}: {title} is {getattr(metrics, key)!r}, but {getattr(base, key)!r} in {base_name}"
        for key, title in _SAME.items()
        if getattr(metrics, key) != getattr(base, key)
    ]


def _name_runs(metrics: Mapping[str, RunMetrics]) -> dict[str, str]:
    """The models' names if they tell the runs apart, else the runs' own."""
    models = [each.model for each in metrics.values()]
    if len(set(models)) < len(models):
        return {name: name for name in metrics}
    return {name: MODEL_TITLES[model] for name, model in zip(metrics, models, strict=True)}


def _compute_differences(
    name: str, base: str, rows: Mapping[str, ScoredRows], config: MetricsConfig, titles: Mapping[str, str]
) -> list[Difference]:
    if not config.resamples:
        return []
    ours, theirs = rows[name], rows[base]
    if not (np.array_equal(ours.label, theirs.label) and _group_alike(ours.user_id, theirs.user_id)):
        raise RunError(f"{name}: its rows are not {base}'s, though their hashes are equal; score both again")
    resampled, of_base = resample_metrics(theirs.user_id, theirs.label, [ours.logit, theirs.logit], config)
    differences = []
    for metric in ("gauc", "auc"):
        values: NDArray[np.float64] = getattr(resampled, metric) - getattr(of_base, metric)
        interval = compute_interval(values, config.confidence)
        value = _compute_point(metric, ours, config) - _compute_point(metric, theirs, config)
        if interval is None or not np.isfinite(value):
            continue
        sentence = _describe_difference(
            titles[name], titles[base], metric.upper(), value, interval.low, interval.high, config.confidence
        )
        differences.append(
            Difference(metric, name, base, value, interval.low, interval.high, config.confidence, sentence)
        )
    return differences


def _compute_point(metric: str, rows: ScoredRows, config: MetricsConfig) -> float:
    value = (
        compute_auc(rows.label, rows.logit)
        if metric == "auc"
        else compute_gauc(rows.user_id, rows.label, rows.logit, config.gauc_weighting).value
    )
    return float("nan") if value is None else value


def _group_alike(ours: NDArray[np.int32], theirs: NDArray[np.int32]) -> bool:
    """Whether two numberings of users put the same rows together."""
    if not len(ours):
        return True
    to_theirs, to_ours = np.zeros(ours.max() + 1, np.int32), np.zeros(theirs.max() + 1, np.int32)
    to_theirs[ours], to_ours[theirs] = theirs, ours
    return bool(np.array_equal(to_theirs[ours], theirs) and np.array_equal(to_ours[theirs], ours))


def _describe_difference(
    name: str, base: str, metric: str, value: float, low: float, high: float, confidence: float
) -> str:
    """`DIN beats BaseModel by 0.0071 GAUC, 95 % interval 0.0049 to 0.0093`."""
    percent = f"{confidence * 100:g} % interval"
    if low > 0:
        return f"{name} beats {base} by {value:.4f} {metric}, {percent} {low:.4f} to {high:.4f}"
    if high < 0:
        return f"{base} beats {name} by {-value:.4f} {metric}, {percent} {-high:.4f} to {-low:.4f}"
    return (
        f"{name} and {base} are not told apart by {metric}: the difference is {value:+.4f}, {percent} {low:+.4f} to "
        f"{high:+.4f}"
    )
