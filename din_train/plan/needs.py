"""Memory and disk that a run needs, part by part, and which keys to change if they are not there."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from din_train.config import Config
from din_train.dataset.manifest import Manifest
from din_train.plan.machine import find_disk
from din_train.plan.model_size import ModelSize, TableSize

# Of a process that trains a model of no size: Python, TensorFlow and its graphs, the libraries. Measured, see
# docs/scaling.md.
PROCESS_BYTES = 1_000_000_000
# Of the rows in memory: their order, histories and lists, for each training row; measured likewise.
ROW_BYTES = 60
# Part of a worker's memory -> its title.
PARTS = {
    "process": "process",
    "weights": "weights",
    "slots": "optimiser's slots",
    "dense_gradients": "dense gradients",
    "table_copy": "a copy of the largest table",
    "rows": "rows",
    "first_model": "the first training's model, beside the refit's",
    "earlier_model": "the earlier model of a warm start",
    "step": "batches and a step",
}

# How many numbers each optimiser keeps beside a weight, the most first: what to change to, in this order.
_FEWER_SLOTS = {"adam": ("adagrad", "sgd"), "adamw": ("adagrad", "sgd"), "adagrad": ("sgd",), "sgd": ()}
_SLOTS = {"adam": 2, "adamw": 2, "adagrad": 1, "sgd": 0}


@dataclass(frozen=True)
class DiskNeed:
    """What a run puts into a folder: bytes at the most, and what for."""

    folder: Path
    bytes: int
    what: str
    key: str


def compute_memory(config: Config, size: ModelSize, manifest: Manifest, *, batch_bytes: int | None) -> dict[str, int]:
    """Part, a key of `PARTS`, -> bytes of a process that trains on the CPU.

    Args:
        batch_bytes: of the batches and what a step computes, from a probe; None leaves them out.
    """
    tables = sum(table.weight_bytes for table in size.tables)
    dense = size.dense_bytes + (2 * tables if config.training.regularization.name == "dense_l2" else 0)
    parts = {
        "process": PROCESS_BYTES,
        "weights": size.weight_bytes,
        "slots": size.slot_bytes,
        "dense_gradients": dense,
        # TensorFlow makes one at the first step that changes rows, and saving makes one of a variable at a time
        "table_copy": max((table.bytes for table in size.tables), default=0),
        "rows": ROW_BYTES * sum(manifest.samples.values()),
    }
    if config.training.refit:
        parts["first_model"] = size.bytes
    return parts if batch_bytes is None else parts | {"step": batch_bytes}


def list_disk_needs(
    config: Config, size: ModelSize, *, run: Path, store_bytes: int, scratch_bytes: int
) -> list[DiskNeed]:
    """What a run puts on disks at the most.

    Args:
        run: its directory. store_bytes, scratch_bytes: of the data set that is still to make; 0 if it is there.
    """
    keep, prepared = config.training.keep_checkpoints, config.data.prepared
    states = (keep + 1) * size.bytes  # the oldest goes when the newest is whole
    weights = (keep + 2) * size.weight_bytes  # the best, those that replace them, and each that a state goes on from
    key = "training.keep_checkpoints"
    needs = [
        DiskNeed(prepared, store_bytes, "the prepared data set", "data.prepared"),
        DiskNeed(
            config.data.temp_folder or prepared, scratch_bytes, "temporary files of preparation", "data.temp_folder"
        ),
        DiskNeed(run, states + weights, f"{keep} saved states and one being written, and the best weights", key),
        DiskNeed(Path(tempfile.gettempdir()), size.weight_bytes, "a copy of the best weights to check", "TMPDIR"),
    ]
    return [need for need in needs if need.bytes]


def find_memory_problem(
    config: Config, parts: Mapping[str, int], size: ModelSize, has: int, where: str, *, workers: int = 1
) -> str | None:
    """One line if the parts need more memory than there is, with the keys to change and the numbers that would fit.

    Args:
        parts: of one worker. has: all of them have together. where: `this machine` or `its GPU`.
    """
    needed, has = sum(parts.values()), has // workers
    if needed <= has:
        return None
    largest = sorted(parts.items(), key=lambda part: -part[1])[:2]
    of = ", ".join(f"{PARTS[name]} {show_bytes(count)}" for name, count in largest)
    advice = list(_advise(config, size, needed - has, is_copied=parts.get("table_copy", 0) > 0))
    if not advice and parts.get("step", 0) > needed - has:
        share = 1 - (needed - has) / parts["step"]
        advice = [f"training.batch_size to at most {int(config.training.batch_size * share):,}"]
    do = f"set {' or '.join(advice)}" if advice else "use a larger machine"
    of_each, fewer = (f" for each of {workers} workers", ", or fewer workers") if workers > 1 else ("", "")
    return (
        f"memory: a worker needs {show_bytes(needed)} ({of}), and {where} has {show_bytes(has)}{of_each}; {do}{fewer}"
    )


def _advise(config: Config, size: ModelSize, excess: int, *, is_copied: bool) -> Iterator[str]:
    """Key and value of each single change after which a worker takes less by `excess` bytes.

    Args:
        is_copied: whether the largest table counts twice.
    """
    copied = size.tables[0] if is_copied and size.tables else None

    def find_largest(attribute: str) -> tuple[str, list[TableSize], int] | None:
        """The key whose tables take most, those tables, and what they take."""
        found: dict[str, list[TableSize]] = {}
        for table in size.tables:
            found.setdefault(getattr(table, attribute) or "", []).append(table)
        taken = {
            key: sum(table.bytes * (2 if table is copied else 1) for table in tables)
            for key, tables in found.items()
            if key
        }
        largest = max(taken, key=lambda key: taken[key], default=None)
        return None if largest is None else (largest, found[largest], taken[largest])

    if largest := find_largest("rows_key"):
        key, tables, taken = largest
        rows = max(table.rows for table in tables)
        fits = rows - -(-excess * rows // taken) - 2  # without the two reserved ids
        if fits >= 2:
            yield f"{key} to at most {fits:,} (it has {rows:,} rows)"
    if largest := find_largest("width_key"):
        key, tables, taken = largest
        width = tables[0].width
        fits = width - -(-excess * width // taken)
        if fits >= 1:
            yield f"{key} to at most {fits} (it is {width})"
    name = config.training.optimizer.name
    slots = size.slot_bytes + (copied.slot_bytes if copied else 0)
    for other in _FEWER_SLOTS[name]:
        if slots * (1 - _SLOTS[other] / _SLOTS[name]) >= excess:
            yield f"training.optimizer.name to {other}"
            break


def find_disk_problems(needs: list[DiskNeed]) -> list[str]:
    """One line for each disk that has less room than is needed."""
    by_disk: dict[int, list[DiskNeed]] = {}
    free = {}
    for need in needs:
        disk, free_bytes = find_disk(need.folder)
        by_disk.setdefault(disk, []).append(need)
        free[disk] = free_bytes
    problems = []
    for disk, on_it in by_disk.items():
        needed = sum(need.bytes for need in on_it)
        if needed > free[disk]:
            largest = max(on_it, key=lambda need: need.bytes)
            problems.append(
                f"disk: {largest.folder}: a run needs {show_bytes(needed)} there, most of it for {largest.what}, and "
                f"{show_bytes(free[disk])} are free; free some, or change {largest.key}"
            )
    return problems


def show_bytes(count: float) -> str:
    """`1.2 GB`, `350 MB`, `12 kB`."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"
