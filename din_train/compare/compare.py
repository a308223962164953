"""`din-train compare`: finished runs side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from din_train import terminal
from din_train.compare.comparison import Comparison, compare_runs, format_rela_impr
from din_train.config import Config, find_differences
from din_train.errors import ConfigError, RunError
from din_train.evaluation.metric_tables import format_metric
from din_train.evaluation.scores import read_scores
from din_train.files import atomic_file, check_can_be_file, make_folder
from din_train.run_directory import open_run_directory


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
        report: write the comparison there, as a page that needs nothing beside it.
        overrides: see `open_run_directory`; they apply to every run.
    """
    if report is not None:
        check_can_be_file(report, "--report")
    runs = [open_run_directory(path, overrides) for path in run_dirs]
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
        of_runs = [{**vars(run), "metrics": run.metrics.to_json()} for run in comparison.runs]
        terminal.show_json({**asdict(comparison), "runs": of_runs})
    else:
        _show_comparison(comparison)
    if report is not None:
        _write_page(report, comparison, {name: config for name, (_, config) in opened.items()})
    return comparison


def _write_page(path: Path, comparison: Comparison, configs: Mapping[str, Config]) -> None:
    from din_train.compare.comparison_page import build_comparison_page

    base, *others = configs
    differences = {name: find_differences(configs[base], configs[name]) for name in others}
    page = build_comparison_page(comparison, differences)
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    terminal.say(f"report: {path}")


def _show_comparison(comparison: Comparison) -> None:
    """Show the runs in a table, their differences in sentences, and why their numbers may not compare."""
    terminal.show_table(build_comparison_table(comparison))
    for difference in comparison.differences:
        if difference.metric == "gauc":
            terminal.show_line(f"{difference.sentence}.")
    for warning in comparison.warnings:
        terminal.say(f"warning: forced: {warning}")


def build_comparison_table(comparison: Comparison) -> Table:
    """One row per run; RelaImpr is that of GAUC over the first run's."""
    weighting = comparison.runs[0].metrics.gauc_weighting
    table = Table("run", "model", "AUC", "GAUC", "logloss", "RelaImpr")
    if weighting != "impressions":
        table.title = f"GAUC weighted by {weighting}"
    for column in table.columns[2:]:
        column.justify = "right"
    for run in comparison.runs:
        numbers = map(format_metric, (run.metrics.auc, run.metrics.gauc, run.metrics.logloss))
        table.add_row(escape(run.name), run.metrics.model, *numbers, format_rela_impr(run.rela_impr))
    return table
