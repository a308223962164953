"""`din-train plan`: rows, bytes, memory, disk and time of a run before it begins, and what cannot fit."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table as ShownTable

from din_train import terminal
from din_train.config import Config, dump_config
from din_train.dataset.store import PreparedData, open_store
from din_train.earlier_run import check_warm_start
from din_train.errors import ConfigError
from din_train.files import write_text
from din_train.plan.machine import find_disk, find_gpu_memory, find_memory
from din_train.plan.model_size import ModelSize, measure_model
from din_train.plan.needs import (
    PARTS,
    DiskNeed,
    compute_memory,
    find_disk_problems,
    find_memory_problem,
    list_disk_needs,
    show_bytes,
)
from din_train.plan.planned_data import PlannedData, plan_data
from din_train.plan.probe import START_SECONDS, Probe, count_work, run_probe
from din_train.run_directory import RUNS, open_run_directory
from din_train.tensorflow_setup import start_tensorflow

# Parts that are in a GPU's memory if one trains.
_ON_GPU = {"weights": 0, "slots": 0, "dense_gradients": 0, "table_copy": 0}


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    memory: part -> bytes of a worker. memory_limit: of this machine. gpu_memory: bytes that a worker needs on its GPU
    and bytes that the GPU has, if a GPU trains and its driver says. probe: None if none was run.
    training_seconds: number of workers -> seconds at the least for all epochs, without what workers exchange.
    problems: one line for each thing that does not fit.
    """

    planned: PlannedData
    size: ModelSize
    memory: dict[str, int]
    memory_limit: int
    gpu_memory: tuple[int, int] | None
    disk: list[DiskNeed]
    probe: Probe | None
    training_seconds: dict[int, float]
    problems: list[str]


def plan(config: Config, *, workers: int, probed: bool, as_json: bool) -> None:
    """Show what a run will take; nothing is left on disk.

    Args:
        workers: how many share the training.
        probed: whether a few seconds of training are run, from which time and a step's memory are told.

    Raises:
        ConfigError: if it cannot fit, with the keys to change, or a warm start cannot be made.
        DataError: see `plan_data`.
    """
    check_warm_start(config, RUNS / config.name)
    start_tensorflow(config.training.device, deterministic=config.training.deterministic)
    with tempfile.TemporaryDirectory(prefix="din-train-plan-") as folder:
        made = build_plan(config, Path(folder), workers=workers, probed=probed)
    if as_json:
        terminal.show_json(describe_plan(made))
    else:
        _show_plan(made, workers)
    if made.problems:
        raise ConfigError(made.problems)


def build_plan(config: Config, folder: Path, *, workers: int = 1, probed: bool = True) -> Plan:
    """The plan of a run of this config.

    Args:
        folder: an existing one, for a part of the log; it may be removed afterwards.
    """
    planned = plan_data(config, folder)
    size, manifest = measure_model(config, planned.data), planned.manifest
    memory_limit, on_gpu = find_memory(), _uses_gpu()
    memory = compute_memory(config, size, manifest, batch_bytes=None) | _measure_earlier(config)
    if on_gpu:
        memory |= _ON_GPU
    gpu_memory = (size.bytes, has) if on_gpu and (has := find_gpu_memory()) is not None else None
    disk = list_disk_needs(
        config,
        size,
        run=RUNS / config.name,
        store_bytes=0 if planned.is_prepared else manifest.bytes,
        scratch_bytes=planned.scratch_bytes,
    )
    problems = _find_problems(config, memory, size, memory_limit, gpu_memory) + find_disk_problems(disk)
    probe = None
    if probed and not problems:
        probe = _probe(config, planned, folder)
        memory["step"] = _tell_step_bytes(config, planned, size, probe, on_gpu=on_gpu)
        problems = _find_problems(config, memory, size, memory_limit, gpu_memory)
    seconds = {}
    if probe is not None:
        of_one = count_work(config, manifest) / probe.samples_per_second
        seconds = {count: START_SECONDS + of_one / count for count in sorted({1, workers})}
    return Plan(planned, size, memory, memory_limit, gpu_memory, disk, probe, seconds, problems)


def _measure_earlier(config: Config) -> dict[str, int]:
    """What a warm start holds beside its own model as long as it trains: weights, and slots if they are kept."""
    warm_start, base = config.training.warm_start, config.vocabulary.base
    if warm_start is None or base is None:
        return {}
    size = measure_model(open_run_directory(warm_start.run)[1], open_store(base, temp_folder=config.data.temp_folder))
    return {"earlier_model": size.bytes if warm_start.optimizer == "keep" else size.weight_bytes}


def _uses_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


def _find_problems(
    config: Config, memory: dict[str, int], size: ModelSize, limit: int, gpu_memory: tuple[int, int] | None
) -> list[str]:
    found = [find_memory_problem(config, memory, size, limit, "this machine")]
    if gpu_memory is not None:
        parts = {"weights": size.weight_bytes, "slots": size.slot_bytes}
        found.append(find_memory_problem(config, parts, size, gpu_memory[1], "its GPU"))
    return [problem for problem in found if problem is not None]


def _probe(config: Config, planned: PlannedData, folder: Path) -> Probe:
    data = config.data.model_copy(update={"prepared": planned.probed.folder.absolute()})
    file = folder / "probe.yaml"
    write_text(file, dump_config(config.model_copy(update={"data": data})))
    return run_probe(file)


