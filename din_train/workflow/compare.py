"""`din-train compare`: finished runs side by side."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from din_train.config import MetricsConfig
from din_train.errors import ConfigError
from din_train.evaluation.compare import Comparison, compare_runs
from din_train.evaluation.scores import read_scores
from din_train.report import terminal
from din_train.run_directory import open_run_directory


def compare(run_dirs: Sequence[Path], *, as_json: bool, force: bool) -> Comparison:
    """Finished runs side by side on the test split; the first is the base of differences and RelaImpr."""
    if len(set(run_dirs)) < len(run_dirs):
        raise ConfigError("compare: received a run twice; name different ones")
    opened = {str(path): open_run_directory(path) for path in run_dirs}
    metrics = {name: run.read_metrics() for name, (run, _) in opened.items()}
    config = next(iter(opened.values()))[1].metrics if opened else MetricsConfig()
    rows = {name: read_scores(run.scores_file("test")) for name, (run, _) in opened.items()}
    comparison = compare_runs(metrics, rows, config, force=force)
    if as_json:
        print(orjson.dumps(asdict(comparison), option=orjson.OPT_INDENT_2).decode())
    else:
        terminal.show_comparison(comparison)
    return comparison
