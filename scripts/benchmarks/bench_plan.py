"""How far a plan is from the run that it plans: memory, disk, rows and time of `din-train plan` and then `fit`.

    python scripts/benchmarks/bench_plan.py --config configs/sample.yaml --set training.epochs=2

The data set is planned twice: from the log alone, and once it is prepared. Then the run is made, in processes of their
own, in a temporary folder. Figures decide nothing: the exit code is 0 whatever they are.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from child_process import run_child

Figures = dict[str, Any]


def run_plan(options: list[str], *arguments: str) -> Figures:
    """What `din-train plan --json` prints, and how many seconds it took."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "din_train", "plan", *options, "--json", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return {**json.loads(done.stdout), "plan_seconds": time.perf_counter() - started}


def measure(options: list[str], folder: Path) -> Figures:
    """Both plans beside the run."""
    options = [*options, "--set", f"data.prepared={folder / 'prepared'}"]
    program = [sys.executable, "-m", "din_train"]
    from_log = run_plan(options, "--no-probe")
    prepared = run_child([*program, "prepare", *options], folder)
    exact = run_plan(options)
    fitted = run_child([*program, "fit", *options, "--run-dir", folder / "run"], folder)
    epochs = [json.loads(line) for line in (folder / "run/history.jsonl").read_text().splitlines()]
    checkpoints = sum(path.stat().st_size for path in (folder / "run/checkpoints").iterdir())
    return {
        "rows": sum(exact["samples"].values()),
        "rows_from_log": sum(from_log["samples"].values()) / sum(exact["samples"].values()),
        "items_from_log": from_log["counts"]["items"] / exact["counts"]["items"],
        "users_from_log": from_log["counts"]["users"] / exact["counts"]["users"],
        "preparation_seconds": prepared["seconds"],
        "preparation_planned": from_log["preparation_seconds"],
        "weights_and_slots_mb": (exact["weight_bytes"] + exact["slot_bytes"]) / 1e6,
        "memory_mb": fitted["peak_mb"],
        "memory_planned_mb": exact["memory_bytes"] / 1e6,
        "memory_parts": exact["memory"],
        "disk_mb": checkpoints / 1e6,
        "disk_planned_mb": next(need["bytes"] for need in exact["disk"] if "saved states" in need["for"]) / 1e6,
        "seconds": fitted["seconds"],
        "seconds_planned": exact["training_seconds"]["1"],
        "samples_per_second": [round(each["samples_per_second"]) for each in epochs],
        "samples_per_second_planned": exact["samples_per_second"],
        "plan_seconds": exact["plan_seconds"],
        "cores_used": fitted["cores_used"],
        "load_before": fitted["load_before"],
    }


@click.command()
@click.option("--config", type=click.Path(path_type=Path, exists=True), required=True, help="Of the run.")
@click.option("--set", "overrides", multiple=True, help="KEY=VALUE, as the commands take it.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write the figures here too.")
def main(config: Path, overrides: tuple[str, ...], output: Path | None) -> None:
    """Measure, and print JSON."""
    options = ["--config", str(config.absolute())]
    for each in overrides:
        options += ["--set", each]
    with tempfile.TemporaryDirectory(prefix="bench-plan-") as folder:
        figures = measure(options, Path(folder))
    text = json.dumps({"config": config.name, "set": overrides, **figures}, indent=2)
    print(text)
    if output is not None:
        output.write_text(text + "\n")


if __name__ == "__main__":
    main()