def _tell_step_bytes(config: Config, planned: PlannedData, size: ModelSize, probe: Probe, *, on_gpu: bool) -> int:
    """What the probe's process had beside the parts that are known of it."""
    of_probe = size if planned.is_exact else measure_model(config, planned.probed)
    known = compute_memory(config, of_probe, planned.probed.manifest, batch_bytes=None)
    known.pop("first_model", None)  # since a probe has no refit
    if on_gpu:
        known |= _ON_GPU
    return max(0, probe.peak_bytes - sum(known.values()))


def describe_plan(plan: Plan) -> dict[str, Any]:
    """The plan as JSON has it; bytes and seconds."""
    manifest, size = plan.planned.manifest, plan.size
    return {
        "exact": plan.planned.is_exact,
        "basis": plan.planned.basis,
        "samples": dict(manifest.samples),
        "counts": {name: manifest.counts[name] for name in ("events", "users", "items") if name in manifest.counts},
        "store_bytes": manifest.bytes,
        "tables": [asdict(table) for table in size.tables],
        "weight_bytes": size.weight_bytes,
        "slot_bytes": size.slot_bytes,
        "memory": plan.memory,
        "memory_bytes": sum(plan.memory.values()),
        "memory_limit_bytes": plan.memory_limit,
        "gpu_memory_bytes": plan.gpu_memory and plan.gpu_memory[0],
        "gpu_memory_limit_bytes": plan.gpu_memory and plan.gpu_memory[1],
        "disk": [{"folder": str(need.folder), "bytes": need.bytes, "for": need.what} for need in plan.disk],
        "preparation_seconds": round(plan.planned.preparation_seconds, 1),
        "samples_per_second": plan.probe and round(plan.probe.samples_per_second, 1),
        "training_seconds": {str(workers): round(each, 1) for workers, each in plan.training_seconds.items()},
        "problems": plan.problems,
    }


def _show_plan(plan: Plan, workers: int) -> None:
    planned, size, manifest = plan.planned, plan.size, plan.planned.manifest
    shown = ShownTable("what", "how much", show_header=False, title="the plan")
    shown.columns[1].justify = "right"
    shown.add_row("rows and ids", planned.basis)
    for name in ("events", "users", "items"):
        shown.add_row(name, f"{manifest.counts[name]:,}")
    for split, count in manifest.samples.items():
        shown.add_row(f"rows: {split}", f"{count:,}")
    shown.add_row("prepared data set, mapped into memory as page cache", show_bytes(manifest.bytes))
    shown.add_section()
    for table in size.tables:
        what = f"table of {table.field}: {table.rows:,} x {table.width}, and its slots"
        shown.add_row(escape(what), f"{show_bytes(table.weight_bytes)} + {show_bytes(table.slot_bytes)}")
    shown.add_section()
    for name, count in plan.memory.items():
        shown.add_row(f"memory: {PARTS[name]}", show_bytes(count))
    of_worker, limit = sum(plan.memory.values()), show_bytes(plan.memory_limit)
    shown.add_row("memory of a worker", f"{show_bytes(of_worker)} of {limit}")
    if workers > 1:
        what = f"memory of {workers} workers, if all are on this machine"
        shown.add_row(what, f"{show_bytes(workers * of_worker)} of {limit}")
    if plan.gpu_memory is not None:
        needed, has = plan.gpu_memory
        shown.add_row("memory of its GPU: weights and slots", f"{show_bytes(needed)} of {show_bytes(has)}")
    shown.add_section()
    for need in plan.disk:
        free = find_disk(need.folder)[1]
        what = f"disk: {need.what}, in {need.folder}"
        shown.add_row(escape(what), f"{show_bytes(need.bytes)} of {show_bytes(free)}")
    shown.add_section()
    if planned.preparation_seconds:
        shown.add_row("time of preparation", terminal.format_seconds(planned.preparation_seconds))
    for count, seconds in plan.training_seconds.items():
        on = "this machine" if count == 1 else f"{count} workers like it, if they exchanged nothing"
        shown.add_row(f"time of all epochs on {on}", terminal.format_seconds(seconds))
    if plan.probe is not None:
        shown.add_row("training rows per second, in a short probe", f"{plan.probe.samples_per_second:,.0f}")
    terminal.show_table(shown)


def summarize(config: Config, data: PreparedData, run: Path, *, workers: int = 1) -> tuple[str, str]:
    """Two lines that `fit` prints before it trains: what is certain of memory and disk, once TensorFlow has started.

    Args:
        workers: how many share this machine's memory; each has a GPU of its own, if there are any.

    Raises:
        ConfigError: if weights and slots alone have more bytes than the memory that holds them.
    """
    size = measure_model(config, data, tables_only=True)
    on_gpu = _uses_gpu()
    where, has = ("its GPU", find_gpu_memory()) if on_gpu else ("this machine", find_memory())
    sharing = 1 if on_gpu else workers
    parts = {"weights": size.weight_bytes, "slots": size.slot_bytes}
    problem = has and find_memory_problem(config, parts, size, has, where, workers=sharing)
    if problem:
        raise ConfigError(problem)
    samples = data.manifest.samples
    largest = max(size.tables, key=lambda table: table.bytes)
    disk = list_disk_needs(config, size, run=run, store_bytes=0, scratch_bytes=0)
    in_run = next((need.bytes for need in disk if need.folder == run), 0)
    return (
        f"plan: {samples['train']:,} training rows, {data.num_items:,} items; weights and slots "
        f"{show_bytes(size.bytes)} (table of {largest.field} {show_bytes(largest.bytes)})"
        + (f" in each of {sharing} workers," if sharing > 1 else "")
        + (f" of {show_bytes(has)} that {where} has" if has else ""),
        f"plan: {run} takes at most {show_bytes(in_run)} of {show_bytes(find_disk(run)[1])} free on its disk; "
        "`din-train plan` estimates the time",
    )
