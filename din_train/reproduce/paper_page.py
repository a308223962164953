"""Every file that a reproduction makes, from the run directories as they are; written anew after each cell.

index.html             the page
table3.md, table3.csv  all data sets; table4.* and leaderboard.* likewise
<data>.md, <data>/     a data set's tables and figures by themselves, to be kept with a project's results
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from din_train.errors import RunError
from din_train.evaluation import display
from din_train.files import write_text
from din_train.printable import escape_markdown, make_printable
from din_train.report.page import Picture, render_page, write_figures
from din_train.reproduce import RECIPES
from din_train.reproduce.paper_plots import draw_pictures
from din_train.reproduce.paper_suites import TITLES, ReproduceOptions, find_paper_cells, load_recipes, load_suite
from din_train.reproduce.paper_tables import (
    TABLE_3_COLUMNS,
    TABLE_4_COLUMNS,
    WITHDRAWN_REASON,
    TableColumn,
    TableLine,
    build_csv,
    choose_shown,
    collect_leaderboard,
    collect_tables,
    describe_order,
    group_lines,
    show_line_values,
)
from din_train.sweep import Cell
from din_train.terminal import format_seconds

GAUC_IS = (
    "GAUC is the mean over users, weighted by their rows, of the chance that a clicked item outranks one that was not; "
    "a tie counts one half, and users with one class only are left out. sd is the standard deviation over seeds."
)
RELA_IMPR_IS = "RelaImpr is (GAUC - 0.5) / (BaseModel's GAUC - 0.5) - 1."
TABLE_4_IS = (
    "RelaImpr is over the row without regularisation. The paper's values are of its Table 4, on Alibaba's data, which "
    "are not public; there RelaImpr is over a model without goods ids, here it is computed anew from the printed GAUC. "
    "Nothing is compared with them. The paper has no L2 on every row."
)
_SECTIONS = {
    "table3": "Table 3",
    "table4": "Regularisation",
    "figure5": "Figure 5",
    "cells": "Cells",
    "again": "To do it again",
}
_CELL_TITLES = ("Cell", "State", "GAUC", "AUC", "Epoch", "Time", "Peak memory")
_RECIPE_TITLES = {
    "ours": "ours",
    "ours-strong": "ours, with the strong preset",
    "paper": "paper",
    "official": "official: epoch chosen on the test set",
}
_IN_DOCUMENT = ("table3", "table4", "figure5-4")  # of six examples, from the least likely click to the likeliest
_RELATIVES = ("base-dice", "dien", "bst", "tin")  # rows of the leaderboard alone
_NOT_OF_A_MACHINE = {"started", "seconds"}  # keys of environment.json that differ from cell to cell


def write_paper(out: Path, planned: Sequence[Cell]) -> None:
    """Tables, documents, figures and the page, of the planned cells and all that the folder has beside them."""
    cells = find_paper_cells(out, planned)
    table_3, table_4 = collect_tables(cells)
    pictures: dict[str, dict[str, Picture]] = {}
    for data in dict.fromkeys(cell.place[0] for cell in cells):
        pictures[data] = draw_pictures(data, cells, table_3, table_4)
        write_figures(out / data, {name: picture.figure for name, picture in pictures[data].items()})
        own = [cell for cell in cells if cell.place[0] == data]
        own_3, own_4 = ([line for line in table if line.data == data] for table in (table_3, table_4))
        paths = _list_picture_paths({data: pictures[data]}, *_IN_DOCUMENT)
        write_text(out / f"{data}.md", build_document(TITLES[data], own, own_3, own_4, paths))
    leaderboard = collect_leaderboard(cells)
    if leaderboard:
        write_text(out / "leaderboard.csv", build_csv(TABLE_3_COLUMNS, leaderboard))
        keys = {(line.data, line.key) for line in leaderboard}
        own = [cell for cell in cells if (cell.place[0], cell.place[-1]) in keys]
        write_text(out / "leaderboard.md", build_document(load_suite("leaderboard").title, own, leaderboard, [], []))
    for name, columns, lines in (("table3", TABLE_3_COLUMNS, table_3), ("table4", TABLE_4_COLUMNS, table_4)):
        if lines:
            write_text(out / f"{name}.csv", build_csv(columns, lines))
            shown = (lines if name == "table3" else [], lines if name == "table4" else [])
            paths = _list_picture_paths(pictures, name)
            write_text(out / f"{name}.md", build_document(load_suite(name).title, cells, *shown, paths))
    write_text(out / "index.html", build_page(cells, table_3, table_4, pictures))


def _list_picture_paths(pictures: dict[str, dict[str, Picture]], *names: str) -> list[tuple[str, str]]:
    """(what is seen, file), from the folder that the documents stand in."""
    return [
        (each[name].description, f"{data}/{name}.svg")
        for data, each in pictures.items()
        for name in names
        if name in each
    ]


@dataclass(frozen=True)
class Measurement:
    """When, where and by which command the cells that finished were measured.

    date: UTC days, `2026-01-31` or the first and the last. environment: (name, value); values of several machines
    stand side by side. seconds: of all cells together. peak_bytes: of the largest process.
    """

    date: str
    command: str
    environment: tuple[tuple[str, str], ...]
    seconds: float
    peak_bytes: int


def read_measurement(cells: Sequence[Cell]) -> Measurement:
    """From the run directories as they are."""
    finished = [cell for cell in cells if cell.run.is_finished]
    costs = [cost for cell in cells if (cost := cell.read_cost()) is not None]
    days = sorted(
        datetime.fromtimestamp(cell.run.metrics_file().stat().st_mtime, UTC).strftime("%Y-%m-%d") for cell in finished
    )
    values: dict[str, dict[str, None]] = {}
    for cell in finished:
        try:
            environment = cell.run.read_environment()
        except RunError:  # missing or damaged
            continue
        for key in environment.keys() & display.ENVIRONMENT.keys() - _NOT_OF_A_MACHINE:
            values.setdefault(key, {})[str(environment[key])] = None
    return Measurement(
        date=" to ".join(dict.fromkeys((days[0], days[-1]))) if days else "",
        command=describe_reproduction(cells),
        environment=tuple(
            (title, " and ".join(values[key])) for key, title in display.ENVIRONMENT.items() if key in values
        ),
        seconds=sum(cost.seconds for cost in costs),
        peak_bytes=max((cost.peak_bytes for cost in costs), default=0),
    )


def describe_reproduction(cells: Sequence[Cell]) -> str:
    """The command that makes these cells on any machine; the reader fills in the folder of the logs."""
    datasets, recipes, keys = (tuple(dict.fromkeys(cell.place[axis] for cell in cells)) for axis in range(3))
    rows = {name: [row.key for row in load_suite(name).rows] for name in ("table3", "table4", "leaderboard")}
    has_4, has_leaderboard = bool(set(keys) & set(rows["table4"]) - {"base"}), bool(set(keys) & {*_RELATIVES})
    shared = {"base", "din-dice"} if has_leaderboard else {"base"}
    has_3 = bool(set(keys) & set(rows["table3"]) - shared)
    wanted = {"table3": has_3 or not (has_4 or has_leaderboard), "table4": has_4, "leaderboard": has_leaderboard}
    suites = tuple(name for name, is_wanted in wanted.items() if is_wanted)
    models = tuple(dict.fromkeys(key for name in suites for key in rows[name]))
    all_recipes = set(recipes) == {recipe.name for data in datasets for recipe in load_recipes(data)}
    return ReproduceOptions(
        suites,
        datasets,
        seeds=max(cell.seed for cell in cells),
        recipes=RECIPES if all_recipes or suites == ("table4",) else tuple(each for each in RECIPES if each in recipes),
        models=() if set(keys) == set(models) else tuple(key for key in models if key in keys),
        data_dir=None if datasets == ("sample",) else Path("FOLDER"),
    ).command


def build_document(
    title: str,
    cells: Sequence[Cell],
    table_3: Sequence[TableLine],
    table_4: Sequence[TableLine],
    pictures: Sequence[tuple[str, str]],
) -> str:
    """Markdown.

    Args:
        cells: of the lines, for what each took. pictures: (caption, path from where the document stands).
    """
    parts = [f"# {title}", _describe_measurement(read_measurement(cells))]
    parts.append(GAUC_IS + (f" {RELA_IMPR_IS}" if table_3 else ""))
    for group in group_lines(table_3):
        table = _build_markdown_table(TABLE_3_COLUMNS, group)
        parts += [_describe_group(group), table, describe_order(group), _build_seeds(group, cells)]
    if any(line.published.withdrawn for line in table_3):
        parts.append(f"Struck through: {WITHDRAWN_REASON}.")
    for group in group_lines(table_4):
        table = _build_markdown_table(TABLE_4_COLUMNS, group)
        parts += [_describe_group(group, "regularisation, "), table, TABLE_4_IS, _build_seeds(group, cells)]
    failures = _list_failures(cells)
    if failures:
        lines = [f"- `{name}`: {escape_markdown(line)}" for name, line in failures]
        parts += ["## Cells that failed", "\n".join(lines)]
    parts += [f"![{escape_markdown(caption)}]({path})" for caption, path in pictures]
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe_measurement(made: Measurement) -> str:
    if not made.date:
        return "Nothing has finished yet."
    machine = ", ".join(f"{name} {value}" for name, value in made.environment)
    return (
        f"Measured on {made.date}, in {format_seconds(made.seconds)} of training and scoring and at most "
        f"{made.peak_bytes / 1e9:.1f} GB of memory, with\n\n```sh\n{make_printable(made.command)}\n```"
        + (f"\n\non {make_printable(machine)}." if machine else "")
    )


def _describe_group(group: Sequence[TableLine], what: str = "") -> str:
    first, seeds = group[0], _list_seeds(group)
    said = f"Seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}." if seeds else "No seed yet."
    return (
        f"## {TITLES[first.data]}, {what}recipe {first.recipe}\n\nProtocol `{first.protocol}`: "
        f"{display.PROTOCOLS[first.protocol]} Selection: {first.selection}. {said}"
    )


def _list_seeds(group: Sequence[TableLine]) -> list[int]:
    return sorted({seed for line in group for seed in line.gauc})


def _build_markdown_table(columns: Sequence[TableColumn], group: Sequence[TableLine]) -> str:
    """Withdrawn values are struck through."""
    shown = choose_shown(columns, group)
    rows = []
    for line in group:
        values = zip(shown, show_line_values(shown, line), strict=True)
        struck = line.published.withdrawn
        rows.append([f"~~{value}~~" if struck and column.name == "published" else value for column, value in values])
    return _join_table([column.title for column in shown], rows)


def _join_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    rule = f"|---|{'---:|' * (len(titles) - 1)}"
    return "\n".join([f"| {' | '.join(titles)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def _build_seeds(group: Sequence[TableLine], cells: Sequence[Cell]) -> str:
    """Each seed's GAUC, and what its cell took."""
    seeds, rows = _list_seeds(group), []
    costs = {(cell.place, cell.seed): cell.read_cost() for cell in cells}
    for line in group:
        place = (line.data, line.recipe, line.key)
        own = [cost for seed in seeds if (cost := costs.get((place, seed))) is not None]
        gauc = [f"{line.gauc[seed]:.6f}" if seed in line.gauc else "" for seed in seeds]
        seconds = format_seconds(sum(cost.seconds for cost in own) / len(own)) if own else ""
        peak = f"{max(cost.peak_bytes for cost in own) / 1e9:.2f} GB" if own else ""
        rows.append([line.model, *gauc, seconds, peak])
    return _join_table(["GAUC by seed", *map(str, seeds), "Time per cell", "Peak memory"], rows) if seeds else ""


