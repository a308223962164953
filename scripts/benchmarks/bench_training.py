"""Training and scoring speed of DIN at Electronics' sizes: ours, a textbook's, and what the matrix products allow.

    make bench                                                        everything, about fifteen minutes on two cores
    python scripts/benchmarks/bench_training.py --folder /tmp/bench --json figures.json
    python scripts/benchmarks/bench_training.py --prepared prepared/electronics --parts speed --rounds 2

Rows are measured in turn, each in a process of its own, and the best round counts: other work on the machine only
ever slows one down. The log is generated in Electronics' shape unless a prepared data set is given. `ours` is the whole
of `fit`, batches included. The textbook is the faster of plain TensorFlow (`plain_tensorflow.py`, its batches built
before the clock starts) and plain Keras (`textbook.py`, batches included) on the same samples. The bound is the time
that the float32 products of our own step take alone if each row has its own history. Figures decide nothing: the exit
code is 0 whatever they are.
"""

import json
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
from child_process import run_child
from rich.console import Console
from rich.table import Table
from work_folder import work_folder

HERE = Path(__file__).parent
MAKE_SAMPLE = HERE.parent / "data" / "make_sample.py"
CONFIG = HERE.parents[1] / "configs" / "bench_electronics.yaml"
PARTS = ("speed", "sharing", "scoring", "fit", "growth", "workers")
BATCH_SIZES = (32, 1024, 8192)
OPTIMIZERS = ("sgd", "adam")

# Samples of a measurement: about ten seconds each on two cores.
SAMPLES = {"ours": {32: 40_000, 1024: 250_000, 8192: 250_000}, "textbook": {32: 6_000, 1024: 25_000, 8192: 33_000}}
SAMPLES["plain"] = SAMPLES["textbook"]

# What the targets ask: ours over the textbook, and over the bound.
TARGETS = {(1024, "sgd"): (10, 0.60), (1024, "adam"): (12, 0.45), (32, "sgd"): (4, None), (32, "adam"): (4, None)}

# Negatives per positive -> how many times as fast one history per list has to be.
SHARING_TARGETS = {1: 1.25, 4: 1.5, 9: None}

# Logs of one size each way, and of four times the users, the items, the events of a user.
GROWTH = {
    "base": {"users": 24_000, "items": 16_000, "reviews": 210_000},
    "4x users": {"users": 96_000, "items": 16_000, "reviews": 840_000},
    "4x items": {"users": 24_000, "items": 64_000, "reviews": 210_000},
    "4x events a user": {"users": 24_000, "items": 16_000, "reviews": 840_000},
}

Figures = dict[str, Any]


def measure(what: str, folder: Path, prepared: Path, **task: Any) -> Figures:
    """One measurement in a process of its own."""
    given = {"what": what, "prepared": str(prepared), **task}
    return run_child([sys.executable, HERE / "training_worker.py", json.dumps(given)], folder)


def measure_best(rounds: int, what: str, folder: Path, prepared: Path, **task: Any) -> Figures:
    """The fastest of several."""
    results = [measure(what, folder, prepared, **task) for _ in range(rounds)]
    return max(results, key=lambda result: result["samples_per_second"])


def measure_speed(folder: Path, prepared: Path, rounds: int, batch_sizes: Sequence[int]) -> list[Figures]:
    """Training at each batch size with each optimiser: ours, the textbook's, the bound."""
    rows = []
    for batch_size in batch_sizes:
        bounds = [
            measure_best(rounds, "bound", folder, prepared, batch_size=batch_size, samples=50_000, threads=threads)
            for threads in ("ours", "tensorflow")
        ]
        bound = max(each["samples_per_second"] for each in bounds)
        for optimizer in OPTIMIZERS:
            task = {"batch_size": batch_size, "optimizer": optimizer}
            ours, plain, keras = (
                measure_best(rounds, what, folder, prepared, samples=SAMPLES[what][batch_size], **task)
                for what in ("ours", "plain", "textbook")
            )
            speed = ours["samples_per_second"]
            textbook = max(plain["samples_per_second"], keras["samples_per_second"])
            row = {
                **task,
                "ours": speed,
                "textbook": textbook,
                "plain": plain["samples_per_second"],
                "keras": keras["samples_per_second"],
                "ratio": speed / textbook,
                "bound": bound,
                "of_bound": speed / bound,
                "input_wait": ours["input_wait"],
                "targets": TARGETS.get((batch_size, optimizer)),
            }
            say(f"batch {batch_size}, {optimizer}: {describe(row)}")
            rows.append(row)
    return rows


