"""The pictures: a table as a plot (a row for each model, a mark for each recipe), and the attention of Figure 5."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from din_train.errors import RunError
from din_train.report.attention import Example, build_attention_picture, read_examples
from din_train.report.page import COLORS, QUIET, Picture, clip_text, figure_style, new_figure
from din_train.reproduce.paper_suites import load_suite
from din_train.reproduce.paper_tables import TableLine
from din_train.sweep import Cell
from din_train.terminal import say

_RECIPES = {
    "ours": (COLORS[0], "ours"),
    "ours-strong": (COLORS[1], "ours, with the strong preset"),
    "paper": (COLORS[2], "paper"),
    "official": (COLORS[3], "official (epoch chosen on the test set)"),
}
_SPREAD = 0.18  # of a row, between recipes
_ERROR_BARS = "an error bar is one standard deviation of the seeds each way, and there is none for one seed"


def draw_pictures(
    data: str, cells: Sequence[Cell], table_3: Sequence[TableLine], table_4: Sequence[TableLine]
) -> dict[str, Picture]:
    """Name -> picture, for all that a data set has."""
    pictures = {}
    for name, lines, what, shown in (
        ("table3", table_3, "Table 3", "GAUC by model"),
        ("table4", table_4, "Regularisation", "GAUC of BaseModel by regularisation"),
    ):
        own = [line for line in lines if line.data == data]
        figure = plot_models(f"{what}: {data}", own, with_published=name == "table3")
        if figure is not None:
            values = "; ".join(f"{line.model}, {line.recipe}: {line.mean:.4f}" for line in own if line.mean is not None)
            pictures[name] = Picture(
                f"{name}-{data}", figure, f"{shown}; {_ERROR_BARS}.", f"{what} on {data}: {values}"
            )
    for number, example in enumerate(_read_attention(data, cells), 1):
        pictures[f"figure5-{number}"] = build_attention_picture(f"figure5-{data}-{number}", example)
    return pictures


def _read_attention(data: str, cells: Sequence[Cell]) -> list[Example]:
    """The examples of the cell of suite figure5; none if it has not finished."""
    suite = load_suite("figure5")
    places = {(data, recipe, row.key) for recipe in suite.recipes for row in suite.rows}
    for cell in cells:
        if cell.place in places and cell.seed == 1 and cell.is_measured and cell.run.attention_file.exists():
            try:
                return read_examples(cell.run.attention_file)
            except RunError as error:
                say(str(error))
    return []


def plot_models(title: str, lines: Sequence[TableLine], *, with_published: bool) -> Figure | None:
    """GAUC of one data set's lines, the first model at the top; None if nothing is measured.

    An error bar is one standard deviation of the seeds, each way.
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


def _plot_recipe(axes: Axes, recipe: str, lines: Sequence[TableLine], places: Mapping[str, int], offset: float) -> None:
    measured = [line for line in lines if line.mean is not None]
    color, label = _RECIPES[recipe]
    if measured:
        axes.errorbar(
            [line.mean or 0.0 for line in measured],
            [places[line.key] + offset for line in measured],
            xerr=[line.sd or 0.0 for line in measured],
            fmt="o",
            color=color,
            capsize=3,
            markersize=5,
            label=label,
        )


def _plot_published(axes: Axes, lines: Sequence[TableLine], places: Mapping[str, int]) -> None:
    """Each value once, whatever recipes there are."""
    published = [(line.published, places[line.key]) for line in {line.key: line for line in lines}.values()]
    for label, marker, points in (
        ("published", "D", [(each.paper, place) for each, place in published if not each.withdrawn]),
        ("published, withdrawn", "x", [(each.paper, place) for each, place in published if each.withdrawn]),
        ("corrected 2020", "s", [(each.corrected, place) for each, place in published]),
        ("BARS (chosen on the test set)", "^", [(each.bars, place) for each, place in published]),
    ):
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
