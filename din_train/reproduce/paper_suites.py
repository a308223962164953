"""The paper's grid: data sets (ordinary configs), recipes and suites, which are lists of `--set` overrides for those.

A cell's config is datasets/<data>.yaml with the overrides of its recipe, of the recipe on this data, of its row, and of
the row in this recipe, each over those before it.
"""

import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from din_train.config import Config, DataConfig, load_config
from din_train.config.yaml_text import parse_yaml
from din_train.dataset.manifest import Manifest, read_manifest
from din_train.errors import ConfigError, DataError
from din_train.logs import FILE_KEYS
from din_train.reproduce import DATASETS, MODELS, RECIPES, SUITES
from din_train.sweep import Cell, build_cell, find_cells

_FOLDER = Path(__file__).parent

TITLES = {
    "electronics": "Amazon Electronics (2014, 5-core)",
    "movielens": "MovieLens-20M",
    "sports": "Amazon Sports & Outdoors (2014, 5-core)",
    "sample": "the shipped sample (generated)",
    "rehearsal": "a generated log of Electronics' size",
    "sports-x1": "ready-made rows of Amazon Sports (x1)",
    "electronics-x1": "ready-made rows of Amazon Electronics (AmazonElectronics_x1)",
}
_FETCH = {
    "electronics": "`make data-electronics` (or both files from "
    "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles)",
    "movielens": "`scripts/data/download_movielens.sh` (or https://files.grouplens.org/datasets/movielens/ml-20m.zip, "
    "unpacked)",
    "sports": "the tab-separated log with the columns user, item, cate and timestamp",
    "sample": "data/sample of the repository (or make it with scripts/data/make_sample.py)",
    "sports-x1": "nothing: make both files in the x1 layout",
    "electronics-x1": "the AmazonElectronics_x1 data set of BARS",
    "rehearsal": "`python scripts/data/make_sample.py --preset electronics data/rehearsal`",
}


@dataclass(frozen=True)
class ReproduceOptions:
    """What to reproduce: names, as `din_train.reproduce` lists them.

    models: none stands for all. seeds: 1 to this. data_dir: of the logs; None: where the download scripts put them.
    """

    suites: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: int
    recipes: tuple[str, ...] = RECIPES
    models: tuple[str, ...] = ()
    data_dir: Path | None = None

    def choose_recipes(self, dataset: str) -> "list[Recipe]":
        """The recipes that the suites have and the data set has."""
        offered = {name for suite in self.suites for name in load_suite(suite).recipes}
        return load_recipes(dataset, offered & set(self.recipes))

    @property
    def command(self) -> str:
        """The command with these options, and without `--out`."""
        words = ["--suite", "all" if self.suites == SUITES else ",".join(self.suites)]
        words += ["--data", ",".join(self.datasets), "--seeds", str(self.seeds)]
        words += [] if self.recipes == RECIPES else ["--recipes", ",".join(self.recipes)]
        words += ["--models", ",".join(self.models)] if self.models else []
        words += ["--data-dir", str(self.data_dir)] if self.data_dir else []
        return shlex.join(["din-train", "reproduce", *words])


@dataclass(frozen=True)
class Recipe:
    """How models are trained and chosen on one data set.

    selection: what chose the epoch, in words. prepared: recipes of one name share a prepared data set. seeds: the
    most. cut_after_epochs: when the learning rate is cut, in epochs' worth of steps; None: as the preset says.
    rows: the models it covers, with overrides of their config; None: all.
    """

    name: str
    selection: str
    prepared: str
    set: list[str]
    seeds: int | None = None
    cut_after_epochs: float | None = None
    rows: dict[str, list[str]] | None = None

    def covers(self, row: str) -> bool:
        return self.rows is None or row in self.rows


@dataclass(frozen=True)
class SuiteRow:
    """A line of a table; rows of one key are the same cells, whichever suite they stand in."""

    key: str
    label: str
    set: list[str]


@dataclass(frozen=True)
class Suite:
    """A table or figure: its rows, the recipes it is made by, and at most how many seeds."""

    name: str
    title: str
    recipes: list[str]
    rows: tuple[SuiteRow, ...]
    seeds: int | None = None


@cache
def load_suite(name: str) -> Suite:
    """A suite by its name in `SUITES`."""
    values = _load(f"suites/{name}.yaml")
    rows = tuple(SuiteRow(**row) for row in values.pop("rows"))
    return Suite(name=name, rows=rows, **values)


def load_recipes(dataset: str, names: Collection[str] = RECIPES) -> list[Recipe]:
    """Those of the named recipes that there are for the data set, in the order of `RECIPES`."""
    recipes = []
    for name in RECIPES:
        values = _load(f"recipes/{name}.yaml")
        changes = values.pop("data").get(dataset, {})
        if name in names and changes is not None:
            overrides = [*values.pop("set"), *changes.pop("set", [])]
            recipes.append(Recipe(name=name, set=overrides, **{**values, **changes}))
    return recipes


def prepared_folder(out: Path, dataset: str, recipe: Recipe) -> Path:
    """Where the data set that the recipe's cells share goes."""
    return out / "prepared" / f"{dataset}-{recipe.prepared}"