def measure_sharing(folder: Path, prepared: Path) -> list[Figures]:
    """Steps at batch 1024 with 1, 4 and 9 negatives per positive, and 500 candidates, against one history per row."""
    task = {"batch_size": 1024, "optimizer": "adam", "samples": 40_000}
    rows = []
    for negatives, target in SHARING_TARGETS.items():
        given = {**task, "negatives": negatives, "steps": 6}
        rows.append({"negatives": negatives, "target": target, **measure("sharing", folder, prepared, **given)})
    given = {**task, "candidates": 500, "steps": 12}
    rows.append({"candidates": 500, "target": 2.0, **measure("candidates", folder, prepared, **given)})
    for row in rows:
        what = f"{row['negatives']} negatives" if "negatives" in row else f"{row['candidates']} candidates"
        say(
            f"{what}, one history: {row['ratio']:.2f} times as fast as one per row, {row['cpu_ratio']:.2f} in CPU time "
            f"(target {row['target']})"
        )
    return rows


def measure_scoring(folder: Path, prepared: Path, rounds: int) -> Figures:
    """Scoring in evaluation's batches."""
    ours = measure_best(rounds, "ours-scores", folder, prepared, batch_size=1024, samples=400_000)
    textbook = measure_best(rounds, "textbook-scores", folder, prepared, batch_size=1024, samples=60_000)
    row = {
        "ours": ours["samples_per_second"],
        "textbook": textbook["samples_per_second"],
        "ratio": ours["samples_per_second"] / textbook["samples_per_second"],
    }
    say(f"scoring: {row['ours']:,.0f} samples/s, {row['ratio']:.1f} x the textbook's (target 10)")
    return row


def measure_fit(folder: Path, prepared: Path) -> Figures:
    """An epoch of `din-train fit` over the whole training split, and the memory it takes."""
    run = folder / "run"
    overrides = [f"data.prepared={prepared}", "training.device=cpu", *_name_log(prepared)]
    command = [sys.executable, "-m", "din_train", "fit", "--config", CONFIG, "--run-dir", run, "--overwrite"]
    result = run_child([*command, *[part for each in overrides for part in ("--set", each)]], folder)
    (epoch,) = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    row = {
        "samples_per_second": epoch["samples_per_second"],
        "input_wait": epoch["input_wait"],
        "peak_mb": result["peak_mb"],
        "seconds": result["seconds"],
    }
    say(
        f"fit, one epoch of everything: {row['samples_per_second']:,.0f} samples/s, input wait {row['input_wait']:.2%} "
        f"(target 3 %), peak {row['peak_mb']:,.0f} MB (target 2,500)"
    )
    return row


def measure_growth(folder: Path, rounds: int) -> list[Figures]:
    """Samples/s on logs of four times the users, items or events."""
    shortened = ["--metadata-rows=100000", "--text-length=25"]  # training sees neither
    logs = {
        name: provide_data(
            folder / name.replace(" ", "-"), [*shortened, *[f"--{key}={value}" for key, value in sizes.items()]]
        )
        for name, sizes in GROWTH.items()
    }
    results: dict[str, list[Figures]] = {name: [] for name in logs}
    for _ in range(rounds):  # all in turn, so that a busy minute does not hit one log alone
        for name, prepared in logs.items():
            samples = 40_000 if "events" in name else 150_000  # of long histories and of short ones
            task = {"batch_size": 1024, "samples": samples, "optimizer": "adam"}
            results[name].append(measure("ours", folder, prepared, **task))
    rows: list[Figures] = []
    for name, measured in results.items():
        best = max(measured, key=lambda result: result["samples_per_second"])
        row = {"log": name, **GROWTH[name], **{key: best[key] for key in ("samples_per_second", "mean_history")}}
        row["behaviours_per_second"] = row["samples_per_second"] * row["mean_history"]
        base = rows[0] if rows else row
        row["of_base"] = row["samples_per_second"] / base["samples_per_second"]
        row["behaviours_of_base"] = row["behaviours_per_second"] / base["behaviours_per_second"]
        say(
            f"{name}: {row['samples_per_second']:,.0f} samples/s, {row['of_base']:.2f} of the base's; mean history "
            f"{row['mean_history']:.1f}, {row['behaviours_per_second']:,.0f} behaviours/s, "
            f"{row['behaviours_of_base']:.2f} of the base's"
        )
        rows.append(row)
    return rows


