"""What a sweep takes: time, memory and disk of its cells, from a few seconds of training on each of its data sets.

    python -m din_train.sweep_plan CONFIG

is that measurement, in a process of its own: it trains the first rows of a shuffled order for two short epochs, and
prints a JSON line with the figures of the second.
"""

import contextlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from rich.table import Table

from din_train.config import Config, dump_config, load_config
from din_train.dataset.manifest import Manifest
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.dataset.training_rows import changes_between_epochs, draw_epoch, replaces_negatives
from din_train.errors import RunError
from din_train.files import write_text
from din_train.sweep import Cell, Count, format_seconds

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
SCORING_COST = 0.4  # time of a scored row against one trained on
START_SECONDS = 12.0  # of a process: TensorFlow, tracing, the report
NUMBERS_PER_PARAMETER = 7  # on disk, at most: the best weights, and the three of Adam in each of two saved states
PROBE_STEPS = {"many": 300, "few": 60}  # per epoch: with batches below 256 rows, and with others


@dataclass(frozen=True)
class Probe:
    """samples_per_second: training, batches included. parameters: trainable numbers. peak_bytes: of the process."""

    samples_per_second: Annotated[float, Field(gt=0, lt=1e12)]
    parameters: Count
    peak_bytes: Count


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
    training = cell.config.training
    rows = {split: _count_rows(cell.config, manifest, split) for split in manifest.samples}
    cost = RELATIVE_COST[cell.config.model.name] / RELATIVE_COST[probed] / probe.samples_per_second
    scored = manifest.samples
    watched = 0 if cell.config.data.protocol == "paper" else scored["validation"]
    watched = scored["test"] if training.select_on == "test" else watched
    work = training.epochs * (rows["train"] + SCORING_COST * watched) + SCORING_COST * scored["test"]
    if training.refit:
        work += training.epochs * (rows["train"] + rows["validation"])
    return START_SECONDS + float(work * cost)


def _count_rows(config: Config, manifest: Manifest, split: str) -> float:
    """How many rows of a split are trained on."""
    rows = manifest.samples[split]
    if not replaces_negatives(manifest, config):
        return rows
    return rows * (manifest.positives_share[split] or 0.0) * (1 + config.negatives.per_positive)


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


def run_probe(config_file: Path) -> Probe:
    """Measure in a process of its own, so that the sweep's process never starts TensorFlow.

    Raises:
        RunError: if it fails, with the last line it printed.
    """
    command = [sys.executable, "-m", "din_train.sweep_plan", str(config_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RunError(f"{config_file}: the probe for the plan's times failed: {last}")
    return Probe(**orjson.loads(done.stdout.splitlines()[-1]))


def measure_training(config_file: Path) -> Probe:
    """The measurement itself."""
    import numpy as np

    from din_train.tensorflow_setup import start_tensorflow

    config = load_config(config_file, ["training.epochs=2", "training.select_on=none", "training.refit=false"])
    start_tensorflow(config.training.device)
    from din_train.run_directory import RunDirectory
    from din_train.scoring import build_configured_model, build_training_batches
    from din_train.training.regularization import build_regularizer
    from din_train.training.trainer import fit_model

    data = open_store(config.data.prepared, temp_folder=config.data.temp_folder)
    samples = data.samples(Split.TRAIN, config.data.max_history_length)
    if changes_between_epochs(config):
        samples = draw_epoch(data, config, samples, 0)
        still = {"negatives": {"resample": "never"}, "training": {"leave_one_out": 0.0}}  # for the rows that are taken
        sections = {name: getattr(config, name).model_copy(update=keys) for name, keys in still.items()}
        config = config.model_copy(update=sections)
    batch_size = config.training.batch_size
    rows = batch_size * PROBE_STEPS["many" if batch_size < 256 else "few"]
    lists = samples.find_lists()  # which stay whole, since their rows share a history
    places = np.random.default_rng(0).permutation(int(lists.max(initial=-1)) + 1)
    samples = samples.take(np.argsort(places[lists], kind="stable")[:rows])
    batches = build_training_batches(config, data, samples)
    model = build_configured_model(config, data)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.checkpoints.mkdir()
        regularizer = build_regularizer(
            config.training.regularization,
            model,
            data,
            samples,
            unknown_rate=config.vocabulary.unknown_rate,
            search=batches.search,
        )
        fit_model(model, batches, config, run, watched=None, data_fingerprint=data.fingerprint, regularizer=regularizer)
        second = run.read_history()[1]
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Probe(second["samples_per_second"], parameters, peak)


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        figures = measure_training(Path(sys.argv[1]))
    print(orjson.dumps(figures).decode(), flush=True)
