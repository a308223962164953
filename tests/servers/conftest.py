"""A run of the shipped sample, its export, and rows with what `din-train predict` gives for them."""

import csv
import gzip
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from server_process import Served, find_free_port, running_server
from v2_client import Floats, Scored, build_request

REPOSITORY = Path(__file__).parents[2]
SERVING = REPOSITORY / ".venv-serving"


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample, a run of it in `runs/sample`, and its export in `exports/sample`."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "data").symlink_to(REPOSITORY / "data")
    _din_train(folder, "fit", "--config", str(REPOSITORY / "configs/sample.yaml"), "--set", "training.epochs=2")
    _din_train(folder, "export", "--run-dir", "runs/sample", "--output", "exports/sample")
    return folder


@pytest.fixture(scope="session")
def artefact(workplace: Path) -> Path:
    """The export."""
    return workplace / "exports/sample"


@pytest.fixture(scope="session")
def record(artefact: Path) -> dict[str, Any]:
    """Its export.json."""
    record: dict[str, Any] = json.loads((artefact / "export.json").read_bytes())
    return record


@pytest.fixture(scope="session")
def scored(workplace: Path, record: dict[str, Any]) -> list[Scored]:
    """Requests of 1 to 8 candidates: one user's history for all of them, or one history for each.

    Histories are the log's own, of 0 to 70 behaviours; every 17th candidate and every 13th user is unknown.
    """
    events: dict[str, list[tuple[int, str]]] = defaultdict(list)
    with gzip.open(workplace / "data/sample/reviews_Sample.json.gz", "rt", encoding="utf-8") as file:
        for event in map(json.loads, file):
            events[event["reviewerID"]].append((event["unixReviewTime"], event["asin"]))
    histories = [[item for _, item in sorted(each)] for each in events.values()]
    long = [item for history in histories[:20] for item in history]
    histories = [[], long[:49], long[:50], long[:51], long[:70], *histories[:200]]
    users, items = [*events], sorted({item for history in histories for item in history})
    groups: list[list[tuple[str, str, list[str]]]] = []
    for number in range(240):
        size = 1 + number % 8
        shared = number % 3 > 0
        rows = []
        for place in range(size):
            row = number * 8 + place
            whose = number if shared else row
            user = f"nobody {whose}" if whose % 13 == 0 else users[whose % len(users)]
            item = f"no such item {row}" if row % 17 == 0 else items[row * 7 % len(items)]
            rows.append((user, item, histories[whose % len(histories)]))
        groups.append(rows)
    with (workplace / "candidates.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "history"])
        writer.writerows((user, item, "^".join(history)) for rows in groups for user, item, history in rows)
    _din_train(
        workplace, "predict", "--run-dir", "runs/sample", "--input", "candidates.csv", "--output", "scored.parquet"
    )
    logits = pq.read_table(workplace / "scored.parquet").column("logit").to_numpy()
    return _build_requests(record["inputs"], groups, logits)


@pytest.fixture
def din_train_serve(artefact: Path, tmp_path: Path) -> Iterator[Served]:
    """`din-train serve` of the environment without TensorFlow."""
    if not (SERVING / ".installed").exists():
        pytest.skip(f"no {SERVING}: `make setup-serving` could not install KServe; din-train serve is not tested")
    port, grpc_port = find_free_port(), find_free_port()
    options = ["--port", str(port), "--grpc-port", str(grpc_port)]
    command = [str(SERVING / "bin/python"), "-m", "din_train", "serve", "--export", str(artefact), *options]
    with running_server(command, port, tmp_path / "log", {"PYTHONPATH": str(REPOSITORY)}) as process:
        yield Served(process, port)


def _build_requests(
    inputs: list[dict[str, Any]], groups: list[list[tuple[str, str, list[str]]]], logits: Floats
) -> list[Scored]:
    requests, first = [], 0
    for number, rows in enumerate(groups):
        one = number % 3 > 0  # user for all candidates
        of = rows[:1] if one else rows
        longest = max(len(history) for *_, history in of)
        values = {
            "item": [item for _, item, _ in rows],
            "user": [user for user, *_ in of],
            "history": [[*history, *[""] * (longest - len(history))] for *_, history in of],
            "item_category": [""],
        }
        requests.append(Scored(build_request(inputs, values, ["logit"]), logits[first : first + len(rows)]))
        first += len(rows)
    assert first == len(logits)
    assert np.isfinite(logits).all()
    return requests


def _din_train(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "din_train", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
