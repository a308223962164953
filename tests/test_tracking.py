"""A tracked run tells MLflow what it writes; a tracker that fails never stops a training, and warns once."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import orjson
import pytest
from record_factory import METRICS

from din_train.config import Config, load_config
from din_train.errors import ConfigError
from din_train.run_directory import RunDirectory
from din_train.tracking import tracked

CONFIG = """
name: small
data: {source: table, events: log.tsv, columns: {user: u, item: i, category: c, timestamp: t}, prepared: prepared}
model: {name: lr}
training: {epochs: 4}
tracking: {mlflow: "http://localhost:1"}
"""


class FakeClient:
    """MLflow's client: keeps what it was told. `fails_at` names a method that raises."""

    calls: list[tuple[str, Any]]
    fails_at: str | None = None

    def __init__(self, tracking_uri: str) -> None:
        self.record("client", tracking_uri)

    def record(self, name: str, what: Any) -> None:
        self.calls.append((name, what))
        if name == self.fails_at:
            raise ConnectionError(f"no answer\nto {name}")

    def get_experiment_by_name(self, name: str) -> None:
        self.record("get_experiment", name)

    def create_experiment(self, name: str) -> str:
        self.record("create_experiment", name)
        return "7"

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> SimpleNamespace:
        self.record("create_run", (experiment, run_name, tags))
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def update_run(self, run_id: str, status: str) -> None:
        self.record("update_run", (run_id, status))

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        assert len(params) <= 100
        self.record("log_params" if params else "log_metrics", (run_id, [*metrics, *params]))

    def log_artifact(self, run_id: str, path: str) -> None:
        self.record("log_artifact", (run_id, Path(path).name))

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        self.record("set_tag", (run_id, (key, value)))

    def set_terminated(self, run_id: str, status: str) -> None:
        self.record("set_terminated", (run_id, status))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    entities, mlflow = ModuleType("mlflow.entities"), ModuleType("mlflow")
    entities.Param = lambda key, value: (key, value)  # type: ignore[attr-defined]
    entities.Metric = lambda key, value, _, step: (key, value, step)  # type: ignore[attr-defined]
    fake = type("Client", (FakeClient,), {"calls": []})
    mlflow.MlflowClient = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    for name in ("REQUEST_TIMEOUT", "REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(f"MLFLOW_HTTP_{name}", "1")
    for name in ("SUPPRESS_PRINTING_URL_TO_STDOUT", "DISABLE_TELEMETRY"):
        monkeypatch.setenv(f"MLFLOW_{name}", "true")
    return fake


def read(folder: Path, *overrides: str) -> Config:
    (folder / "small.yaml").write_text(CONFIG)
    return load_config(folder / "small.yaml", overrides)


def train(run: RunDirectory, config: Config, *epochs: int) -> None:
    run.path.mkdir(exist_ok=True)
    with tracked(run, config) as each:
        for epoch in epochs:
            each.append_history({"epoch": epoch, "loss": 0.5 / epoch, "validation_gauc": 0.7, "validation_auc": None})
        each.append_history({"phase": "refit", "epoch": 1, "loss": 0.25})
        each.write_metrics(METRICS)


def test_mlflow_is_told_the_config_the_epochs_the_test_metrics_and_the_files(
    tmp_path: Path, client: type[FakeClient]
) -> None:
    run = RunDirectory(tmp_path / "run")
    train(run, read(tmp_path), 1, 2)
    names = [name for name, _ in client.calls]
    assert names[:4] == ["client", "get_experiment", "create_experiment", "create_run"]
    told = dict(client.calls)
    assert (told["client"], told["create_experiment"]) == ("http://localhost:1", "din-train")
    assert told["create_run"] == ("7", "small", {"din_train.run_directory": str(run.path)})
    params = {key: value for name, (_, each) in client.calls[4:] if name == "log_params" for key, value in each}
    assert (params["model.name"], params["training.epochs"]) == ("lr", "4")
    assert [each for name, (_, each) in client.calls[4:] if name == "log_metrics"] == [
        [("loss", 0.5, 1), ("validation_gauc", 0.7, 1)],
        [("loss", 0.25, 2), ("validation_gauc", 0.7, 2)],
        [("refit_loss", 0.25, 1)],
        [("test_auc", 0.8125, 0), ("test_gauc", 0.75, 0), ("test_logloss", 0.5, 0)],
    ]
    assert [each for name, each in client.calls if name == "log_artifact"] == [
        ("r1", "history.jsonl"),
        ("r1", "metrics.json"),
    ]
    assert client.calls[-2:] == [
        ("set_tag", ("r1", ("din_train.test_split", "scored"))),
        ("set_terminated", ("r1", "FINISHED")),
    ]
    assert len(run.read_history()) == 3  # as without a tracker


def test_a_resumed_training_goes_on_in_its_mlflow_run(tmp_path: Path, client: type[FakeClient]) -> None:
    run = RunDirectory(tmp_path / "run")
    config = read(tmp_path, "tracking.experiment=mine")
    train(run, config, 1)
    client.calls.clear()
    train(run, config, 2)
    assert client.calls[:2] == [("client", "http://localhost:1"), ("update_run", ("r1", "RUNNING"))]
    assert not {"create_run", "log_params"} & {name for name, _ in client.calls}
    client.calls.clear()
    train(run, read(tmp_path, "tracking.experiment=other"), 3)
    assert ("create_experiment", "other") in client.calls


def test_mlflow_is_told_that_a_test_split_is_not_scored_yet(tmp_path: Path, client: type[FakeClient]) -> None:
    run, config = RunDirectory(tmp_path), read(tmp_path)
    with tracked(run, config) as each:
        each.append_history({"epoch": 1, "loss": 1.0})
    with tracked(run, config) as each:
        each.write_metrics(METRICS)
    ends = [what for name, what in client.calls if name in ("set_tag", "set_terminated")]
    assert ends == [
        ("r1", ("din_train.test_split", "not scored")),
        ("r1", "FINISHED"),
        ("r1", ("din_train.test_split", "scored")),
        ("r1", "FINISHED"),
    ]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")])
def test_mlflow_is_told_how_a_training_ended(
    tmp_path: Path, client: type[FakeClient], error: type[BaseException], status: str
) -> None:
    run = RunDirectory(tmp_path)

    def fail() -> None:
        with tracked(run, read(tmp_path)) as each:
            each.append_history({"epoch": 1, "loss": 1.0})
            raise error

    with pytest.raises(error):
        fail()
    assert client.calls[-1] == ("set_terminated", ("r1", status))


@pytest.mark.parametrize(
    "method", ["client", "create_run", "log_params", "log_metrics", "log_artifact", "set_tag", "set_terminated"]
)
def test_a_tracker_that_fails_warns_once_and_is_left_alone(
    tmp_path: Path, client: type[FakeClient], capsys: pytest.CaptureFixture[str], method: str
) -> None:
    client.fails_at = method
    run = RunDirectory(tmp_path / "run")
    train(run, read(tmp_path), 1, 2)
    assert capsys.readouterr().err == (
        f"warning: tracking.mlflow: http://localhost:1: ConnectionError: no answer to {method}; "
        "the training goes on without it\n"
    )
    assert client.calls[-1][0] == method
    assert len(run.read_history()) == 3
    assert run.read_metrics() == METRICS


def test_a_missing_mlflow_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    train(RunDirectory(tmp_path / "run"), read(tmp_path), 1)
    assert "ImportError: no MLflow here; install din-train[mlflow]; the training goes on" in capsys.readouterr().err


def test_nothing_is_tracked_by_default(tmp_path: Path, client: type[FakeClient]) -> None:
    config = read(tmp_path).model_copy(update={"tracking": None})
    run = RunDirectory(tmp_path)
    with tracked(run, config) as each:
        assert each is run
    with tracked(run, read(tmp_path)):
        pass
    assert client.calls == []
    assert orjson.loads(orjson.dumps(config.model_dump(mode="json", exclude_none=True))).get("tracking") is None


def test_a_password_does_not_go_into_the_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tracking.mlflow: holds a password; set MLFLOW_TRACKING_USERNAME"):
        read(tmp_path, "tracking.mlflow=http://me:secret@localhost:1")
