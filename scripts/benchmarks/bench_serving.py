"""Time of an answer from what `export` writes, in the server's process: raw texts in, probabilities out, on one core.

    python scripts/benchmarks/bench_serving.py                     a model of Electronics' size; two minutes
    python scripts/benchmarks/bench_serving.py --export DIR --ids ids.txt --json figures.json
    python scripts/benchmarks/bench_serving.py --server .venv-serving/bin/din-train      and by HTTP

One row; 500 candidates of one user, whose history is sent once; and the same tiled: a history for each candidate, as a
server would have it that knows nothing of users. Each form runs in a process of its own, in turn, several rounds; the
lowest percentiles count, since other work on the machine only ever slows one down. Figures decide nothing: the exit
code is 0 whatever they are.

With `--server`, `din-train serve` answers the same requests by HTTP, of one client and of 8 at once, which run on this
machine as well. Its answers must be those of onnxruntime here. Its CPU time is the mean, of all its threads.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

import click
import onnxruntime
from child_process import run_child
from rich.console import Console
from rich.table import Table
from serving_load import CLIENTS, build_body, run_load, running_server
from serving_worker import to_arrays
from work_folder import work_folder

HERE = Path(__file__).parent
MAKE_SAMPLE = HERE.parent / "data" / "make_sample.py"
CONFIG = HERE.parents[1] / "configs" / "bench_electronics.yaml"
FORMS = ("onnx", "savedmodel")
KINDS = {"row": 2000, "candidates": 100, "tiled": 30}  # requests of each
CANDIDATES = 500

# What an answer may take, in milliseconds at the 99th percentile, and a cold start in seconds.
TARGETS = {"row": 1.0, "candidates": 10.0, "http row": 2.0}
COLD_START_TARGET = 4.0

# By HTTP: the kind of request, clients, and how often each of these asks.
BY_HTTP = {"row": ("row", 1, 2000), "candidates": ("candidates", 1, 200), "rows of 8 clients": ("row", CLIENTS, 1000)}

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


def measure(
    export: Path, ids: list[str], folder: Path, history: int, rounds: int, server: str | None = None
) -> Figures:
    """Form -> what it takes: the lowest of the rounds. server: the command, if HTTP is a form."""
    inputs = json.loads((export / "export.json").read_text())["inputs"]
    file, requests = folder / "requests.json", draw_requests(inputs, ids, history)
    file.write_text(json.dumps({"inputs": inputs, "requests": requests}))
    results: dict[str, list[Figures]] = {form: [] for form in FORMS}
    for _ in range(rounds):
        for form, found in results.items():
            task = {"form": form, "export": str(export), "requests": str(file)}
            found.append(run_child([sys.executable, HERE / "serving_worker.py", json.dumps(task)], folder))
    figures = {
        form: {**merge(found), "peak_mb": min(each["peak_mb"] for each in found)} for form, found in results.items()
    }
    return figures if server is None else {**figures, "http": measure_http(export, server, inputs, requests, rounds)}


def measure_http(export: Path, server: str, inputs: list[Figures], requests: Figures, rounds: int) -> Figures:
    """Kind of `BY_HTTP` -> what an answer takes: the lowest of the rounds, and the most answers per second.

    Raises:
        ClickException: if an answer is not the one of onnxruntime in this process.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(export / "onnx" / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    datatypes = {each["name"]: each["datatype"] for each in inputs}
    asked = {
        kind: [
            (build_body(each, datatypes), session.run(["logit"], to_arrays(each, inputs))[0]) for each in requests[kind]
        ]
        for kind in ("row", "candidates")
    }
    path = f"/v2/models/{json.loads((export / 'export.json').read_text())['name']}/infer"
    found: list[Figures] = []
    for _ in range(rounds):
        with running_server(server, export, "--max-body-mb", "16") as (running, cold_start):
            run_load(running, path, asked["row"], lambda count: count < 100, clients=1)
            of_round: Figures = {"cold_start": cold_start}
            for name, (kind, clients, times) in BY_HTTP.items():
                of_round[name] = run_load(
                    running, path, asked[kind], lambda count, times=times: count < times, clients=clients
                )
                if of_round[name]["wrong"]:
                    raise click.ClickException(f"{server}: {of_round[name]['wrong']} answers are wrong ({name})")
            found.append(of_round)
    merged: Figures = {"cold_start": min(each["cold_start"] for each in found)}
    for name in BY_HTTP:
        of_kind = [each[name] for each in found]
        merged[name] = {key: min(each[key] for each in of_kind) for key in ("p50_ms", "p99_ms", "server_cpu_ms")}
        merged[name]["requests_per_second"] = max(each["requests_per_second"] for each in of_kind)
    return merged


def merge(rounds: list[Figures]) -> Figures:
    """The lowest figure of the rounds, each by itself."""
    merged: Figures = {"cold_start": min(each["cold_start"] for each in rounds)}
    for kind in KINDS:
        merged[kind] = {key: min(each[kind][key] for each in rounds) for key in rounds[0][kind]}
    return merged


def build_table(figures: Figures) -> Table:
    """One line per form and kind of request, in milliseconds."""
    table = Table("form", "request", "p50 ms", "p99 ms", "CPU p50 ms", "candidates/s", "target p99 ms")
    names = {"row": "one row", "candidates": f"{CANDIDATES} of one user", "tiled": f"{CANDIDATES} tiled"}
    for form, of_form in figures.items():
        for kind in KINDS if form in FORMS else ():
            times, rows = of_form[kind], 1 if kind == "row" else CANDIDATES
            table.add_row(
                form,
                names[kind],
                *[f"{times[key] * 1000:.2f}" for key in ("wall_p50", "wall_p99", "cpu_p50")],
                f"{rows / times['wall_p50']:,.0f}",
                f"{TARGETS[kind]:g}" if kind in TARGETS else "",
            )
        for name, (kind, _, _) in BY_HTTP.items() if form == "http" else ():
            times, rows = of_form[name], 1 if kind == "row" else CANDIDATES
            table.add_row(
                form,
                names.get(name, name),
                *[f"{times[key]:.2f}" for key in ("p50_ms", "p99_ms", "server_cpu_ms")],
                f"{rows * times['requests_per_second']:,.0f}",
                f"{TARGETS['http row']:g}" if name == "row" else "",
            )
        table.add_row(form, f"cold start {of_form['cold_start']:.1f} s", "", "", "", "", f"{COLD_START_TARGET:g} s")
    return table


@click.command(help=__doc__)
@click.option("--folder", type=click.Path(path_type=Path), help="Where the log, the run and the export are kept.")
@click.option("--export", "given", type=click.Path(path_type=Path, exists=True), help="An export to measure.")
@click.option("--ids", type=click.Path(path_type=Path, exists=True), help="Raw ids of its items, one per line.")
@click.option("--history", default=50, show_default=True, type=click.IntRange(0), help="Behaviours of a history.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Measurements of each form.")
@click.option("--server", metavar="COMMAND", help="din-train in its environment, to measure HTTP as well.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Where the figures go.")
def main(
    folder: Path | None,
    given: Path | None,
    ids: Path | None,
    history: int,
    rounds: int,
    server: str | None,
    json_path: Path | None,
) -> None:
    """Measure and print."""
    if (given is None) != (ids is None):
        raise click.UsageError("--export and --ids: give both, or neither")
    with work_folder(folder) as work:
        if given is not None and ids is not None:
            figures = measure(given, ids.read_text(encoding="utf-8").splitlines(), work, history, rounds, server)
        else:
            figures = measure(*provide_export(work), work, history, rounds, server)
    Console().print(build_table(figures))
    if json_path:
        json_path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
