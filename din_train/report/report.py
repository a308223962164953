"""`din-train report`: `report.html` and the plots, from a run's files alone.

The page has the run's numbers and what they mean, its figures, and how it was made.
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.figure import Figure

from din_train import terminal
from din_train.config import Config, dump_config
from din_train.config.model import WEIGHING
from din_train.dataset.manifest import Manifest, read_any_manifest
from din_train.earlier_run import read_training_fingerprint
from din_train.errors import DamagedError, DataError, RunError
from din_train.evaluation import display
from din_train.evaluation.display import format_metric, show_metrics
from din_train.evaluation.scores import ScoredRows, read_scores
from din_train.files import hold
from din_train.report import run_plots
from din_train.report.attention import Example, build_attention_picture, read_examples
from din_train.report.page import Picture, render_page, write_figures
from din_train.report.run_plots import choose_metric, name_dimension
from din_train.run_directory import RunDirectory, open_run_directory
from din_train.run_metrics import RunMetrics
from din_train.scoring import find_prepared

T = TypeVar("T")

_SECTIONS = {
    "numbers": "Numbers",
    "learning": "Learning curves",
    "slices": "Slices",
    "scores": "Scores",
    "attention": "Attention",
    "data": "Prepared data",
    "environment": "Environment",
    "again": "To train it again",
    "config": "Config",
}
_COUNTS = {
    "num_samples": "rows",
    "num_positives": "targets",
    "gauc_users": "users in GAUC",
    "gauc_users_skipped": "users left out",
}


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
        if read_training_fingerprint(run) != metrics.data_fingerprint:
            raise RunError("This run scored another data set than it was trained on, as a day of a backtest") from None
        prepared = config.data.prepared
        what = "no longer the data set that this run was trained on"
        if read_any_manifest(prepared) is None:
            what = "the prepared data set is no longer there"
        raise RunError(f"{prepared}: {what}") from None


def _read_attention(run: RunDirectory, metrics: RunMetrics) -> list[Example]:
    if metrics.model not in WEIGHING and not run.attention_file.exists():
        raise RunError(f"Model {metrics.model} has no activation weights")
    return read_examples(run.attention_file)


def _relate_to_working_folder(path: Path) -> Path:
    """The path as seen from the working directory if it is inside it; a link such as `runs/latest` is followed."""
    whole = path.resolve()
    here = Path.cwd().resolve()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole


@dataclass(frozen=True)
class RunReport:
    """What a report is made of. The part of a missing or damaged file is None, and `lacking` says why.

    history: one record per epoch, as in history.jsonl. config: as YAML.
    rows: of the test split. manifest: of the prepared data. environment: as in environment.json.
    attention: as in attention.json.
    again: the command that trains the same.
    lacking: part (`history`, `scores`, `data`, `environment`, `attention`) -> a sentence.
    """

    name: str
    metrics: RunMetrics
    history: Sequence[Mapping[str, Any]]
    config: str
    again: str
    rows: ScoredRows | None = None
    manifest: Manifest | None = None
    environment: Mapping[str, Any] | None = None
    attention: Sequence[Example] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunPictures:
    """A run's figures by the section they stand in."""

    learning: tuple[Picture, ...]
    slices: tuple[Picture, ...]
    scores: tuple[Picture, ...]
    attention: tuple[Picture, ...]

    @property
    def figures(self) -> dict[str, Figure]:
        """All of them by name."""
        pictures = (*self.learning, *self.slices, *self.scores, *self.attention)
        return {each.name: each.figure for each in pictures}


def build_run_pictures(report: RunReport) -> RunPictures:
    """Draw all figures for which the run has the files."""
    return RunPictures(
        learning=_draw_learning(report),
        slices=_draw_slices(report.metrics.slices),
        scores=_draw_scores(report),
        attention=tuple(
            build_attention_picture(f"attention-{number}", example)
            for number, example in enumerate(report.attention, 1)
        ),
    )


def build_run_page(report: RunReport, pictures: RunPictures) -> str:
    """The page, as one HTML file."""
    metrics = report.metrics
    environment = report.environment
    return render_page(
        "run",
        title=f"{report.name}: {metrics.model}",
        sections=_SECTIONS,
        display=display,
        metrics=metrics,
        intervals=metrics.intervals or {},
        intervals_sentence=display.describe_intervals(metrics.intervals),
        rows_sentence=display.describe_rows(metrics),
        selection_sentence=display.describe_selection(metrics),
        training_sentence=display.describe_training(metrics),
        learning=pictures.learning,
        learning_sentence=report.lacking.get("history", "history.jsonl has no epoch, so there is no curve."),
        epochs=_tabulate_epochs(report.history),
        slice_pictures=pictures.slices,
        slice_sentences=list(_explain_slices(metrics)),
        slices=[
            _tabulate_slices(dimension, parts, display.name_groups(metrics))
            for dimension, parts in metrics.slices.items()
            if parts
        ],
        score_pictures=pictures.scores,
        score_sentences=list(_explain_scores(report)),
        attention=pictures.attention,
        attention_sentence=None if pictures.attention else report.lacking.get("attention"),
        data=None if report.manifest is None else describe_data(report.manifest),
        data_sentence=report.lacking.get("data"),
        environment=environment and [(title, environment[key]) for key, title in display.ENVIRONMENT.items()],
        environment_sentence=report.lacking.get("environment"),
        command=environment and environment["command"],
        again=report.again,
        config=report.config,
    )


