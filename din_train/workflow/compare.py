"""`din-train compare`: finished runs side by side."""

from collections.abc import Sequence
from pathlib import Path

from din_train.evaluation.compare import compare_metrics
from din_train.report import terminal
from din_train.run_directory import open_run_directory


def compare(run_dirs: Sequence[Path], *, as_json: bool) -> None:
    """Finished runs side by side; the first is the base of RelaImpr."""
    metrics = {str(path): open_run_directory(path)[0].read_metrics() for path in run_dirs}
    comparison = compare_metrics(metrics)
    if as_json:
        print(comparison.reset_index(names="run").to_json(orient="records", indent=2))
    else:
        terminal.show_table(terminal.build_comparison_table(comparison))
