"""What a sweep takes: time, memory and disk of its cells, from a few seconds of training of some of them.

OUT/cells/probes/<model>-<hash>.json    what such a training measured; the hash is `by_cost`
OUT/cells/probes/<cell>.yaml            the config of that training
"""

import contextlib
import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from din_train.config import dump_config, list_values
from din_train.dataset.manifest import Manifest
from din_train.errors import RunError
from din_train.files import write_text
from din_train.plan.probe import START_SECONDS, Probe, count_work, run_probe
from din_train.sweep import Cell
from din_train.terminal import format_seconds, say

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

# Keys that change neither the time of a training row nor the memory and the parameters of a model, and `model.name`,
# for which there are the factors above. `count_work` reckons with those that say how many rows there are.
_SAME_COST = (
    "name", "seed", "model.name", "data.prepared", "metrics.", "tracking.", "training.epochs", "training.select_on",
    "training.refit", "training.calibration", "training.early_stopping.", "training.evaluation_batch_size",
    "training.keep_checkpoints", "training.optimizer.learning_rate", "training.optimizer.weight_decay",
    "training.optimizer.schedule.", "training.regularization.strength", "training.warm_start.",
)  # fmt: skip


@dataclass(frozen=True)
class SweepPlan:
    """The cells in the order they are run, and the most that they take.

    seconds: of each cell. finished: names of the cells that are done. unknown: of those whose probe failed, which
    count as nothing. memory_bytes: of the largest process. disk_bytes: of all cells, while they run.
    """

    cells: Sequence[Cell]
    seconds: Mapping[str, float]
    finished: frozenset[str]
    unknown: frozenset[str]
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
            + (f"; not counted: {len(self.unknown)} cells whose probe failed" if self.unknown else "")
        )


def by_last_axis(cell: Cell, manifest: Manifest) -> Hashable:
    """Cells that differ in the last axis of the grid share a probe."""
    del manifest
    return cell.place[:-1]


def by_cost(cell: Cell, manifest: Manifest) -> str:
    """Cells share a probe if they differ in `_SAME_COST` alone: a hash of all other keys and of the data set."""
    keys = {key: value for key, value in list_values(cell.config) if not key.startswith(_SAME_COST)}
    return hashlib.sha256(orjson.dumps([manifest.fingerprint, keys], option=orjson.OPT_SORT_KEYS)).hexdigest()


def build_sweep_plan(
    cells: Sequence[Cell],
    manifests: Mapping[Path, Manifest],
    share: Callable[[Cell, Manifest], Hashable] = by_last_axis,
) -> SweepPlan:
    """Estimate every cell from a short probe of one cell (DIN, if there is one) of those that share it.

    Args:
        manifests: of the prepared data sets, by `data.prepared`. share: cells of which it says the same share a
            probe.

    Raises:
        RunError: if all probes failed.
    """
    shared: dict[Hashable, list[Cell]] = {}
    for cell in sorted(cells, key=lambda each: each.config.model.name != "din"):
        shared.setdefault(share(cell, manifests[cell.config.data.prepared]), []).append(cell)
    seconds: dict[str, float] = {}
    probes: dict[str, Probe] = {}
    failures: list[str] = []
    for probed, *others in shared.values():
        try:
            probe = _probe(probed, manifests[probed.config.data.prepared])
        except RunError as error:
            failures += error.problems
            continue
        for cell in (probed, *others):
            manifest = manifests[cell.config.data.prepared]
            seconds[cell.name] = estimate_seconds(cell, manifest, probed.config.model.name, probe)
            probes[cell.name] = probe
    if failures and not probes:
        raise RunError(failures)
    for line in failures:
        say(f"warning: {line}")
    return SweepPlan(
        cells,
        {cell.name: seconds.get(cell.name, 0.0) for cell in cells},
        finished=frozenset(cell.name for cell in cells if cell.run.is_finished),
        unknown=frozenset(cell.name for cell in cells if cell.name not in probes),
        memory_bytes=max((probe.peak_bytes for probe in probes.values()), default=0),
        disk_bytes=sum(4 * NUMBERS_PER_PARAMETER * probe.parameters for probe in probes.values()),
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
        name = cells[0].name
        most = "unknown" if name in plan.unknown else format_seconds(plan.seconds[name])
        table.add_row(*place, str(len(cells)), str(done), most)
    return table


def _probe(cell: Cell, manifest: Manifest) -> Probe:
    """What the cell's training takes: measured now, or what an earlier start measured of an equal one."""
    folder = cell.out / "cells" / "probes"
    file = folder / f"{cell.config.model.name}-{by_cost(cell, manifest)[:16]}.json"
    with contextlib.suppress(FileNotFoundError, ValidationError):
        return TypeAdapter(Probe).validate_json(file.read_bytes())
    say(f"{cell.name}: a short probe of its training")
    config_file = folder / f"{cell.name}.yaml"  # another sweep may be using the cell's own file
    write_text(config_file, dump_config(cell.config))
    probe = run_probe(config_file)
    write_text(file, orjson.dumps(probe).decode())
    return probe