def _draw_learning(report: RunReport) -> tuple[Picture, ...]:
    history = report.history
    if not history:
        return ()
    selection = [each for each in history if "phase" not in each]
    curves = (
        (
            "loss",
            run_plots.plot_loss(history),
            "Mean training loss of each epoch, without regularisation; with other shares of negatives the two curves "
            "are not on one scale.",
            "Loss by epoch",
        ),
        (
            "watched",
            run_plots.plot_watched(selection, report.metrics.best_epoch),
            "On the split that was scored after every epoch.",
            "AUC and GAUC of the watched split by epoch",
        ),
        ("learning-rate", run_plots.plot_learning_rate(history), "At each epoch's end.", "Learning rate by epoch"),
    )
    return tuple(Picture(name, figure, *texts) for name, figure, *texts in curves if figure is not None)


def _draw_slices(slices: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Picture, ...]:
    pictures = []
    for number, (dimension, parts) in enumerate(slices.items(), 1):
        figure = run_plots.plot_slices(dimension, parts)
        is_plain = re.fullmatch("[a-z][a-z0-9_]*", dimension)  # else it could not be a file name
        if figure is not None:
            metric = (choose_metric(parts) or "").upper()
            values = "; ".join(f"{each['name']}: {format_metric(each[metric.lower()])}" for each in parts)
            pictures.append(
                Picture(
                    f"slices-{dimension.replace('_', '-') if is_plain else number}",
                    figure,
                    f"{metric} of the rows of each slice by {name_dimension(dimension)}, from chance (0.5), with the "
                    "number of rows; few rows give a loose figure.",
                    f"{metric} by {name_dimension(dimension)}: {values}",
                )
            )
    return tuple(pictures)


def _draw_scores(report: RunReport) -> tuple[Picture, ...]:
    rows = report.rows
    if rows is None:
        return ()
    auc, ece, pcoc = (format_metric(getattr(report.metrics, key)) for key in ("auc", "ece", "pcoc"))
    plots = (
        (
            "reliability",
            run_plots.plot_reliability(rows),
            f"Bins of equally many rows; on the diagonal predictions are right (ECE {ece}, PCOC {pcoc}). Below it, how "
            "often each probability is predicted.",
            f"Reliability diagram: ECE {ece}, PCOC {pcoc}",
        ),
        (
            "score-histograms",
            run_plots.plot_scores(rows),
            "The further apart the two, the better targets are told from negatives.",
            "Histograms of the predicted probability of targets and of negatives",
        ),
        ("roc", run_plots.plot_roc(rows), f"The area under the curve is the AUC, {auc}.", f"ROC curve: AUC {auc}"),
        (
            "history-length",
            run_plots.plot_history_lengths(rows),
            "Behaviours that the model sees before each row of the scored split.",
            "Histogram of the history length",
        ),
    )
    return tuple(Picture(name, figure, *texts) for name, figure, *texts in plots if figure is not None)


def _explain_slices(metrics: RunMetrics) -> list[str]:
    undefined = [name_dimension(key) for key, parts in metrics.slices.items() if choose_metric(parts) is None]
    return [f"By {name} neither GAUC nor AUC is defined: no slice has both classes." for name in undefined]


def _explain_scores(report: RunReport) -> list[str]:
    if report.rows is None:
        return [report.lacking["scores"]]
    return [] if report.metrics.auc is not None else ["The rows have one class only, so there is no ROC curve."]


def _tabulate_slices(dimension: str, slices: Sequence[Mapping[str, Any]], groups: str) -> dict[str, Any]:
    """Titles and rows of the slices of one dimension. Args: groups: what GAUC is over, such as users."""
    name = dimension.replace("_", " ")
    counts = [title.replace("users", groups) for title in _COUNTS.values()]
    rows = [
        (
            each["name"],
            *(f"{each[key]:,}" for key in _COUNTS),
            *(format_metric(each[key]) for key in display.TITLES),
        )
        for each in slices
    ]
    return {"dimension": name, "titles": (name, *counts, *display.TITLES.values()), "rows": rows}


def _tabulate_epochs(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Titles and rows of the recorded epochs."""
    watched = sorted({key for each in history for key in each if key.endswith(("_auc", "_gauc", "_logloss"))})
    keys = ["loss", *watched, "learning_rate", "seconds"]

    def show(value: float | None) -> str:
        return "" if value is None else f"{value:.6g}"

    names = [f"{each['epoch']}{' (refit)' if each.get('phase') == 'refit' else ''}" for each in history]
    rows = [(name, *(show(each.get(key)) for key in keys)) for name, each in zip(names, history, strict=True)]
    return {"titles": ["epoch", *(key.replace("_", " ") for key in keys)], "rows": rows}


def describe_data(manifest: Manifest) -> list[tuple[str, list[tuple[str, str]]]]:
    """Caption and rows of each table: what became of every line, what was dropped, what the data set holds."""
    tables = []
    for log in manifest.read:
        rows = [("lines", log.lines), ("kept", log.kept)]
        for title, counted in (("rejected", log.rejected), ("left out", log.skipped), ("noted", log.notes)):
            rows += [(f"{title}: {reason}", count) for reason, count in counted.items()]
        tables.append((f"Read from {log.name}", rows))
    dropped = [(name.replace("_", " "), count) for name, count in manifest.dropped.items()]
    counts = [(name.replace("_", " "), count) for name, count in manifest.counts.items()]
    samples = [(f"rows: {name}", count) for name, count in manifest.samples.items()]
    lengths = [(f"history length, {name}", value) for name, value in manifest.history_length.items()]
    tables += [("Dropped after reading", dropped), ("What there is", [*counts, *samples, *lengths])]
    return [(caption, [(name, f"{value:,}") for name, value in rows]) for caption, rows in tables if rows]
