"""Tables as plots: a row a model, a mark a recipe with its standard deviation, and what is published."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from din_train.report.plots import COLORS, QUIET, clip_text, figure_style, new_figure
from din_train.reproduce.results import Line

RECIPE_COLORS = {"ours": COLORS[0], "paper": COLORS[2], "official": COLORS[3]}
RECIPE_NAMES = {"ours": "ours", "paper": "paper", "official": "official (epoch chosen on the test set)"}
_SPREAD = 0.18  # of a row, between recipes


def plot_models(title: str, lines: Sequence[Line], *, with_published: bool) -> Figure | None:
    """GAUC of one data set's lines, the first model at the top; None where nothing is measured.

    An error bar is a standard deviation of the seeds, each way.
    """
    if all(line.mean is None for line in lines):
        return None
    rows = {line.key: line.model for line in lines}
    places = {key: place for place, key in enumerate(rows)}
    with figure_style():
        figure, axes = new_figure(2.0 + 0.42 * len(rows), title=title)
        recipes = list(dict.fromkeys(line.recipe for line in lines))
        for number, recipe in enumerate(recipes):
            offset = _SPREAD * (number - (len(recipes) - 1) / 2)
            _plot_recipe(axes, recipe, [line for line in lines if line.recipe == recipe], places, offset)
        if with_published:
            _plot_published(axes, lines, places)
        axes.set_yticks(range(len(rows)), [clip_text(name, 28) for name in rows.values()])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("GAUC")
        axes.grid(visible=True, axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.08)
        figure.legend(loc="outside lower left", ncols=1, fontsize=9)
    return figure


def _plot_recipe(axes: Axes, recipe: str, lines: Sequence[Line], places: Mapping[str, int], offset: float) -> None:
    measured = [line for line in lines if line.mean is not None]
    if measured:
        axes.errorbar(
            [line.mean or 0.0 for line in measured],
            [places[line.key] + offset for line in measured],
            xerr=[line.sd or 0.0 for line in measured],
            fmt="o",
            color=RECIPE_COLORS[recipe],
            capsize=3,
            markersize=5,
            label=RECIPE_NAMES[recipe],
        )


def _plot_published(axes: Axes, lines: Sequence[Line], places: Mapping[str, int]) -> None:
    """Each value once, whatever recipes there are."""
    of_models = {line.key: line for line in lines}.values()
    kinds = (
        ("published", "D", [(line.published, places[line.key]) for line in of_models if not line.withdrawn]),
        ("published, withdrawn", "x", [(line.published, places[line.key]) for line in of_models if line.withdrawn]),
        ("corrected 2020", "s", [(line.corrected, places[line.key]) for line in of_models]),
        ("BARS (chosen on the test set)", "^", [(line.bars, places[line.key]) for line in of_models]),
    )
    for label, marker, points in kinds:
        known = [(value, place) for value, place in points if value is not None]
        if known:
            axes.plot(
                *zip(*known, strict=True),
                marker,
                markersize=6,
                linestyle="none",
                label=label,
                markerfacecolor="none",
                markeredgecolor=QUIET,
                markeredgewidth=1.5,
            )
