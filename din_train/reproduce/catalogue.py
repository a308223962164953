"""What there is to reproduce: data sets, recipes and suites, one YAML file each in the folders beside this file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from din_train.config.yaml_text import parse_yaml

_FOLDER = Path(__file__).parent
DATASETS = ("electronics", "movielens", "sports", "sample", "rehearsal")
RECIPES = ("ours", "paper", "official")
SUITES = ("table3", "table4", "figure5")

Values = dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """A log and where it is found.

    published: the column of `published.py`, if there is one. files: config key -> file name. folders: where the files
    are looked for if no other is named. fetch: what to fetch. config: over a recipe's. recipes: changes of a recipe
    on this data; None where the recipe is not offered.
    """

    name: str
    title: str
    published: str | None
    files: dict[str, str]
    folders: list[str]
    fetch: str
    config: Values
    recipes: dict[str, Values | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How models are trained and chosen.

    selection: what chose the epoch, in words. prepared: recipes of one name share a prepared data set. seeds: at most
    so many. cut_after_epochs: when the learning rate is cut, in epochs' worth of steps; None: as the config says.
    rows: the models it covers, with changes of their config; None: all.
    """

    name: str
    title: str
    selection: str
    prepared: str
    config: Values
    seeds: int | None = None
    cut_after_epochs: float | None = None
    rows: dict[str, Values] | None = None


@dataclass(frozen=True)
class Row:
    """A line of a table; rows of one key are the same cells, whichever suite they stand in."""

    key: str
    label: str
    config: Values


@dataclass(frozen=True)
class Suite:
    """A table or figure: its rows, the recipes it is made by, and at most how many seeds."""

    name: str
    title: str
    recipes: list[str]
    rows: tuple[Row, ...]
    seeds: int | None = None


def load_dataset(name: str) -> Dataset:
    """A data set by its name in `DATASETS`."""
    return Dataset(name=name, **_load("datasets", name))


def load_recipe(name: str, dataset: Dataset) -> Recipe | None:
    """A recipe by its name in `RECIPES`, with a data set's config over its own; None where it is not offered there."""
    changes = dataset.recipes.get(name, {})
    if changes is None:
        return None
    return Recipe(name=name, **merge(merge(_load("recipes", name), {"config": dataset.config}), changes))


def load_suite(name: str) -> Suite:
    """A suite by its name in `SUITES`."""
    values = _load("suites", name)
    rows = tuple(Row(**row) for row in values.pop("rows"))
    return Suite(name=name, rows=rows, **values)


def merge(below: Values, above: Values) -> Values:
    """`above` where both have a key; mappings are merged key by key."""
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = merge(below[key], above[key])
    return merged


def _load(folder: str, name: str) -> Values:
    values: Values = parse_yaml((_FOLDER / folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return values
