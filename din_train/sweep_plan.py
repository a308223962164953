"""What a sweep takes: time, memory and disk of its cells, from a few seconds of training on each of its data sets."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from din_train.config import dump_config
from din_train.dataset.manifest import Manifest
from din_train.files import write_text
from din_train.plan.probe import START_SECONDS, Probe, count_work, run_probe
from din_train.sweep import Cell
from din_train.terminal import format_seconds

# Time of a training row against DIN's, by `model.name`; measured on two cores at the sizes of preset `din`. DIEN's and
# BST's grow with the histories, which had a median length of 7 there, and a largest one of 84.
RELATIVE_COST = {
    "lr": 0.4,
    "base": 0.6,
    "wide_deep": 0.7,
    "pnn": 0.6,
    "deepfm": 0.7,
    "din": 1.0,
    "tin": 0.7,
    "dien": 5.0,
    "bst": 7.5,
}
NUMBERS_PER_PARAMETER = 7  # on disk, at most: the best weights, and the three of Adam in each of two saved states


@dataclass(frozen=True)
class _KnownProbe:
    """What an earlier start measured, and the fingerprint of the data set that it measured on."""

    fingerprint: str
    probe: Probe


@dataclass(frozen=True)
class SweepPlan:
    """The cells in the order they are run, and the most that they take.

    seconds: of each cell. finished: names of the cells that are done. memory_bytes: of the largest process.
    disk_bytes: of all cells, while they run.
    """

    cells: Sequence[Cell]
    seconds: Mapping[str, float]
    finished: frozenset[str]
    memory_bytes: int
    disk_bytes: int
    prepared_bytes: int

    @property
    def seconds_left(self) -> float:
        return sum(self.seconds[cell.name] for cell in self.cells if cell.name not in self.finished)

    def __str__(self) -> str:
        return (
            f"{len(self.cells)} cells, {len(self.finished)} of them done; the others take at most "
            f"{format_seconds(self.seconds_left)} by a short probe on this machine (less where early stopping ends "
            f"one), about {self.memory_bytes / 1e9:.1f} GB of memory, and {self.disk_bytes / 1e9:.1f} GB "
            f"of disk for runs beside {self.prepared_bytes / 1e9:.2f} GB of prepared data"
        )


def build_sweep_plan(cells: Sequence[Cell], manifests: Mapping[Path, Manifest]) -> SweepPlan:
    """Estimate every cell from a short probe of one cell (DIN, if there is one) of those that differ in the last axis.

    Args:
        manifests: of the prepared data sets, by `data.prepared`.
    """
    probes: dict[tuple[str, ...], tuple[Cell, Probe]] = {}
    for cell in sorted(cells, key=lambda each: each.config.model.name != "din"):
        if cell.place[:-1] not in probes:
            probes[cell.place[:-1]] = cell, _probe(cell, manifests[cell.config.data.prepared])
    seconds = {}
    for cell in cells:
        probed, probe = probes[cell.place[:-1]]
        manifest = manifests[cell.config.data.prepared]
        seconds[cell.name] = estimate_seconds(cell, manifest, probed.config.model.name, probe)
    return SweepPlan(
        cells,
        seconds,
        finished=frozenset(cell.name for cell in cells if cell.run.is_finished),
        memory_bytes=max((probe.peak_bytes for _, probe in probes.values()), default=0),
        disk_bytes=sum(4 * NUMBERS_PER_PARAMETER * probes[cell.place[:-1]][1].parameters for cell in cells),
        prepared_bytes=sum(manifest.bytes for manifest in manifests.values()),
    )


def estimate_seconds(cell: Cell, manifest: Manifest, probed: str, probe: Probe) -> float:
    """The time of every epoch that the config allows, scored as often, and again for a refit.

    Args:
        probed: the `model.name` that the probe measured.
    """
    cost = RELATIVE_COST[cell.config.model.name] / RELATIVE_COST[probed] / probe.samples_per_second
    return START_SECONDS + count_work(cell.config, manifest) * cost


def build_sweep_table(plan: SweepPlan, axes: Sequence[str]) -> Table:
    """One row for each place in the grid.

    Args:
        axes: a title for each name of a place.
    """
    table = Table(*axes, "seeds", "done", "at most, each", title="the plan")
    for column in table.columns[len(axes) :]:
        column.justify = "right"
    places: dict[tuple[str, ...], list[Cell]] = {}
    for cell in plan.cells:
        places.setdefault(cell.place, []).append(cell)
    for place, cells in places.items():
        done = sum(cell.name in plan.finished for cell in cells)
        table.add_row(*place, str(len(cells)), str(done), format_seconds(plan.seconds[cells[0].name]))
    return table


def _probe(cell: Cell, manifest: Manifest) -> Probe:
    """The cell's model measured, or what an earlier start measured on the same data."""
    file = cell.out / "cells" / f"{'-'.join(cell.place)}.probe.json"
    with contextlib.suppress(FileNotFoundError, ValidationError):
        known = TypeAdapter(_KnownProbe).validate_json(file.read_bytes())
        if known.fingerprint == manifest.fingerprint:
            return known.probe
    config_file = file.parent / "probes" / f"{cell.name}.yaml"  # another sweep may be using the cell's own file
    write_text(config_file, dump_config(cell.config))
    probe = run_probe(config_file)
    write_text(file, orjson.dumps(_KnownProbe(manifest.fingerprint, probe)).decode())
    return probe
