"""The page of a comparison: runs side by side, their differences, and why numbers may not compare."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from din_train.compare.compare import (
    ComparedRun,
    Comparison,
    Difference,
    describe_probabilities_of_runs,
    format_rela_impr,
)
from din_train.evaluation import display
from din_train.evaluation.display import format_metric
from din_train.report.page import COLORS, QUIET, Picture, clip_text, figure_style, name_rows, new_figure, render_page
from din_train.report.run_plots import choose_metric, name_dimension

_SECTIONS = {
    "differences": "Differences",
    "runs": "Runs",
    "slices": "Slices",
    "configs": "What the configs differ by",
}
_MARKERS = "osD^vP"
_MOST_SLICES = 12  # of a dimension, in one figure

# Run name -> (key, value in the first run, value in this run) of each config key in which the two differ.
ConfigDifferences = Mapping[str, Sequence[tuple[str, str, str]]]


def build_comparison_page(comparison: Comparison, config_differences: ConfigDifferences) -> str:
    """The whole page, as one HTML file."""
    base = comparison.runs[0]
    return render_page(
        "comparison",
        title=f"{len(comparison.runs)} runs compared",
        sections=_SECTIONS,
        display=display,
        base=base,
        warnings=comparison.warnings,
        differences=comparison.differences,
        intervals_sentence=display.describe_intervals(base.metrics.intervals),
        rows_sentence=display.describe_rows(base.metrics),
        probability_sentences=describe_probabilities_of_runs(comparison.runs),
        selection=display.SELECTION[base.metrics.selected_on],
        difference_pictures=_draw_differences(comparison),
        run_titles=("run", "model", *display.TITLES.values(), "RelaImpr", "seed", "epoch"),
        run_rows=[_list_metrics(run) for run in comparison.runs],
        run_pictures=_draw_runs(comparison),
        slice_pictures=_draw_run_slices(comparison.runs),
        config_differences=config_differences,
    )


def _list_metrics(run: ComparedRun) -> list[str]:
    metrics = run.metrics
    numbers = [format_metric(getattr(metrics, key)) for key in display.TITLES]
    rela_impr = format_rela_impr(run.rela_impr)
    return [run.name, metrics.model, *numbers, rela_impr, str(metrics.seed), str(metrics.best_epoch)]


def _draw_differences(comparison: Comparison) -> list[Picture]:
    pictures = []
    for metric in dict.fromkeys(each.metric for each in comparison.differences):
        differences = [each for each in comparison.differences if each.metric == metric]
        pictures.append(
            Picture(
                f"differences-{metric}",
                plot_differences(metric, differences),
                f"From {comparison.runs[0].name}. Both runs are scored on the same resampled users, so what they have "
                "in common does not widen the interval.",
                "; ".join(each.sentence for each in differences),
            )
        )
    return pictures


def _draw_runs(comparison: Comparison) -> list[Picture]:
    pictures = []
    for metric in ("gauc", "auc"):
        figure = plot_runs(metric, comparison.runs)
        if figure is not None:
            values = [f"{each.name}: {format_metric(getattr(each.metrics, metric))}" for each in comparison.runs]
            caption = "Each run's own interval. Those of two runs may overlap and the difference still be clear."
            described = f"{metric.upper()} by run: {'; '.join(values)}"
            pictures.append(Picture(f"runs-{metric}", figure, caption, described))
    return pictures


def _draw_run_slices(runs: Sequence[ComparedRun]) -> list[Picture]:
    pictures = []
    for number, dimension in enumerate(runs[0].metrics.slices, 1):
        figure = plot_run_slices(dimension, runs)
        if figure is not None:
            by = f"By {name_dimension(dimension)}"
            values = "; ".join(f"{run.name}: {_list_gauc(_find_slices(run, dimension))}" for run in runs)
            pictures.append(Picture(f"slices-{number}", figure, f"{by}, one mark per run.", f"{by}. {values}"))
    return pictures


def _find_slices(run: ComparedRun, dimension: str) -> Sequence[Mapping[str, Any]]:
    """A run of another config may have other dimensions."""
    return run.metrics.slices.get(dimension, ())


def _list_gauc(slices: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{each['name']} {format_metric(each['gauc'])}" for each in slices)


def plot_differences(metric: str, differences: Sequence[Difference]) -> Figure:
    """Each run's difference from the first, with its interval; right of the line it is better."""
    with figure_style():
        figure, axes = new_figure(
            1.1 + 0.42 * len(differences), title=f"{metric.upper()}, difference from the first run"
        )
        for place, each in enumerate(differences):
            _plot_value(axes, place, each.value, (each.low, each.high), COLORS[0], "+.4f")
        axes.axvline(0, color=QUIET, linewidth=0.8)
        _finish_values(axes, [clip_text(each.run) for each in differences])
    return figure


def plot_runs(metric: str, runs: Sequence[ComparedRun]) -> Figure | None:
    """A metric of each run, with its own interval; None if it is undefined for all."""
    if all(getattr(each.metrics, metric) is None for each in runs):
        return None
    with figure_style():
        figure, axes = new_figure(1.1 + 0.42 * len(runs), title=metric.upper())
        for place, each in enumerate(runs):
            bounds = (each.metrics.intervals or {}).get(metric)
            _plot_value(axes, place, getattr(each.metrics, metric), bounds, COLORS[2], ".4f")
        _finish_values(axes, [clip_text(each.name) for each in runs])
    return figure


def plot_run_slices(dimension: str, runs: Sequence[ComparedRun]) -> Figure | None:
    """GAUC (or AUC) of each slice, one mark per run; of many slices those with the most rows."""
    first = _find_slices(runs[0], dimension)
    metric = choose_metric(first)
    if metric is None:
        return None
    largest = sorted(first, key=lambda each: -each["num_samples"])[:_MOST_SLICES]
    names = [each["name"] for each in first if each in largest]
    with figure_style():
        figure, axes = new_figure(
            1.3 + 0.4 * len(names) + 0.2 * len(runs), title=f"{metric.upper()} by {name_dimension(dimension)}"
        )
        for number, run in enumerate(runs):
            values = {each["name"]: each[metric] for each in _find_slices(run, dimension)}
            points = [(values[name], place) for place, name in enumerate(names) if values.get(name) is not None]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    _MARKERS[number % len(_MARKERS)],
                    color=COLORS[number % len(COLORS)],
                    label=clip_text(run.name, 36),
                )
        rows = {each["name"]: each["num_samples"] for each in first}
        name_rows(axes, [f"{clip_text(name, 16)}\n{rows[name]:,} rows" for name in names])
        axes.grid(visible=True)
        figure.legend(loc="outside lower left")
    return figure


def _plot_value(
    axes: Axes, place: int, value: float | None, bounds: Sequence[float] | None, color: str, form: str
) -> None:
    if bounds is not None:
        axes.plot(bounds, [place, place], color=color, linewidth=2.5, solid_capstyle="round")
    if value is not None:
        axes.plot(value, place, "o", color=color)
        axes.annotate(
            format(value, form), (value, place), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9
        )


def _finish_values(axes: Axes, names: Sequence[str]) -> None:
    name_rows(axes, names)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.08)
