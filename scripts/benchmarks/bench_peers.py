"""Measure training of DIN against other toolkits' own DIN: the same samples, sizes and machine, one after the other.

    python scripts/benchmarks/bench_peers.py --folder /tmp/bench --json peers.json
    python scripts/benchmarks/bench_peers.py --prepared prepared/electronics --samples 20480 --peers fuxictr

The samples are training samples of a log as large as Amazon Electronics, generated and prepared in the folder unless
`--prepared` names a data set. Every toolkit is installed, pinned, into a virtual environment of its own (3 GB of disk
together, more where pip gives torch's CUDA build), which stays with `--folder` and is used again. Only training steps
are timed, after a warm-up, on the CPU with as many threads as each library takes by itself. Padded arrays in memory
are what peers are given; ours builds its batches from the prepared data set, and that is in its time. Never run in CI.

Exit code 1: something could not be measured; the others are.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from child_process import MB, MeasurementError, run_child
from peers.environment import PEERS, provide_environment
from peers.measure import Settings
from peers.padded_samples import draw_padded_samples
from rich.console import Console
from rich.table import Table
from work_folder import work_folder

from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.errors import DinTrainError
from din_train.files import atomic_file

Figures = dict[str, Any]

HERE = Path(__file__).parent
MAKE_SAMPLE = HERE.parent / "data" / "make_sample.py"
OURS, OUR_WORKER = "din-train", "din_train_worker.py"
OF_A_ROUND = (
    *("samples_per_second", "timed_samples", "timed_seconds", "loss"),
    *("seconds", "cores_used", "peak_mb", "load_before"),
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


# The data.


def provide_data(folder: Path, preset: str) -> Path:
    """The prepared data set of a generated log, made if the folder lacks it."""
    logs, prepared = folder / preset, folder / f"prepared-{preset}"
    if (prepared / "manifest.json").is_file():
        return prepared
    reviews, items = (logs / f"{kind}_{preset.capitalize()}.json.gz" for kind in ("reviews", "meta"))
    if not (reviews.is_file() and items.is_file()):
        say(f"generating {logs}")
        run_child([sys.executable, MAKE_SAMPLE, "--preset", preset, logs], folder)
    say(f"preparing {prepared}")
    data = {"source": "amazon-2014", "reviews": reviews, "items": items, "prepared": prepared, "protocol": "paper"}
    sections = {"name": "bench", "data": data, "model": {"name": "din"}, "training": {"epochs": 1}}
    config = folder / f"{prepared.name}.yaml"
    config.write_text(json.dumps(sections, default=str), encoding="utf-8")  # JSON is YAML
    run_child([sys.executable, "-m", "din_train", "prepare", "--config", config], folder)
    return prepared


def count_samples(data: PreparedData, asked: int, settings: Settings) -> int:
    """The number of samples to train on: what is asked for and available, in whole batches.

    Raises:
        click.ClickException: if there is no batch after the warm-up.
    """
    there = len(data.samples(Split.TRAIN, settings.max_history_length))
    steps = min(asked, there) // settings.batch_size
    if steps <= settings.warm_up_steps:
        raise click.ClickException(
            f"{asked:,} samples asked for and {there:,} there, expected at least "
            f"{(settings.warm_up_steps + 1) * settings.batch_size:,}: {settings.warm_up_steps} batches of "
            f"{settings.batch_size:,} to warm up, and one to time"
        )
    return steps * settings.batch_size


# The runs.


def measure_in_turn(
    programs: dict[str, tuple[Path, Path]], task: Figures, scratch: Path, rounds: int, failures: dict[str, str]
) -> dict[str, list[Figures]]:
    """Run every worker once per round, so that a machine that slows down or speeds up does so for all.

    Args:
        programs: name -> the Python and the worker it runs.
        task: what `measure.read_task` reads but for `scratch`.
        failures: name -> line, added to; who fails is left out from then on.
    """
    results: dict[str, list[Figures]] = {name: [] for name in programs}
    for number in range(1, rounds + 1):
        for name, (python, worker) in programs.items():
            if name in failures:
                continue
            try:
                with tempfile.TemporaryDirectory(dir=scratch) as own:
                    file = Path(own) / "task.json"
                    file.write_text(json.dumps({**task, "scratch": own}, default=str), encoding="utf-8")
                    result = run_child([python, worker, file], Path(own))
                check_result(result)
            except MeasurementError as error:
                fail(failures, name, error)
                results[name] = []
                continue
            results[name].append(result)
            in_round = f", round {number} of {rounds}" if rounds > 1 else ""
            say(f"{name}: {result['samples_per_second']:,.0f} samples/s, loss {result['loss']:.4f}{in_round}")
    return {name: each for name, each in results.items() if each}


def fail(failures: dict[str, str], name: str, error: MeasurementError) -> None:
    """Keep and show the reason why a toolkit is not measured."""
    failures[name] = str(error)
    say(f"{name}: {error}", err=True)


def check_result(result: Figures) -> None:
    """Refuse a result without a figure: a worker that did not train cannot be compared.

    Raises:
        MeasurementError: if something is missing or is not a number.
    """
    for key in ("samples_per_second", "loss"):
        value = result.get(key)
        if not isinstance(value, float) or not np.isfinite(value):
            raise MeasurementError(f"its worker gave {value} for {key}, expected a number")


def measure(
    prepared: Path, work: Path, scratch: Path, samples: int, batch_size: int, rounds: int, peers: Sequence[str]
) -> Figures:
    """Draw the samples, provide the environments, run everything in turn, and show the table.

    Args:
        work: where the environments go; scratch: what is removed afterwards.
    """
    data = open_store(prepared)
    settings = Settings(
        item_ids=len(data.item_category_ids), category_ids=data.num_values["category"], batch_size=batch_size
    )
    count = count_samples(data, samples, settings)
    arrays = draw_padded_samples(data, count, max_history_length=settings.max_history_length, seed=settings.seed)
    np.savez(scratch / "samples.npz", **arrays)  # type: ignore[arg-type]
    shape = {
        "samples": count,
        "mean_history_length": float(arrays["history_length"].mean()),
        "positives": int(arrays["label"].sum()),
        "data_fingerprint": data.fingerprint,
    }
    say(f"{count:,} training samples, mean history {shape['mean_history_length']:.1f}")
    failures: dict[str, str] = {}
    programs = {OURS: (Path(sys.executable), HERE / "peers" / OUR_WORKER)}
    for name in peers:
        say(f"{name}: providing its environment")
        try:
            programs[name] = (provide_environment(PEERS[name], work), HERE / "peers" / PEERS[name].worker)
        except MeasurementError as error:
            fail(failures, name, error)
    task = {"samples": scratch / "samples.npz", "settings": asdict(settings), "prepared": prepared}
    results = summarise(measure_in_turn(programs, task, scratch, rounds, failures))
    if results:
        Console().print(build_table(results))
    return {
        "settings": {**asdict(settings), "rounds": rounds, "normalization": "softmax", "activation": "dice"},
        "samples": shape,
        "machine": describe_machine(),
        "results": results,
        "failures": failures,
    }


# The report.


def summarise(results: dict[str, list[Figures]]) -> list[Figures]:
    """One object per toolkit, ours first: the facts of the first round and the median speed of all rounds."""
    speeds = {name: statistics.median(each["samples_per_second"] for each in runs) for name, runs in results.items()}
    return [
        {
            "name": name,
            "samples_per_second": speeds[name],
            "ours_is_times_as_fast": speeds[OURS] / speeds[name] if OURS in speeds else None,
            "loss": runs[0]["loss"],
            "peak_mb": max(each["peak_mb"] for each in runs),
            "versions": runs[0]["versions"],
            "threads": runs[0]["threads"],
            "rounds": [{key: each[key] for key in OF_A_ROUND} for each in runs],
        }
        for name, runs in results.items()
    ]


def build_table(summary: list[Figures]) -> Table:
    """One row per toolkit."""
    table = Table()
    for heading in ("toolkit", "versions"):
        table.add_column(heading)
    for heading in ("samples/s", "ours / it", "loss", "peak MB"):
        table.add_column(heading, justify="right")
    for each in summary:
        ratio = each["ours_is_times_as_fast"]
        versions = "\n".join(f"{name} {version}" for name, version in each["versions"].items() if name != "python")
        table.add_row(
            each["name"],
            versions,
            f"{each['samples_per_second']:,.0f}",
            "" if ratio is None or each["name"] == OURS else f"{ratio:.1f}",
            f"{each['loss']:.4f}",
            f"{each['peak_mb']:,.0f}",
        )
    return table


def describe_machine() -> Figures:
    """What the figures depend on besides the software."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_mb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MB),
        "thread_variables": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
    }