def _list_failures(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    return [(cell.name, line) for cell in cells if (line := cell.read_failure()) is not None]


def build_page(
    cells: Sequence[Cell],
    table_3: Sequence[TableLine],
    table_4: Sequence[TableLine],
    pictures: dict[str, dict[str, Picture]],
) -> str:
    """One HTML file: the tables with the published values, the figures, and what each cell took.

    Args:
        pictures: data set -> name -> what was drawn of it.
    """
    made = read_measurement(cells)
    all_pictures = [each for own in pictures.values() for each in own.values()]
    shown_4 = choose_shown(TABLE_4_COLUMNS, table_4)
    return render_page(
        "reproduction",
        title="The paper's tables, measured",
        sections=_SECTIONS,
        measurement=made,
        seconds=format_seconds(made.seconds),
        gauc_is=GAUC_IS,
        rela_impr_is=RELA_IMPR_IS,
        table_4_is=TABLE_4_IS,
        withdrawn_reason=WITHDRAWN_REASON,
        any_withdrawn=any(line.published.withdrawn for line in table_3),
        table_4_titles=[column.title for column in shown_4],
        data=[
            _describe_data(data, [line for line in table_3 if line.data == data], pictures)
            for data in dict.fromkeys(line.data for line in table_3)
        ],
        table_4=[
            (TITLES[group[0].data], [show_line_values(shown_4, line) for line in group])
            for group in group_lines(table_4)
        ],
        table_4_pictures=[each for each in all_pictures if each.name.startswith("table4-")],
        figure_5_pictures=[each for each in all_pictures if each.name.startswith("figure5-")],
        failures=_list_failures(cells),
        cell_titles=_CELL_TITLES,
        cells=[_describe_cell(cell) for cell in cells],
    )


def _describe_data(data: str, lines: Sequence[TableLine], pictures: dict[str, dict[str, Picture]]) -> dict[str, object]:
    """One data set's part of Table 3: recipes side by side, each by itself, and the plot."""
    groups = group_lines(lines)
    means = {(line.key, line.recipe): _show_mean(line) for line in lines}
    recipes = [group[0].recipe for group in groups]
    return {
        "name": data,
        "title": TITLES[data],
        "recipes": [_RECIPE_TITLES[recipe] for recipe in recipes],
        "side_by_side": [
            (model, [means.get((key, recipe), "") for recipe in recipes])
            for key, model in {line.key: line.model for line in lines}.items()
        ],
        "groups": [_describe_recipe(group) for group in groups],
        "pictures": [each for name, each in pictures[data].items() if name == "table3"],
    }


def _describe_recipe(group: Sequence[TableLine]) -> dict[str, object]:
    first, shown = group[0], choose_shown(TABLE_3_COLUMNS, group)
    return {
        "recipe": first.recipe,
        "title": _RECIPE_TITLES[first.recipe],
        "on_test": first.recipe == "official",
        "protocol": first.protocol,
        "protocol_is": display.PROTOCOLS[first.protocol],
        "selection": first.selection,
        "order": describe_order(group),
        "titles": [column.title for column in shown],
        "rows": [(show_line_values(shown, line), line.published.withdrawn, line.verdict) for line in group],
        "seeds": [(line.model, sorted(line.gauc.items())) for line in group if line.gauc],
    }


def _show_mean(line: TableLine) -> str:
    if line.mean is None:
        return ""
    return f"{line.mean:.4f}" + ("" if line.sd is None else f" ± {line.sd:.4f}")


def _describe_cell(cell: Cell) -> list[str]:
    cost = cell.read_cost()
    took = ["", ""] if cost is None else [format_seconds(cost.seconds), f"{cost.peak_bytes / 1e9:.2f} GB"]
    if cell.read_failure() is not None:
        return [cell.name, "failed", "", "", "", *took]
    if not cell.run.is_finished:
        return [cell.name, "not finished", "", "", "", *took]
    try:
        metrics = cell.run.read_metrics()
    except RunError:
        return [cell.name, "metrics.json is damaged", "", "", "", *took]
    shown = ["" if value is None else f"{value:.6f}" for value in (metrics.gauc, metrics.auc)]
    return [cell.name, "finished", *shown, str(metrics.best_epoch), *took]
