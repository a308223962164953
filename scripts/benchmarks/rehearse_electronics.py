"""What the reproduction on Amazon Electronics takes here, from BaseModel and DIN on a generated log of its size.

    python scripts/benchmarks/rehearse_electronics.py --folder /tmp/rehearsal --json rehearsal.json

One seed of recipe `ours`, through `din-train reproduce --data rehearsal`, but two epochs in place of up to eight, and
two again for the refit; stopped, the same command goes on. A run's time is projected to all the epochs that the recipe
allows; a run that early stopping ends takes less. The other models are projected from BaseModel's time by the
relative costs that the plan has. Figures decide nothing: the exit code is 0 whether or not the aims are reached.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from din_train.config import Config
from din_train.files import atomic_file
from din_train.reproduce.paper_suites import load_paper_config, load_recipes, load_suite
from din_train.run_directory import RunDirectory
from din_train.sweep import Cost
from din_train.sweep_plan import RELATIVE_COST

MAKE_SAMPLE = Path(__file__).parents[1] / "data" / "make_sample.py"
MEASURED = ("base", "din-dice")
SEEDS = 5
AIMS = {"whole_hours": 12.0, "din_minutes": 20.0}

Figures = dict[str, Any]


def run(*command: object) -> None:
    """A program to its end.

    Raises:
        click.ClickException: if it fails; it has said why.
    """
    done = subprocess.run([sys.executable, *map(str, command)], check=False)  # noqa: S603
    if done.returncode:
        raise click.ClickException(f"{command[0]} {command[1]} ended with exit code {done.returncode}")


def load_electronics_configs() -> dict[str, Config]:
    """Row -> its config by recipe `ours`."""
    (recipe,) = load_recipes("electronics", ["ours"])
    rows = load_suite("table3").rows
    return {row.key: load_paper_config(Path(), "electronics", recipe, {}, row) for row in rows}


def read_cell(out: Path, key: str) -> Figures:
    """What one cell took and did."""
    name = f"rehearsal-ours-{key}-seed1"
    cost = Cost(**json.loads((out / "cells" / f"{name}.cost.json").read_text()))
    directory = RunDirectory(out / "runs" / name)
    epochs = directory.read_history()
    allowed = 2 * load_electronics_configs()[key].training.epochs
    training = sum(epoch["seconds"] for epoch in epochs)
    return {
        "model": key,
        "seconds": cost.seconds,
        "peak_mb": cost.peak_bytes / 1e6,
        "training_seconds": training,
        "epochs": len(epochs),  # of selection and refit together
        "epochs_allowed": allowed,
        "samples_per_second": sum(each["samples_per_second"] * each["seconds"] for each in epochs) / training,
        "seconds_with_all_epochs": cost.seconds * allowed / len(epochs),
        "gauc": directory.read_metrics().gauc,
    }


def project(cells: dict[str, Figures]) -> Figures:
    """Hours of all seven models with five seeds, and what each model's run takes."""
    minutes = {}
    for key, config in load_electronics_configs().items():
        name = config.model.name
        measured, of = ("din-dice", "din") if name == "din" else ("base", "base")
        seconds = cells[measured]["seconds_with_all_epochs"]
        minutes[key] = seconds / 60 * RELATIVE_COST[name] / RELATIVE_COST[of]
    return {"seeds": SEEDS, "minutes_a_run": minutes, "hours": SEEDS * sum(minutes.values()) / 60}


@click.command()
@click.option("--folder", required=True, type=click.Path(path_type=Path), help="Log, prepared data and runs go there.")
@click.option("--json", "json_path", required=True, type=click.Path(path_type=Path), help="The projection goes there.")
@click.option("--users", type=int, help="Fewer users than Electronics has, to try it out.")
@click.option("--reviews", type=int, help="Fewer reviews.")
@click.option("--items", type=int, help="Fewer items.")
def main(folder: Path, json_path: Path, users: int | None, reviews: int | None, items: int | None) -> None:
    """Generate the log, run BaseModel and DIN, project the whole."""
    log, out = folder / "log", folder / "out"
    if not (log / "meta_Electronics.json.gz").exists():
        sizes = {"--users": users, "--reviews": reviews, "--items": items, "--metadata-rows": items}
        options = [word for name, value in sizes.items() if value is not None for word in (name, value)]
        run(MAKE_SAMPLE, "--preset", "electronics", log, *options)
    command = ["-m", "din_train", "reproduce", "--suite", "table3", "--data", "rehearsal", "--recipes", "ours"]
    run(*command, "--models", ",".join(MEASURED), "--seeds", 1, "--data-dir", log, "--out", out)
    prepared = json.loads((out / "prepared" / "rehearsal-ours" / "manifest.json").read_text())
    cells = {key: read_cell(out, key) for key in MEASURED}
    projection = project(cells)
    figures = {
        "cores": os.cpu_count(),
        "samples": prepared["samples"],
        "preparation": prepared["made"],
        "cells": list(cells.values()),
        "projection": projection,
        "aims": AIMS,
    }
    with atomic_file(json_path) as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    din = projection["minutes_a_run"]["din-dice"]
    click.echo(f"one DIN run, all epochs: {din:.1f} min (aim {AIMS['din_minutes']:g})")
    click.echo(f"7 models x {SEEDS} seeds: {projection['hours']:.1f} h (aim {AIMS['whole_hours']:g})")


if __name__ == "__main__":
    main()
