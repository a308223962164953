"""A cell: one model, on one data set, by one recipe, with one seed; one run directory."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from din_train.config.yaml_text import dump_yaml
from din_train.dataset.manifest import Manifest
from din_train.errors import ConfigError
from din_train.files import atomic_file, make_folder
from din_train.reproduce.catalogue import RECIPES, Dataset, Recipe, Row, Suite, Values, load_recipe, merge
from din_train.run_directory import RunDirectory

Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class Cost:
    """What the processes of a cell took: seconds together, bytes of the largest."""

    seconds: Annotated[float, Field(ge=0, lt=1e12)]
    peak_bytes: Count


@dataclass(frozen=True)
class Cell:
    """What `fit` is to do once. config: of the run, complete."""

    dataset: Dataset
    recipe: Recipe
    row: Row
    seed: int
    config: Values
    out: Path

    @property
    def name(self) -> str:
        return f"{self.dataset.name}-{self.recipe.name}-{self.row.key}-seed{self.seed}"

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.out / "runs" / self.name)

    @property
    def config_file(self) -> Path:
        return self.out / "cells" / f"{self.name}.yaml"

    @property
    def log_file(self) -> Path:
        """What `fit` said on stdout and stderr."""
        return self.out / "cells" / f"{self.name}.log"

    @property
    def cost_file(self) -> Path:
        """Seconds, of all its starts together, and peak bytes of memory."""
        return self.out / "cells" / f"{self.name}.cost.json"

    @property
    def failure_file(self) -> Path:
        """Why it failed, in a line; there is none where it did not."""
        return self.out / "cells" / f"{self.name}.failure.txt"

    def read_failure(self) -> str | None:
        """The last line that the cell said before it failed."""
        try:
            return self.failure_file.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return None

    @property
    def is_measured(self) -> bool:
        """It has finished, and its numbers are those of this config."""
        return self.run.is_finished and self.read_failure() is None

    def record_failure(self, line: str | None) -> None:
        """None: it has not failed, whatever an earlier start did."""
        if line is None:
            self.failure_file.unlink(missing_ok=True)
            return
        with atomic_file(self.failure_file) as temporary:
            temporary.write_text(f"{line}\n", encoding="utf-8")

    def read_cost(self) -> Cost | None:
        """What it has taken so far; None where it never ended by itself."""
        try:
            return TypeAdapter(Cost).validate_json(self.cost_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def add_cost(self, cost: Cost) -> None:
        before = self.read_cost() or Cost(0.0, 0)
        total = Cost(before.seconds + cost.seconds, max(before.peak_bytes, cost.peak_bytes))
        with atomic_file(self.cost_file) as temporary:
            temporary.write_bytes(orjson.dumps(asdict(total)))

    def write_config(self) -> None:
        write_config(self.config_file, self.config)


def write_config(path: Path, config: Values) -> None:
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        temporary.write_text(dump_yaml(config), encoding="utf-8")


def prepared_folder(out: Path, dataset: Dataset, recipe: Recipe) -> Path:
    """Where the data set of a recipe goes."""
    return out / "prepared" / f"{dataset.name}-{recipe.prepared}"


def build_config(out: Path, dataset: Dataset, recipe: Recipe, files: dict[str, Path], row: Row) -> Values:
    """A row's config before the seed, and the schedule's steps, are known."""
    own = (recipe.rows or {}).get(row.key, {})
    config = merge(merge(recipe.config, row.config), own)
    paths = {key: str(path) for key, path in files.items()}
    return merge(config, {"data": {**paths, "prepared": str(prepared_folder(out, dataset, recipe))}})


def list_recipes(dataset: Dataset, names: Iterable[str]) -> list[Recipe]:
    """Those of the named recipes that the data set is offered with, in the catalogue's order."""
    wanted = set(names)
    found = [load_recipe(name, dataset) for name in RECIPES if name in wanted]
    return [recipe for recipe in found if recipe is not None]


def build_cells(
    out: Path,
    dataset: Dataset,
    files: dict[str, Path],
    recipes: Sequence[Recipe],
    suites: Sequence[Suite],
    manifests: dict[str, Manifest],
    *,
    seeds: int,
    models: Collection[str] = (),
) -> list[Cell]:
    """Every cell of one data set once: recipe by recipe, in each seed by seed, so that a whole table comes early.

    Args:
        manifests: of the prepared data sets, by `Recipe.prepared`.
        seeds: 1 to this, or to what a recipe or a suite has at most. models: only rows of these keys; none: all.
    """
    cells: dict[str, Cell] = {}
    for recipe in recipes:
        rows_at_most = [
            (row, min(each for each in (seeds, recipe.seeds, suite.seeds) if each is not None))
            for suite in suites
            if recipe.name in suite.recipes
            for row in suite.rows
            if (recipe.rows is None or row.key in recipe.rows) and (not models or row.key in models)
        ]
        training_rows = manifests[recipe.prepared]["samples"]["train"]
        for seed in range(1, seeds + 1):
            for row, last_seed in rows_at_most:
                if seed > last_seed:
                    continue
                config = _complete(build_config(out, dataset, recipe, files, row), recipe, training_rows)
                cell = Cell(dataset, recipe, row, seed, config, out)
                cells.setdefault(
                    cell.name, Cell(**{**vars(cell), "config": {"name": cell.name, "seed": seed, **config}})
                )
    return list(cells.values())


def count_steps(training_rows: int, batch_size: int) -> int:
    """Optimiser steps in an epoch."""
    return math.ceil(training_rows / batch_size)


def _complete(config: Values, recipe: Recipe, training_rows: int) -> Values:
    """With the step at which the learning rate is cut."""
    if recipe.cut_after_epochs is None:
        return config
    steps = round(recipe.cut_after_epochs * count_steps(training_rows, resolve_batch_size(config)))
    schedule = {"name": "step", "steps": [max(steps, 1)]}
    return merge(config, {"training": {"optimizer": {"schedule": schedule}}})


def resolve_batch_size(config: Values) -> int:
    """A config's batch size, its preset's where it names none."""
    from din_train.config.load import PRESETS
    from din_train.config.yaml_text import parse_yaml

    given = config.get("training", {}).get("batch_size")
    if given is None:
        preset = parse_yaml((PRESETS / f"{config['preset']}.yaml").read_text(encoding="utf-8"))
        given = preset["training"]["batch_size"]
    if not isinstance(given, int):
        raise ConfigError(f"training.batch_size: received {given!r}, expected a whole number")
    return given