def say(line: str, *, err: bool = False) -> None:
    """Print at once, also into a file."""
    click.echo(line, err=err)
    (sys.stderr if err else sys.stdout).flush()


# The command.


def parse_peers(ctx: click.Context, param: click.Parameter, text: str) -> tuple[str, ...]:
    """`deepctr,fuxictr` -> the two, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise click.BadParameter(f"received '{unknown[0]}', expected some of {','.join(PEERS)}", ctx, param)
    return names


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the log, the data set and the environments go, and stay.  [default: a temporary folder]",
)
@click.option(
    "--prepared",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A prepared data set to take the samples from.  [default: one of a generated log]",
)
@click.option(
    "--preset",
    type=click.Choice(["electronics", "sample"]),
    default="electronics",
    show_default=True,
    help="Of make_sample.py: the size of the generated log.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=102_400,
    show_default=True,
    help="Drawn from the training samples, in whole batches; the default takes the peers about a minute each.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=Settings.batch_size, show_default=True)
@click.option(
    "--rounds", type=click.IntRange(min=1), default=1, show_default=True, help="Of all in turn; the median counts."
)
@click.option("--peers", callback=parse_peers, default=",".join(PEERS), show_default=True, help="Which to measure.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write figures there.")
def main(
    folder: Path | None,
    prepared: Path | None,
    preset: str,
    samples: int,
    batch_size: int,
    rounds: int,
    peers: tuple[str, ...],
    json_path: Path | None,
) -> None:
    """Measure training of DIN: ours, then each peer's own, on the same samples."""
    if json_path is not None and not json_path.resolve().parent.is_dir():
        raise click.BadParameter(f"{json_path.parent}: no such folder", param_hint="--json")
    try:
        with work_folder(folder) as work, tempfile.TemporaryDirectory(dir=work, prefix="run-") as scratch:
            store = prepared.resolve() if prepared else provide_data(work, preset)
            figures = measure(store, work, Path(scratch), samples, batch_size, rounds, peers)
        if json_path is not None:
            with atomic_file(json_path) as temporary:
                temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except (DinTrainError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if figures["failures"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
