"""`din-train compare`: finished runs side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from din_train.config import Config, find_differences
from din_train.errors import ConfigError
from din_train.evaluation.compare import Comparison, compare_runs
from din_train.evaluation.scores import read_scores
from din_train.files import atomic_file, make_folder
from din_train.report import terminal
from din_train.run_directory import open_run_directory


def compare(run_dirs: Sequence[Path], *, as_json: bool, force: bool, report: Path | None = None) -> Comparison:
    """Finished runs side by side on the test split; the first is the base of differences and RelaImpr.

    Args:
        report: write the comparison there, as a page that needs nothing beside it.
    """
    if len(set(run_dirs)) < len(run_dirs):
        raise ConfigError("compare: received a run twice; name different ones")
    opened = {str(path): open_run_directory(path) for path in run_dirs}
    metrics = {name: run.read_metrics() for name, (run, _) in opened.items()}
    config = next(iter(opened.values()))[1].metrics
    rows = {name: read_scores(run.scores_file("test")) for name, (run, _) in opened.items()}
    comparison = compare_runs(metrics, rows, config, force=force)
    if as_json:
        print(orjson.dumps(asdict(comparison), option=orjson.OPT_INDENT_2).decode())
    else:
        terminal.show_comparison(comparison)
    if report is not None:
        _write_report(report, comparison, {name: config for name, (_, config) in opened.items()})
    return comparison


def _write_report(path: Path, comparison: Comparison, configs: Mapping[str, Config]) -> None:
    from din_train.report.comparison_page import build_comparison_page

    base, *others = configs
    differences = {name: find_differences(configs[base], configs[name]) for name in others}
    page = build_comparison_page(comparison, differences)
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    terminal.say(f"report: {path}")
