"""`din-train compare`: finished runs side by side.

Only numbers that mean the same stand in one table, and differences come with intervals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from din_train import terminal
from din_train.config import Config, MetricsConfig, find_differences
from din_train.errors import ConfigError, RunError
from din_train.evaluation.bootstrap import compute_interval, resample_metrics
from din_train.evaluation.display import describe_probability_metrics, describe_unusual, format_metric
from din_train.evaluation.metrics import compute_auc, compute_gauc, compute_rela_impr
from din_train.evaluation.scores import ScoredRows, read_scores
from din_train.files import check_can_be_file, write_text
from din_train.run_directory import open_run_directory
from din_train.run_metrics import RunMetrics

# What must be equal for two numbers to be comparable, and what it is called.
_SAME = {
    "protocol": "protocol",
    "split": "split",
    "selected_on": "split that chose the epoch",
    "rows_sha256": "hash of the scored rows",
    "gauc_weighting": "weighting of GAUC",
    "gauc_group": "groups of GAUC",
    "weighted": "whether rows have weights",
    "metric_definition": "hash of the metrics' definitions",
}

MODEL_TITLES = {
    "din": "DIN",
    "base": "BaseModel",
    "lr": "LR",
    "wide_deep": "Wide&Deep",
    "pnn": "PNN",
    "deepfm": "DeepFM",
    "dien": "DIEN",
    "bst": "BST",
    "tin": "TIN",
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


def compare(
    run_dirs: Sequence[Path],
    *,
    as_json: bool,
    force: bool,
    report: Path | None = None,
    overrides: Sequence[str] = (),
) -> Comparison:
    """Show finished runs side by side on the test split; the first is the base of differences and RelaImpr.

    Args:
        report: also write the comparison to this file, as one page.
        overrides: see `open_run_directory`; they apply to every run.
    """
    if report is not None:
        check_can_be_file(report, "--report")
    runs = [open_run_directory(path, overrides, otherwise="name another run") for path in run_dirs]
    if len({run.path.resolve() for run, _ in runs}) < len(runs):
        raise ConfigError("compare: received a run twice; name different ones")
    opened = {str(run.path): (run, config) for run, config in runs}
    identities = {name: run.compute_identity() for name, (run, _) in opened.items()}
    metrics = {name: run.read_metrics() for name, (run, _) in opened.items()}
    config = next(iter(opened.values()))[1].metrics
    weighting = next(iter(metrics.values())).gauc_weighting
    if config.gauc_weighting != weighting:
        raise ConfigError(
            f"--set metrics.gauc_weighting={config.gauc_weighting}: the runs' GAUC is weighted by {weighting}, and "
            "compare reads it as it is; leave it out"
        )
    rows = {name: read_scores(run.scores_file("test")) for name, (run, _) in opened.items()}
    for name, (run, _) in opened.items():
        if run.compute_identity() != identities[name]:
            raise RunError(f"{name}: has changed while it was read; run the command again")
    comparison = compare_runs(metrics, rows, config, force=force)
    if as_json:
        run_records = [{**vars(run), "metrics": run.metrics.to_json()} for run in comparison.runs]
        terminal.show_json({**vars(comparison), "runs": run_records})
    else:
        _show_comparison(comparison)
    if report is not None:
        _write_page(report, comparison, {name: config for name, (_, config) in opened.items()})
    return comparison


def _write_page(path: Path, comparison: Comparison, configs: Mapping[str, Config]) -> None:
    from din_train.compare.comparison_page import build_comparison_page

    base, *others = configs
    differences = {name: find_differences(configs[base], configs[name]) for name in others}
    write_text(path, build_comparison_page(comparison, differences))
    terminal.say(f"report: {path}")


def _show_comparison(comparison: Comparison) -> None:
    """Show the runs in a table, their differences in sentences, and why their numbers may not compare."""
    terminal.show_table(build_comparison_table(comparison))
    for difference in comparison.differences:
        if difference.metric == "gauc":
            terminal.show_line(f"{difference.sentence}.")
    for line in describe_probabilities_of_runs(comparison.runs):
        terminal.show_line(line)
    for warning in comparison.warnings:
        terminal.say(f"warning: forced: {warning}")


def describe_probabilities_of_runs(runs: Sequence[ComparedRun]) -> list[str]:
    """Say of which runs logloss and calibration are of other probabilities than usual."""
    sentences = ((run.name, describe_probability_metrics(run.metrics)) for run in runs)
    return [f"{name}: {sentence}" for name, sentence in sentences if sentence]


def build_comparison_table(comparison: Comparison) -> Table:
    """One row per run; RelaImpr is that of GAUC over the first run's."""
    metrics = comparison.runs[0].metrics
    table = Table("run", "model", "AUC", "GAUC", "logloss", "RelaImpr")
    table.title = describe_unusual(metrics)
    for column in table.columns[2:]:
        column.justify = "right"
    for run in comparison.runs:
        numbers = map(format_metric, (run.metrics.auc, run.metrics.gauc, run.metrics.logloss))
        table.add_row(escape(run.name), run.metrics.model, *numbers, format_rela_impr(run.rela_impr))
    return table


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
        force: show numbers that do not compare as well, with a warning.

    Raises:
        ConfigError: if the runs were not scored on the same rows, by the same protocol and definitions.
        RunError: if scores are not those that the metrics were made from.
    """
    base_name, *others = metrics
    problems = {name: list(_find_mismatches(name, metrics[name], base_name, metrics[base_name])) for name in others}
    warnings = [problem for found in problems.values() for problem in found]
    if warnings and not force:
        raise ConfigError(
            [f"{each}; their numbers do not compare (--force shows them all the same)" for each in warnings]
        )
    for name, scored in rows.items():
        if compute_auc(scored.label, scored.logit, scored.weight) != metrics[name].auc:
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
    """The names of the models if all differ, else the names of the runs."""
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
    resampled, resampled_base = resample_metrics(
        theirs.user_id, theirs.label, [ours.logit, theirs.logit], config, weights=theirs.weight, groups=theirs.group
    )
    differences = []
    for metric in ("gauc", "auc"):
        values: NDArray[np.float64] = getattr(resampled, metric) - getattr(resampled_base, metric)
        interval = compute_interval(values, config.confidence)
        value = _compute_point(metric, ours, config) - _compute_point(metric, theirs, config)
        if interval is None or not np.isfinite(value):
            continue
        low, high = interval
        sentence = _describe_difference(titles[name], titles[base], metric.upper(), value, low, high, config.confidence)
        differences.append(Difference(metric, name, base, value, low, high, config.confidence, sentence))
    return differences


def _compute_point(metric: str, rows: ScoredRows, config: MetricsConfig) -> float:
    value = (
        compute_auc(rows.label, rows.logit, rows.weight)
        if metric == "auc"
        else compute_gauc(rows.groups, rows.label, rows.logit, config.gauc_weighting, rows.weight).value
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
