"""The cells that a folder has, whichever commands made them: what the tables are made of."""

import re
from collections.abc import Sequence
from pathlib import Path

from din_train.config import load_config
from din_train.config.yaml_text import parse_yaml
from din_train.errors import ConfigError
from din_train.reproduce.catalogue import DATASETS, RECIPES, SUITES, Dataset, Row, Values, load_dataset, load_suite
from din_train.reproduce.cells import Cell, list_recipes
from din_train.terminal import say

_NAME = re.compile(r"(?P<dataset>[a-z]+)-(?P<recipe>[a-z]+)-(?P<row>[a-z-]+)-seed(?P<seed>[1-9]\d*)")


def find_cells(out: Path, planned: Sequence[Cell]) -> list[Cell]:
    """The planned cells and those of earlier commands, in the catalogue's order.

    One that was trained by another config than a planned cell of its row is left out, with a line that says so.
    """
    cells = {cell.name: cell for cell in planned}
    siblings = {_group(cell): cell for cell in planned}
    rows: dict[str, Row] = {}
    for suite in SUITES:
        for row in load_suite(suite).rows:
            rows.setdefault(row.key, row)
    names = {path.name for path in (out / "runs").glob("*-seed*")}
    names |= {path.name.removesuffix(".failure.txt") for path in (out / "cells").glob("*.failure.txt")}
    for name in sorted(names - cells.keys()):
        cell = _read_cell(out, name, rows)
        if cell is None:
            continue
        sibling = siblings.get(_group(cell))
        if sibling is not None and _comparable(sibling) != _comparable(cell):
            say(f"{cell.run.path}: trained by another config than seed {sibling.seed} is now; not in the tables")
            continue
        cells[name] = cell
    places = {key: place for place, key in enumerate(rows)}

    def order(cell: Cell) -> tuple[int, int, int, int]:
        dataset, recipe = DATASETS.index(cell.dataset.name), RECIPES.index(cell.recipe.name)
        return dataset, recipe, places[cell.row.key], cell.seed

    return sorted(cells.values(), key=order)


def _read_cell(out: Path, name: str, rows: dict[str, Row]) -> Cell | None:
    """From its name and the config that the plan wrote; None where the catalogue has no such cell."""
    match = _NAME.fullmatch(name)
    if match is None or match["dataset"] not in DATASETS or match["row"] not in rows:
        return None
    dataset = load_dataset(match["dataset"])
    config = _read_config(out / "cells" / f"{name}.yaml")
    recipes = list_recipes(dataset, [match["recipe"]])
    if config is None or not recipes:
        return None
    return Cell(dataset, recipes[0], rows[match["row"]], int(match["seed"]), config, out)


def _read_config(path: Path) -> Values | None:
    """Of a run, complete; None where it is missing, damaged, or of another version."""
    try:
        load_config(path)
    except ConfigError:
        return None
    config: Values = parse_yaml(path.read_text(encoding="utf-8"))
    return config


def _group(cell: Cell) -> tuple[str, str, str]:
    return cell.dataset.name, cell.recipe.name, cell.row.key


def _comparable(cell: Cell) -> Values:
    """Its config without what may differ between seeds, and between places of the logs."""
    config = {key: value for key, value in cell.config.items() if key not in ("name", "seed")}
    return {**config, "data": _without_places(config["data"], cell.dataset)}


def _without_places(data: Values, dataset: Dataset) -> Values:
    return {key: value for key, value in data.items() if key not in (*dataset.files, "prepared")}
