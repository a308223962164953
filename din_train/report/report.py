"""`din-train report`: `report.html` and the plots, from a run's files alone."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from din_train import terminal
from din_train.config import Config, dump_config
from din_train.dataset.manifest import Manifest, read_any_manifest
from din_train.errors import DamagedError, DataError, RunError
from din_train.evaluation.metric_tables import show_metrics
from din_train.files import hold
from din_train.run_directory import RunDirectory, open_run_directory
from din_train.run_metrics import RunMetrics
from din_train.scoring import find_prepared

if TYPE_CHECKING:
    from din_train.report.attention import Example

T = TypeVar("T")


def report(run_dir: Path, overrides: Sequence[str] = ()) -> Path:
    """Write a finished run's page and plots again, and show its numbers; TensorFlow is not needed.

    Args:
        overrides: see `open_run_directory`.

    Raises:
        ConfigError: if there is no run, or another process has it. RunError: if it has not finished.
        DamagedError: if a file is not as it was written; the page leaves out its part, and says so.
    """
    run, _ = open_run_directory(run_dir, overrides)
    show_metrics(run.read_metrics())
    with hold(run.path):
        _, config = open_run_directory(run.path)
        damaged = write_report(run, config, run.read_metrics(), overrides)
    terminal.say(f"report: {run.report_file} (plots: {run.plots})")
    if damaged:
        raise DamagedError(damaged)
    return run.report_file


def write_report(run: RunDirectory, config: Config, metrics: RunMetrics, overrides: Sequence[str] = ()) -> list[str]:
    """Write `report.html` and `plots/` of a run, in place of those before.

    A file that is missing or damaged leaves out its part of the page, and the page says so. The overrides say where the
    prepared data set is (see `find_prepared`), and change nothing that is shown.

    Returns:
        One line for each damaged file.
    """
    from din_train.evaluation.scores import read_scores
    from din_train.report.plots import write_figures
    from din_train.report.run_page import RunReport, build_run_page, build_run_pictures

    lacking: dict[str, str] = {}
    damaged: list[str] = []

    def find(part: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except RunError as error:
            lacking[part] = f"{error}."
            damaged.extend(error.problems if isinstance(error, DamagedError) else ())
            return None

    path = _relate_to_working_folder(run.path)
    page = RunReport(
        name=run.path.resolve().name,
        metrics=metrics,
        history=find("history", run.read_history) or (),
        config=dump_config(config),
        again=shlex.join(["din-train", "fit", "--config", str(path / "config.yaml"), "--run-dir", f"{path}-again"]),
        rows=find("scores", lambda: read_scores(run.scores_file("test"))),
        manifest=find("data", lambda: _read_data(run, config, metrics, overrides)),
        environment=find("environment", run.read_environment),
        attention=find("attention", lambda: _read_attention(run, metrics)) or (),
        lacking=lacking,
    )
    pictures = build_run_pictures(page)
    run.write_report(build_run_page(page, pictures))
    write_figures(run.plots, pictures.figures)
    return damaged


def _read_data(run: RunDirectory, config: Config, metrics: RunMetrics, overrides: Sequence[str]) -> Manifest:
    if overrides:
        _, config = open_run_directory(run.path, overrides)
    try:
        return find_prepared(run, config, metrics.data_fingerprint, overrides)[1]
    except DataError:
        prepared = config.data.prepared
        what = "no longer the data set that this run was trained on"
        if read_any_manifest(prepared) is None:
            what = "the prepared data set is no longer there"
        raise RunError(f"{prepared}: {what}") from None


def _read_attention(run: RunDirectory, metrics: RunMetrics) -> "list[Example]":
    from din_train.report.attention import read_examples

    if metrics.model != "din" and not run.attention_file.exists():
        raise RunError(f"Model {metrics.model} has no activation weights")
    return read_examples(run.attention_file)


def _relate_to_working_folder(path: Path) -> Path:
    """The path as seen from the working directory if it is inside it; a link such as `runs/latest` is followed."""
    whole = path.resolve()
    here = Path.cwd().resolve()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole
