"""The figures of a comparison: differences with their intervals, metrics by run, slices side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from din_train.compare.comparison import ComparedRun, Difference
from din_train.report.plots import COLORS, QUIET, clip_text, figure_style, new_figure
from din_train.report.run_plots import choose_metric, name_dimension

_MARKERS = "osD^vP"
_MOST_SLICES = 12  # of a dimension, in one figure


def plot_differences(metric: str, differences: Sequence[Difference]) -> Figure:
    """Each run's difference from the first, with its interval; right of the line it is better."""
    with figure_style():
        figure, axes = new_figure(
            1.1 + 0.42 * len(differences), title=f"{metric.upper()}, difference from the first run"
        )
        for place, each in enumerate(differences):
            axes.plot([each.low, each.high], [place, place], color=COLORS[0], linewidth=2.5, solid_capstyle="round")
            axes.plot(each.value, place, "o", color=COLORS[0])
            axes.annotate(
                f"{each.value:+.4f}", (each.value, place), xytext=(0, 6), textcoords="offset points", ha="center",
                fontsize=9,
            )  # fmt: skip
        axes.axvline(0, color=QUIET, linewidth=0.8)
        _name_rows(axes, [clip_text(each.run) for each in differences])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.08)
    return figure


def plot_runs(metric: str, runs: Sequence[ComparedRun]) -> Figure | None:
    """A metric of each run, with its own interval; None where it is undefined for all."""
    if all(each.metrics[metric] is None for each in runs):
        return None
    with figure_style():
        figure, axes = new_figure(1.1 + 0.42 * len(runs), title=metric.upper())
        for place, each in enumerate(runs):
            value = each.metrics[metric]
            bounds = (each.metrics.get("intervals") or {}).get(metric)
            if bounds is not None:
                axes.plot(bounds, [place, place], color=COLORS[2], linewidth=2.5, solid_capstyle="round")
            if value is not None:
                axes.plot(value, place, "o", color=COLORS[2])
                axes.annotate(
                    f"{value:.4f}", (value, place), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9
                )
        _name_rows(axes, [clip_text(each.name) for each in runs])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.08)
    return figure


def plot_slices_of_runs(dimension: str, runs: Sequence[ComparedRun]) -> Figure | None:
    """GAUC (or AUC) of each slice, a mark a run; the slices with the most rows where there are many."""
    first: Sequence[Mapping[str, Any]] = runs[0].metrics["slices"][dimension]
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
            of_run = {each["name"]: each[metric] for each in run.metrics.get("slices", {}).get(dimension, ())}
            points = [(of_run[name], place) for place, name in enumerate(names) if of_run.get(name) is not None]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    _MARKERS[number % len(_MARKERS)],
                    color=COLORS[number % len(COLORS)],
                    label=clip_text(run.name, 36),
                )
        rows = {each["name"]: each["num_samples"] for each in first}
        _name_rows(axes, [f"{clip_text(name, 16)}\n{rows[name]:,} rows" for name in names])
        axes.grid(visible=True)
        figure.legend(loc="outside lower left")
    return figure


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """A row a name, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
