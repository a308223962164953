"""The plan: what is to be run, and about how much time, memory and disk it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from din_train.dataset.manifest import Manifest
from din_train.files import atomic_file
from din_train.reproduce.cells import Cell, write_config
from din_train.reproduce.probe import Probe, run_probe

# Time of a training row against DIN's, by `model.name`; measured on two cores at the recipe's sizes.
RELATIVE_COST = {"lr": 0.4, "base": 0.6, "wide_deep": 0.7, "pnn": 0.6, "deepfm": 0.7, "din": 1.0}
SCORING_COST = 0.4  # time of a scored row against one trained on
START_SECONDS = 12.0  # of a process: TensorFlow, tracing, the report
NUMBERS_A_PARAMETER = 7  # on disk at the most: the best weights, and Adam's three in each of two saved states


@dataclass(frozen=True)
class _KnownProbe:
    """What an earlier start measured, and the fingerprint of the data that it was of."""

    fingerprint: str
    probe: Probe


@dataclass(frozen=True)
class Estimate:
    """Of one cell, at most: seconds, and bytes on disk when it runs."""

    seconds: float
    disk_bytes: int


@dataclass(frozen=True)
class Plan:
    """Cells in the order they are run, and what each takes.

    finished: names of those that are done. memory_bytes: of the largest process.
    """

    cells: Sequence[Cell]
    estimates: Mapping[str, Estimate]
    finished: frozenset[str]
    memory_bytes: int
    prepared_bytes: int

    @property
    def to_run(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.name not in self.finished]

    @property
    def seconds(self) -> float:
        return sum(self.estimates[cell.name].seconds for cell in self.to_run)

    @property
    def disk_bytes(self) -> int:
        return sum(self.estimates[cell.name].disk_bytes for cell in self.cells)


def build_plan(cells: Sequence[Cell], manifests: Mapping[tuple[str, str], Manifest]) -> Plan:
    """Estimate every cell from a short probe of DIN a data set and recipe.

    Args:
        manifests: by data set and `Recipe.prepared`.
    """
    finished = frozenset(cell.name for cell in cells if cell.run.is_finished)
    probes: dict[tuple[str, str], tuple[str, Probe]] = {}
    estimates = {}
    for cell in cells:
        key = (cell.dataset.name, cell.recipe.name)
        manifest = manifests[cell.dataset.name, cell.recipe.prepared]
        if key not in probes:
            probed = _find_to_probe(cells, key)
            probes[key] = probed.config["model"]["name"], _probe(probed, manifest)
        estimates[cell.name] = estimate(cell, manifest, *probes[key])
    prepared = sum(manifest["bytes"] for manifest in manifests.values())
    memory = max((probe.peak_bytes for _, probe in probes.values()), default=0)
    return Plan(cells, estimates, finished, memory, prepared)


def estimate(cell: Cell, manifest: Manifest, probed: str, probe: Probe) -> Estimate:
    """Every epoch that the config allows, scored as often, and again for a refit.

    Args:
        probed: the `model.name` that the probe measured.
    """
    training = cell.config["training"]
    rows = manifest["samples"]
    cost = RELATIVE_COST[cell.config["model"]["name"]] / RELATIVE_COST[probed] / probe.samples_per_second
    watched = 0 if cell.config["data"]["protocol"] == "paper" else rows["validation"]
    watched = rows["test"] if training.get("select_on") == "test" else watched
    work = training["epochs"] * (rows["train"] + SCORING_COST * watched) + SCORING_COST * rows["test"]
    if training.get("refit"):
        work += training["epochs"] * (rows["train"] + rows["validation"])
    return Estimate(START_SECONDS + work * cost, 4 * NUMBERS_A_PARAMETER * probe.parameters)


def build_plan_table(plan: Plan) -> Table:
    """One row a data set, recipe and model."""
    table = Table("data", "recipe", "model", "seeds", "done", "at most, each", title="the plan")
    for column in table.columns[3:]:
        column.justify = "right"
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in plan.cells:
        groups.setdefault((cell.dataset.name, cell.recipe.name, cell.row.key), []).append(cell)
    for (dataset, recipe, row), cells in groups.items():
        done = sum(cell.name in plan.finished for cell in cells)
        seconds = plan.estimates[cells[0].name].seconds
        table.add_row(dataset, recipe, row, str(len(cells)), str(done), format_seconds(seconds))
    return table


def describe_plan(plan: Plan) -> str:
    """The totals, in a line."""
    return (
        f"{len(plan.cells)} cells, {len(plan.finished)} of them done; the others take at most "
        f"{format_seconds(plan.seconds)} by a short probe on this machine (less where early stopping ends one), "
        f"about {plan.memory_bytes / 1e9:.1f} GB of memory, and {plan.disk_bytes / 1e9:.1f} GB of disk for runs beside "
        f"{plan.prepared_bytes / 1e9:.2f} GB of prepared data"
    )


def format_seconds(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _find_to_probe(cells: Sequence[Cell], key: tuple[str, str]) -> Cell:
    """A cell of the data set and recipe, DIN's where there is one."""
    found = [cell for cell in cells if (cell.dataset.name, cell.recipe.name) == key]
    return min(found, key=lambda cell: cell.config["model"]["name"] != "din")


def _probe(cell: Cell, manifest: Manifest) -> Probe:
    """The cell's model measured, or what an earlier start measured on the same data."""
    file = cell.out / "cells" / f"{cell.dataset.name}-{cell.recipe.name}-{cell.row.key}.probe.json"
    known = _read_probe(file, manifest["fingerprint"])
    if known is not None:
        return known
    config_file = file.parent / "probes" / cell.config_file.name  # the cell's may be another reproduction's, at work
    write_config(config_file, cell.config)
    probe = run_probe(config_file)
    with atomic_file(file) as temporary:
        temporary.write_bytes(orjson.dumps(_KnownProbe(manifest["fingerprint"], probe)))
    return probe


def _read_probe(file: Path, fingerprint: str) -> Probe | None:
    try:
        known = TypeAdapter(_KnownProbe).validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return known.probe if known.fingerprint == fingerprint else None
