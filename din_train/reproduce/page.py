"""`index.html`: the tables with what is published, the figures, and what each cell took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from din_train.errors import RunError
from din_train.evaluation import words
from din_train.report.page import Picture, render_page
from din_train.reproduce import published
from din_train.reproduce.catalogue import RECIPES, load_dataset
from din_train.reproduce.cells import Cell
from din_train.reproduce.document import GAUC_IS, RELA_IMPR_IS, TABLE_4_IS
from din_train.reproduce.facts import Facts
from din_train.reproduce.order import describe_order
from din_train.reproduce.plan import format_seconds
from din_train.reproduce.results import Line, group_lines
from din_train.reproduce.tables import TABLE_4_TITLES, build_table_3_cells, build_table_4_cells, choose_table_3_titles

_SECTIONS = {
    "table3": "Table 3",
    "table4": "Regularisation",
    "figure5": "Figure 5",
    "cells": "Cells",
    "again": "To do it again",
}
_CELL_TITLES = ("Cell", "State", "GAUC", "AUC", "Epoch", "Time", "Peak memory")
RECIPE_TITLES = {"ours": "ours", "paper": "paper", "official": "official: epoch chosen on the test set"}


@dataclass(frozen=True)
class PaperReport:
    """What the page is made of. pictures: data set -> what was drawn of it."""

    facts: Facts
    cells: Sequence[Cell]
    table_3: Sequence[Line]
    table_4: Sequence[Line]
    pictures: Mapping[str, Sequence[Picture]]


def build_page(report: PaperReport) -> str:
    """HTML that needs nothing beside it."""
    return render_page(
        "reproduction",
        title="The paper's tables, measured",
        sections=_SECTIONS,
        facts=report.facts,
        seconds=format_seconds(report.facts.seconds),
        gauc_is=GAUC_IS,
        rela_impr_is=RELA_IMPR_IS,
        table_4_is=TABLE_4_IS,
        withdrawn_reason=published.WITHDRAWN_REASON,
        any_withdrawn=any(line.withdrawn for line in report.table_3),
        table_4_titles=TABLE_4_TITLES,
        data=[_describe_data(name, report) for name in dict.fromkeys(line.data for line in report.table_3)],
        table_4=[
            (load_dataset(group[0].data).title, [build_table_4_cells(line) for line in group])
            for group in group_lines(report.table_4)
        ],
        table_4_pictures=_choose_pictures(report, "table4"),
        figure_5_pictures=_choose_pictures(report, "figure5"),
        failures=[(cell.name, line) for cell in report.cells if (line := cell.read_failure()) is not None],
        cell_titles=_CELL_TITLES,
        cells=[_describe_cell(cell) for cell in report.cells],
    )


def _describe_data(name: str, report: PaperReport) -> dict[str, object]:
    """One data set's part of Table 3: recipes side by side, each by itself, and the plot."""
    lines = [line for line in report.table_3 if line.data == name]
    recipes = [recipe for recipe in RECIPES if any(line.recipe == recipe for line in lines)]
    by_place = {(line.key, line.recipe): line for line in lines}
    side_by_side = [
        (model, [_show_mean(by_place.get((key, recipe))) for recipe in recipes])
        for key, model in {line.key: line.model for line in lines}.items()
    ]
    return {
        "name": name,
        "title": load_dataset(name).title,
        "recipes": [RECIPE_TITLES[recipe] for recipe in recipes],
        "side_by_side": side_by_side,
        "groups": [_describe_group(group) for group in group_lines(lines)],
        "pictures": [each for each in report.pictures.get(name, ()) if each.name == f"table3-{name}"],
    }


def _describe_group(group: Sequence[Line]) -> dict[str, object]:
    first, titles = group[0], choose_table_3_titles(group)
    return {
        "recipe": first.recipe,
        "title": RECIPE_TITLES[first.recipe],
        "on_test": first.recipe == "official",
        "protocol": first.protocol,
        "protocol_is": words.PROTOCOLS[first.protocol],
        "selection": first.selection,
        "order": describe_order(group),
        "titles": titles,
        "rows": [(build_table_3_cells(line)[: len(titles)], line.withdrawn, line.verdict) for line in group],
        "seeds": [(line.model, sorted(line.gauc.items())) for line in group if line.gauc],
    }


def _show_mean(line: Line | None) -> str:
    if line is None or line.mean is None:
        return ""
    return f"{line.mean:.4f}" + ("" if line.sd is None else f" ± {line.sd:.4f}")


def _choose_pictures(report: PaperReport, kind: str) -> list[Picture]:
    return [each for pictures in report.pictures.values() for each in pictures if each.name.startswith(f"{kind}-")]


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
    shown = ["" if metrics[key] is None else f"{metrics[key]:.6f}" for key in ("gauc", "auc")]
    return [cell.name, "finished", *shown, str(metrics.get("best_epoch", "")), *took]