def load_paper_config(
    out: Path, dataset: str, recipe: Recipe, files: Mapping[str, Path], row: SuiteRow, training_rows: int | None = None
) -> Config:
    """The config of a row's cells.

    Args:
        files: of the log, by config key. training_rows: of the prepared data set, for the step at which the learning
            rate is cut; None: not cut, which only preparation can do without.
    """
    path = _FOLDER / "datasets" / f"{dataset}.yaml"
    overrides = [*recipe.set, *row.set, *(recipe.rows or {}).get(row.key, [])]
    config = load_config(path, overrides)
    if training_rows is not None and recipe.cut_after_epochs is not None:
        steps = round(recipe.cut_after_epochs * math.ceil(training_rows / config.training.batch_size))
        schedule = f"{{name: step, steps: [{max(steps, 1)}], factor: 0.1}}"
        config = load_config(path, [*overrides, f"training.optimizer.schedule={schedule}"])
    places = {**files, "prepared": prepared_folder(out, dataset, recipe)}
    return config.model_copy(update={"data": config.data.at(places)})


def build_paper_cells(
    out: Path, options: ReproduceOptions, dataset: str, files: Mapping[str, Path], manifests: Mapping[Path, Manifest]
) -> list[Cell]:
    """Every cell of one data set once, by recipe and then by seed, so that a whole table is ready early.

    Args:
        files: of the log, by config key. manifests: of the prepared data sets, by their folders.
    """
    cells: dict[str, Cell] = {}
    for recipe in options.choose_recipes(dataset):
        training_rows = manifests[prepared_folder(out, dataset, recipe)].samples["train"]
        configs: dict[str, Config] = {}
        for seed in range(1, min(options.seeds, recipe.seeds or options.seeds) + 1):
            for suite in map(load_suite, options.suites):
                if recipe.name not in suite.recipes or seed > (suite.seeds or seed):
                    continue
                for row in suite.rows:
                    if not recipe.covers(row.key) or row.key not in (options.models or MODELS):
                        continue
                    if row.key not in configs:
                        configs[row.key] = load_paper_config(out, dataset, recipe, files, row, training_rows)
                    cell = build_cell(out, (dataset, recipe.name, row.key), seed, configs[row.key])
                    cells[cell.name] = cell
    return list(cells.values())


def find_paper_cells(out: Path, planned: Sequence[Cell]) -> list[Cell]:
    """The planned cells and those that earlier commands left in the folder, in the order of the tables."""
    keys = list(dict.fromkeys(row.key for suite in SUITES for row in load_suite(suite).rows))
    places = [(dataset, recipe.name, key) for dataset in DATASETS for recipe in load_recipes(dataset) for key in keys]
    order: dict[tuple[str, ...], int] = {place: number for number, place in enumerate(places)}
    cells = [cell for cell in find_cells(out, planned, axes=3) if cell.place in order]
    return sorted(cells, key=lambda cell: (order[cell.place], cell.seed))


def find_logs(out: Path, options: ReproduceOptions) -> dict[str, dict[str, Path]]:
    """Data set -> config key -> file, all of a log from the first folder that has them all.

    If `out` has all that a data set's recipes need prepared, its log may be gone.

    Raises:
        DataError: with one line for all whose logs are missing: what to fetch, where to put it, what works without.
    """
    logs, missing = {}, []
    for dataset in options.datasets:
        usual = _list_files(load_config(_FOLDER / "datasets" / f"{dataset}.yaml").data)
        folder = next(iter(usual.values())).parent
        places = [folder]
        if options.data_dir is not None:
            places = [options.data_dir, options.data_dir / dataset, options.data_dir / folder.name]
        found = [{key: _find_packed_or_not(place / path.name) for key, path in usual.items()} for place in places]
        whole = next((files for files in found if all(path.is_file() for path in files.values())), None)
        logs[dataset] = whole or _find_earlier_files(out, options, dataset) or {}
        if not logs[dataset]:
            names = " and ".join(path.name for path in usual.values())
            missing.append(f"{names} in {places[0]} (fetch with {_FETCH[dataset]})")
    if missing:
        raise DataError(
            f"--data {','.join(data for data, files in logs.items() if not files)}: missing {'; '.join(missing)}. Put "
            "them there, or name their folder with --data-dir (`make reproduce-paper DATA_DIR=...`), or try the "
            "shipped log with --data sample (`make reproduce-paper DATA=sample`)"
        )
    return logs


def _list_files(data: DataConfig) -> dict[str, Path]:
    return {key: path for key in FILE_KEYS if (path := data.path_of(key)) is not None}


def _find_packed_or_not(path: Path) -> Path:
    unpacked = path.with_name(path.name.removesuffix(".gz"))
    return unpacked if unpacked.is_file() and not path.is_file() else path


def _find_earlier_files(out: Path, options: ReproduceOptions, dataset: str) -> dict[str, Path] | None:
    """Where an earlier command found the log, if all that is needed of it is prepared."""
    folders = {prepared_folder(out, dataset, recipe) for recipe in options.choose_recipes(dataset)}
    if folders and all(read_manifest(folder) is not None for folder in folders):
        for path in sorted((out / "cells").rglob(f"{dataset}-*-seed*.yaml")):
            with suppress(ConfigError):
                return _list_files(load_config(path).data)
    return None


def _load(name: str) -> dict[str, Any]:
    values: dict[str, Any] = parse_yaml((_FOLDER / name).read_text(encoding="utf-8"))
    return values
