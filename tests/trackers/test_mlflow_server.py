"""A run directory's history goes to a real MLflow server on this machine, and is read back from it.

Only `make test-mlflow` runs this, in an environment that has MLflow and not TensorFlow.
"""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from din_train.config import load_config
from din_train.run_directory import RunDirectory
from din_train.tracking import tracked

pytestmark = pytest.mark.slow
CONFIG = """
name: small
data: {source: table, events: log.tsv, columns: {user: u, item: i, category: c, timestamp: t}, prepared: prepared}
model: {name: lr}
training: {epochs: 4}
"""


@pytest.fixture(scope="module")
def mlflow() -> ModuleType:
    module: ModuleType = pytest.importorskip("mlflow", reason="MLflow is missing; `make test-mlflow` has it")
    return module


@pytest.fixture(scope="module")
def server(mlflow: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    del mlflow
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        uri = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{uri}/health").close()  # noqa: S310 - http
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.5)
        yield uri
    finally:
        process.terminate()
        process.wait()


def test_params_metrics_by_epoch_and_files_arrive(mlflow: ModuleType, server: str, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(CONFIG)
    config = load_config(tmp_path / "small.yaml", [f"tracking.mlflow={server}", "tracking.experiment=<b>study</b>"])
    run = RunDirectory(tmp_path)
    for epochs in ([1, 2], [3]):  # of which the second is a training that is resumed
        with tracked(run, config) as each:
            for epoch in epochs:
                each.append_history({"epoch": epoch, "loss": 0.5 / epoch, "validation_gauc": 0.6 + epoch / 100})
    client = mlflow.MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name("<b>study</b>")
    [found] = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("small", "FINISHED")
    assert found.data.tags["din_train.test_split"] == "not scored"
    assert (found.data.params["model.name"], found.data.params["training.epochs"]) == ("lr", "4")
    history = client.get_metric_history(found.info.run_id, "validation_gauc")
    assert [(each.step, each.value) for each in history] == [(1, 0.61), (2, 0.62), (3, 0.63)]
    assert [each.path for each in client.list_artifacts(found.info.run_id)] == ["history.jsonl"]
    local = client.download_artifacts(found.info.run_id, "history.jsonl", str(tmp_path))
    assert Path(local).read_text() == run.history_file.read_text()


@pytest.mark.usefixtures("mlflow")
def test_a_server_that_does_not_answer_delays_a_training_by_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.yaml").write_text(CONFIG)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = load_config(tmp_path / "small.yaml", [f"tracking.mlflow={uri}"])
        begun = time.monotonic()
        with tracked(RunDirectory(tmp_path), config) as each:
            for epoch in (1, 2, 3):
                each.append_history({"epoch": epoch, "loss": 1.0})
    assert time.monotonic() - begun < 60
    assert capsys.readouterr().err.count("the training goes on without it") == 1
