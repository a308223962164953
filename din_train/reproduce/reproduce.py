"""The whole command: find the logs, prepare, plan, run, write the tables."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from din_train.config import load_config
from din_train.config.yaml_text import dump_yaml
from din_train.dataset.manifest import Manifest, read_manifest
from din_train.dataset.prepare import prepare
from din_train.errors import ConfigError, DataError, RunError
from din_train.files import atomic_file, make_folder
from din_train.printable import make_lines_printable
from din_train.reproduce.artefacts import write_artefacts
from din_train.reproduce.catalogue import RECIPES, SUITES, Dataset, Recipe, Suite, Values, load_dataset, load_suite
from din_train.reproduce.cells import Cell, build_cells, build_config, list_recipes, prepared_folder
from din_train.reproduce.logs_at_hand import describe_missing, find_files
from din_train.reproduce.plan import Plan, build_plan, build_plan_table, describe_plan
from din_train.reproduce.run import Failure, only_one_at_a_time, run_cells
from din_train.terminal import say, show_table


@dataclass(frozen=True)
class Request:
    """What is asked for: names of the catalogue, and places.

    models: keys of rows; none: all.
    """

    suites: tuple[str, ...]
    datasets: tuple[str, ...]
    recipes: tuple[str, ...]
    models: tuple[str, ...]
    seeds: int
    data_dir: Path | None
    out: Path

    @property
    def command(self) -> str:
        """What goes on with it."""
        words = ["din-train", "reproduce"]
        words += ["--suite", "all" if self.suites == SUITES else ",".join(self.suites)]
        words += ["--data", ",".join(self.datasets), "--seeds", str(self.seeds)]
        words += [] if self.recipes == RECIPES else ["--recipes", ",".join(self.recipes)]
        words += ["--models", ",".join(self.models)] if self.models else []
        words += ["--data-dir", str(self.data_dir)] if self.data_dir else []
        return shlex.join([*words, "--out", str(self.out)])


def reproduce(request: Request, *, plan_only: bool) -> None:
    """Plan the cells, run those that are not done, and write the tables, after each cell and at the end.

    The folder is held all the while, but for a plan alone, which changes nothing that a reproduction at work reads.

    Raises:
        DataError: where logs are missing.
        RunError: where a cell failed, after all others have run.
    """
    if plan_only:
        _plan(request)
        return
    with only_one_at_a_time(request.out) as lock:
        plan = _plan(request)
        for cell in plan.cells:
            cell.write_config()
        changed = partial(write_artefacts, request.out, plan.cells)
        failures = run_cells(plan, lock, how_to_go_on=request.command, changed=changed)
    _end(request, failures, len(plan.cells))


def _plan(request: Request) -> Plan:
    """Prepare the data sets, and show what is to be run."""
    suites = [load_suite(name) for name in request.suites]
    datasets = [load_dataset(name) for name in request.datasets]
    files = _find_all_files(datasets, request.data_dir)
    cells: list[Cell] = []
    manifests: dict[tuple[str, str], Manifest] = {}
    for dataset in datasets:
        recipes = [
            each
            for each in list_recipes(dataset, request.recipes)
            if any(each.name in suite.recipes for suite in suites)
        ]
        of_data = {}
        for recipe in recipes:
            if recipe.prepared not in of_data:
                of_data[recipe.prepared] = _prepare(request.out, dataset, recipe, files[dataset.name], suites)
        manifests.update({(dataset.name, name): manifest for name, manifest in of_data.items()})
        cells += build_cells(
            request.out,
            dataset,
            files[dataset.name],
            recipes,
            suites,
            of_data,
            seeds=request.seeds,
            models=request.models,
        )
    if not cells:
        raise ConfigError(
            f"--recipes {','.join(request.recipes)}: suite {','.join(request.suites)} on {','.join(request.datasets)} "
            "has no cell by it; add ours, or leave --models out"
        )
    plan = build_plan(cells, manifests)
    show_table(build_plan_table(plan))
    say(describe_plan(plan))
    return plan


def _find_all_files(datasets: Sequence[Dataset], data_dir: Path | None) -> dict[str, dict[str, Path]]:
    """Of every data set.

    Raises:
        DataError: with one line for all whose logs are missing.
    """
    files = {dataset.name: find_files(dataset, data_dir) for dataset in datasets}
    missing = [dataset for dataset in datasets if files[dataset.name] is None]
    if missing:
        raise DataError(describe_missing(missing, data_dir))
    return {name: found for name, found in files.items() if found is not None}


def _prepare(out: Path, dataset: Dataset, recipe: Recipe, files: dict[str, Path], suites: Sequence[Suite]) -> Manifest:
    """The prepared data set that the recipe's cells share."""
    row = next(row for suite in suites for row in suite.rows)
    config = build_config(out, dataset, recipe, files, row)
    kept: Values = {key: config[key] for key in ("data", "filters", "vocabulary", "negatives") if key in config}
    path = out / "cells" / f"{dataset.name}-{recipe.prepared}.prepare.yaml"
    make_folder(path.parent)
    name = f"{dataset.name}-{recipe.prepared}"
    with atomic_file(path) as temporary:
        temporary.write_text(
            dump_yaml({"name": name, **kept, "model": {"name": "din"}, "training": {"epochs": 1}}), encoding="utf-8"
        )
    prepare(load_config(path))
    folder = prepared_folder(out, dataset, recipe)
    manifest = read_manifest(folder)
    if manifest is None:
        raise RunError(f"{folder}: was prepared, and is not there any more; start again")
    return manifest


def _end(request: Request, failures: Sequence[Failure], num_cells: int) -> None:
    tables = [request.out / f"{name}.md" for name in ("table3", "table4") if name in request.suites]
    for path in tables:
        if path.exists():
            print(make_lines_printable(path.read_text(encoding="utf-8")))
    say(f"the page: {request.out / 'index.html'}")
    if failures:
        raise RunError(
            [
                *(f"{failure.cell.name}: {failure.line} (see {failure.cell.log_file})" for failure in failures),
                f"{len(failures)} of {num_cells} cells failed; the others are in the tables. Run the failed ones again "
                f"with `{request.command}`",
            ]
        )