def measure_workers(folder: Path, prepared: Path) -> list[Figures]:
    """Training at batch 8192 by one process, and by two workers on this machine, which share its cores."""
    task = {"what": "ours", "prepared": str(prepared), "batch_size": 8192, "samples": 100_000, "optimizer": "adam"}
    command = [sys.executable, HERE / "training_worker.py", json.dumps(task)]
    rows = []
    for count in (1, 2):
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in listeners]
        for each in listeners:
            each.close()
        cluster = {"worker": addresses}
        tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(count)]
        with ThreadPoolExecutor(count) as pool:
            of_workers = list(
                pool.map(
                    lambda each, count=count: run_child(
                        command, folder, {"TF_CONFIG": json.dumps(each)} if count > 1 else {}
                    ),
                    tasks,
                )
            )
        rows.append({"workers": count, **of_workers[0]})
        say(
            f"{count} worker{'s' if count > 1 else ''}: {rows[-1]['samples_per_second']:,.0f} samples/s, "
            f"{rows[-1]['collectives']} collectives per step (target: 6 at most), loss {rows[-1]['loss']:.6f}, "
            f"peak {rows[-1]['peak_mb']:,.0f} MB each"
        )
    return rows


def provide_data(folder: Path, options: list[str]) -> Path:
    """The prepared data set in `folder`, generated if it is missing."""
    prepared = folder / "prepared"
    if not (prepared / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        say(f"generating a log in {folder}")
        make_sample = [sys.executable, MAKE_SAMPLE, "--preset", "electronics", *options, folder / "logs"]
        run_child(make_sample, folder)
        overrides = [f"data.prepared={prepared}", *_name_log(prepared)]
        command = [sys.executable, "-m", "din_train", "prepare", "--config", CONFIG]
        run_child([*command, *[part for each in overrides for part in ("--set", each)]], folder)
    return prepared


def _name_log(prepared: Path) -> list[str]:
    logs = prepared.parent / "logs"
    files = {"reviews": "reviews_Electronics.json.gz", "items": "meta_Electronics.json.gz"}
    return [f"data.{key}={logs / name}" for key, name in files.items()]


def describe(row: Figures) -> str:
    """The figures of a row beside its targets."""
    of_textbook, of_bound = row["targets"] or (None, None)
    return (
        f"{row['ours']:,.0f} samples/s, {row['ratio']:.1f} x the textbook's"
        f"{f' (target {of_textbook})' if of_textbook else ''}, {row['of_bound']:.0%} of the products' bound"
        f"{f' (target {of_bound:.0%})' if of_bound else ''}"
    )


def build_table(rows: list[Figures]) -> Table:
    """Training speed, one line per batch size and optimiser."""
    table = Table("batch", "optimiser", "ours", "textbook", "ratio", "bound", "of bound", "input wait")
    for row in rows:
        table.add_row(
            str(row["batch_size"]),
            row["optimizer"],
            *[f"{row[key]:,.0f}" for key in ("ours", "textbook")],
            f"{row['ratio']:.1f}",
            f"{row['bound']:,.0f}",
            f"{row['of_bound']:.0%}",
            f"{row['input_wait']:.2%}",
        )
    return table


def say(line: str) -> None:
    """Progress, on standard error."""
    click.echo(line, err=True)


@click.command(help=__doc__)
@click.option("--folder", type=click.Path(path_type=Path), help="Where logs are made and kept; else they are not.")
@click.option("--prepared", type=click.Path(path_type=Path, exists=True), help="A prepared data set to measure on.")
@click.option("--parts", default=",".join(PARTS), show_default=True, help="What to measure.")
@click.option("--batch-size", "batch_sizes", multiple=True, type=int, default=BATCH_SIZES, help="Of the part `speed`.")
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1), help="Measurements of each row.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Where the figures go.")
def main(
    folder: Path | None,
    prepared: Path | None,
    parts: str,
    batch_sizes: Sequence[int],
    rounds: int,
    json_path: Path | None,
) -> None:
    """Measure the named parts and print them."""
    chosen = parts.split(",")
    for part in chosen:
        if part not in PARTS:
            raise click.BadParameter(f"received '{part}', expected {', '.join(PARTS)}", param_hint="--parts")
    figures: Figures = {}
    with work_folder(folder) as work:
        for part in chosen:
            if part == "growth":  # on logs of its own
                figures[part] = measure_growth(work, rounds)
                continue
            data = prepared.resolve() if prepared else provide_data(work / "electronics", [])
            match part:
                case "speed":
                    figures[part] = measure_speed(work, data, rounds, batch_sizes)
                case "sharing":
                    figures[part] = measure_sharing(work, data)
                case "scoring":
                    figures[part] = measure_scoring(work, data, rounds)
                case "fit":
                    figures[part] = measure_fit(work, data)
                case "workers":
                    figures[part] = measure_workers(work, data)
    if "speed" in figures:
        Console().print(build_table(figures["speed"]))
    if json_path:
        json_path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
