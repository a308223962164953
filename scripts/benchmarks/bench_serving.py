"""Time of an answer from what `export` writes, in the server's process: raw texts in, probabilities out, on one core.

    python scripts/benchmarks/bench_serving.py                     a model of Electronics' size; two minutes
    python scripts/benchmarks/bench_serving.py --export DIR --ids ids.txt --json figures.json

One row; 500 candidates of one user, whose history is sent once; and the same tiled: a history for each candidate, as a
server would have it that knows nothing of users. Each form runs in a process of its own, in turn, several rounds; the
lowest percentiles count, since other work on the machine only ever slows one down. Figures decide nothing: the exit
code is 0 whatever they are.
"""

import json
import random
import sys
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
FORMS = ("onnx", "savedmodel")
KINDS = {"row": 2000, "candidates": 100, "tiled": 30}  # requests of each
CANDIDATES = 500

# What an answer may take, in milliseconds at the 99th percentile, and a cold start in seconds.
TARGETS = {"row": 1.0, "candidates": 10.0}
COLD_START_TARGET = 4.0

_SAMPLE = ["--preset=electronics", "--users=4000", "--items=20000", "--reviews=40000", "--metadata-rows=20000"]

Figures = dict[str, Any]


def provide_export(folder: Path) -> tuple[Path, list[str]]:
    """An artefact in `folder`, made if it is missing, and the raw ids of its items."""
    export, run, prepared = folder / "export", folder / "run", folder / "prepared"
    if not (export / "export.json").exists():
        run_child([sys.executable, MAKE_SAMPLE, *_SAMPLE, folder / "logs"], folder)
        logs = {"reviews": "reviews_Electronics.json.gz", "items": "meta_Electronics.json.gz"}
        overrides = [f"data.{key}={folder / 'logs' / name}" for key, name in logs.items()]
        overrides += [f"data.prepared={prepared}", "model.mlp.hidden_units=[256,128,64]", "training.device=cpu"]
        given = [part for each in overrides for part in ("--set", each)]
        program = [sys.executable, "-m", "din_train"]
        run_child([*program, "fit", "--config", CONFIG, "--run-dir", run, "--overwrite", *given], folder)
        run_child([*program, "export", "--run-dir", run, "--output", export], folder)
    from din_train.dataset.names import read_names
    from din_train.dataset.store import open_store

    return export, read_names(open_store(prepared)).items[2:].to_pylist()


def draw_requests(inputs: list[Figures], ids: list[str], history: int) -> Figures:
    """Requests of each kind: input -> nested lists."""
    draw = random.Random(1)

    def request(candidates: int, rows_of_user: int) -> Figures:
        behaviours = draw.choices(ids, k=history)
        found = {}
        for each in inputs:
            rows = candidates if each["shape"][0] == "rows" else rows_of_user
            if each["name"] == "item":
                found["item"] = draw.choices(ids, k=candidates)
            elif each["name"] == "history":
                found["history"] = [behaviours] * rows
            else:
                value = each["example"] if len(each["shape"]) == 1 else each["example"] * history
                found[each["name"]] = [value] * rows
        return found

    sizes = {"row": (1, 1), "candidates": (CANDIDATES, 1), "tiled": (CANDIDATES, CANDIDATES)}
    return {kind: [request(*sizes[kind]) for _ in range(count)] for kind, count in KINDS.items()}


def measure(export: Path, ids: list[str], folder: Path, history: int, rounds: int) -> Figures:
    """Form -> what it takes: the lowest of the rounds."""
    inputs = json.loads((export / "export.json").read_text())["inputs"]
    file = folder / "requests.json"
    file.write_text(json.dumps({"inputs": inputs, "requests": draw_requests(inputs, ids, history)}))
    results: dict[str, list[Figures]] = {form: [] for form in FORMS}
    for _ in range(rounds):
        for form, found in results.items():
            task = {"form": form, "export": str(export), "requests": str(file)}
            found.append(run_child([sys.executable, HERE / "serving_worker.py", json.dumps(task)], folder))
    return {
        form: {**merge(found), "peak_mb": min(each["peak_mb"] for each in found)} for form, found in results.items()
    }


def merge(rounds: list[Figures]) -> Figures:
    """The lowest figure of the rounds, each by itself."""
    merged: Figures = {"cold_start": min(each["cold_start"] for each in rounds)}
    for kind in KINDS:
        merged[kind] = {key: min(each[kind][key] for each in rounds) for key in rounds[0][kind]}
    return merged


def build_table(figures: Figures) -> Table:
    """One line per form and kind of request, in milliseconds."""
    table = Table("form", "request", "p50 ms", "p99 ms", "CPU p50 ms", "candidates/s", "target p99 ms")
    for form, of_form in figures.items():
        for kind in KINDS:
            times, rows = of_form[kind], 1 if kind == "row" else CANDIDATES
            table.add_row(
                form,
                {"row": "one row", "candidates": f"{CANDIDATES} of one user", "tiled": f"{CANDIDATES} tiled"}[kind],
                *[f"{times[key] * 1000:.2f}" for key in ("wall_p50", "wall_p99", "cpu_p50")],
                f"{rows / times['wall_p50']:,.0f}",
                f"{TARGETS[kind]:g}" if kind in TARGETS else "",
            )
        table.add_row(form, f"cold start {of_form['cold_start']:.1f} s", "", "", "", "", f"{COLD_START_TARGET:g} s")
    return table


@click.command(help=__doc__)
@click.option("--folder", type=click.Path(path_type=Path), help="Where the log, the run and the export are kept.")
@click.option("--export", "given", type=click.Path(path_type=Path, exists=True), help="An export to measure.")
@click.option("--ids", type=click.Path(path_type=Path, exists=True), help="Raw ids of its items, one per line.")
@click.option("--history", default=50, show_default=True, type=click.IntRange(0), help="Behaviours of a history.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Measurements of each form.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Where the figures go.")
def main(
    folder: Path | None, given: Path | None, ids: Path | None, history: int, rounds: int, json_path: Path | None
) -> None:
    """Measure and print."""
    if (given is None) != (ids is None):
        raise click.UsageError("--export and --ids: give both, or neither")
    with work_folder(folder) as work:
        if given is not None and ids is not None:
            figures = measure(given, ids.read_text(encoding="utf-8").splitlines(), work, history, rounds)
        else:
            figures = measure(*provide_export(work), work, history, rounds)
    Console().print(build_table(figures))
    if json_path:
        json_path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
