"""`din-train report`: `report.html` and the plots, from a run's files alone."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from din_train.config import Config, dump_config
from din_train.errors import RunError
from din_train.report import terminal
from din_train.run_directory import RunDirectory, open_run_directory
from din_train.samples.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")


def report(run_dir: Path) -> Path:
    """Write a finished run's page and plots again, and show its numbers; TensorFlow is not needed.

    Raises:
        ConfigError: if there is no run. RunError: if it has not finished.
    """
    run, config = open_run_directory(run_dir)
    metrics = run.read_metrics()
    write_report(run, config, metrics)
    terminal.show_metrics(metrics)
    terminal.say(f"report: {run.report_file} (plots: {run.plots})")
    return run.report_file


def write_report(run: RunDirectory, config: Config, metrics: Mapping[str, Any]) -> None:
    """`report.html` and `plots/` of a run, in place of what there is.

    A file that is missing or damaged leaves out its part of the page, and the page says so.
    """
    from din_train.evaluation.scores import read_scores
    from din_train.report.plots import write_figures
    from din_train.report.run_page import RunReport, build_run_page, build_run_pictures

    lacking: dict[str, str] = {}

    def find(part: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except RunError as error:
            lacking[part] = f"{error}."
            return None

    path = _shorten(run.path)
    page = RunReport(
        name=run.path.resolve().name,
        metrics=metrics,
        history=run.read_history(),
        config=dump_config(config),
        again=shlex.join(["din-train", "fit", "--config", str(path / "config.yaml"), "--run-dir", f"{path}-again"]),
        rows=find("scores", lambda: read_scores(run.scores_file("test"))),
        manifest=find("data", lambda: _read_data(config, metrics)),
        environment=find("environment", run.read_environment),
        attention=find("attention", lambda: _draw_attention(run, metrics)) or {},
        lacking=lacking,
    )
    pictures = build_run_pictures(page)
    run.write_report(build_run_page(page, pictures))
    write_figures(run.plots, pictures.figures)


def _read_data(config: Config, metrics: Mapping[str, Any]) -> Manifest:
    manifest = read_manifest(config.data.prepared)
    if manifest is None:
        raise RunError(f"{config.data.prepared}: the prepared data set is no longer there")
    if manifest["fingerprint"] != metrics["data_fingerprint"]:
        raise RunError(f"{config.data.prepared}: no longer the data set that this run was trained on")
    return manifest


def _draw_attention(run: RunDirectory, metrics: Mapping[str, Any]) -> "dict[str, Figure]":
    from din_train.evaluation.examples import read_examples
    from din_train.report.attention import draw_attention

    if metrics["model"] != "din" and not run.attention_file.exists():
        raise RunError(f"Model {metrics['model']} has no activation weights")
    try:
        return {str(each["user"]): draw_attention(each) for each in read_examples(run.attention_file)}
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.attention_file}: damaged ({type(error).__name__}: {error})") from None


def _shorten(path: Path) -> Path:
    """From the working directory, where it lies in it; a link such as `runs/latest` is followed."""
    whole = path.resolve()
    here = Path.cwd().resolve()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole
