"""Workers of one training: who they are, that they take the steps of one process, and that they end together."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worker_program
from worker_program import small_groups

from din_train.config import TrainingConfig
from din_train.errors import ConfigError, RunError
from din_train.training.workers import Workers, find_workers

PROGRAM = Path(__file__).with_name("worker_program.py")
CASES = {
    "baselines": ("base", "lr", "wide_deep", "pnn", "deepfm"),
    "sequences": ("din", "dien", "bst", "tin"),
    "options": ("sgd", "adagrad", "adamw", "weights", "negatives"),
}
# A dense layer's bias before a batch norm changes no output, nor does the last bias if rows of a list are compared: the
# gradient is rounding, of which Adam makes steps. The mean of what a batch norm is given has the bias in it.
WITHOUT_EFFECT = {"din": ("mlp/dense/bias", "batch_norm/moving_mean"), "pnn": ("logit/bias",)}


def find_ports(count: int) -> list[int]:
    """Free ones."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in listeners]
    for each in listeners:
        each.close()
    return ports


def name_cluster(index: int, ports: list[int]) -> str:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


class Started:
    """Worker processes, which are ended at the latest when the test ends."""

    def __init__(self, folder: Path, count: int, cases: tuple[str, ...]) -> None:
        self.folder, self.count = folder, count
        folder.mkdir(parents=True, exist_ok=True)
        ports = find_ports(count)
        root = PROGRAM.parents[2]
        environment = {
            "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}",
            "PATH": os.environ["PATH"],
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_NUM_INTEROP_THREADS": "2",
            "TF_NUM_INTRAOP_THREADS": "1",
        }
        self.processes = []
        for index in range(count):
            given = {"TF_CONFIG": name_cluster(index, ports)} if count > 1 else {}
            command = [sys.executable, str(PROGRAM), str(folder), f"worker{index}", ",".join(cases)]
            with (folder / f"worker{index}.log").open("wb") as log:
                self.processes.append(
                    subprocess.Popen(command, env={**environment, **given}, stdout=log, stderr=subprocess.STDOUT)
                )

    def read_log(self, index: int) -> str:
        return (self.folder / f"worker{index}.log").read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.processes:
            each.kill()
            each.wait()


def train(folder: Path, count: int, cases: tuple[str, ...], seconds: float) -> list[dict[str, dict[str, np.ndarray]]]:
    """Case -> losses and weights, of each worker."""
    with Started(folder, count, cases) as started:
        end = time.monotonic() + seconds
        for index, process in enumerate(started.processes):
            assert process.wait(max(1.0, end - time.monotonic())) == 0, started.read_log(index)[-3000:]
    return [{case: dict(np.load(folder / f"worker{index}.{case}.npz")) for case in cases} for index in range(count)]


def compare(one: dict[str, dict[str, np.ndarray]], workers: list[dict[str, dict[str, np.ndarray]]]) -> None:
    """Losses and weights of every worker are those of one process; workers among each other have the same bits."""
    for case, expected in one.items():
        assert np.ptp(expected["loss"]) > 3e-5, case  # something was learned
        for results in workers:
            found = results[case]
            assert found["loss"] == pytest.approx(expected["loss"], abs=1e-5), case
            for name, value in expected.items():
                if name in ("loss", "collectives") or name.endswith(WITHOUT_EFFECT.get(case, ())):
                    continue
                assert found[name] == pytest.approx(value, abs=1e-5), (case, name)
            assert all(np.array_equal(each, workers[0][case][name]) for name, each in found.items()), case
            assert 1 <= found["collectives"] <= 6, case


@pytest.mark.slow
def test_two_workers_take_the_steps_of_one_process(tmp_path: Path) -> None:
    """The slow test has the other models and optimisers, three workers, losses of lists, searches and fresh rows."""
    with small_groups():
        one = worker_program.train(tmp_path / "one", "small", "none")
    compare({"small": one}, train(tmp_path / "two", 2, ("small",), 900))


@pytest.fixture(scope="module")
def train_alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, dict[str, np.ndarray]]]:
    """What one process makes of some cases; they are trained once."""
    return cache(lambda cases: train(tmp_path_factory.mktemp("one"), 1, cases, 3600)[0])


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("cases", CASES.values(), ids=CASES)
def test_every_model_and_optimizer(
    tmp_path: Path, train_alone: Callable[..., dict[str, dict[str, np.ndarray]]], cases: tuple[str, ...], count: int
) -> None:
    compare(train_alone(cases), train(tmp_path, count, cases, 3600))


@pytest.mark.slow
def test_a_killed_worker_ends_the_other_within_30_seconds(tmp_path: Path) -> None:
    with Started(tmp_path, 2, ("lr",) * 50) as started:
        end = time.monotonic() + 200
        while not (tmp_path / "worker0.lr.npz").exists():  # both train
            assert time.monotonic() < end, started.read_log(0)
            time.sleep(0.5)
        started.processes[1].send_signal(signal.SIGKILL)
        assert started.processes[0].wait(30) == 1
        lines = [line for line in started.read_log(0).splitlines() if "has ended" in line]
        assert len(lines) == 1
        assert "worker 1 at 127.0.0.1:" in lines[0]


def make_training(**values: Any) -> TrainingConfig:
    return TrainingConfig(epochs=1, **values)


def test_a_process_alone_is_the_chief_and_waits_for_nobody() -> None:
    workers = find_workers(make_training(), {})
    workers.connect()
    workers.barrier()
    assert workers.is_chief
    assert workers.count == 1
    assert workers.agree(True)
    assert not workers.agree(False)
    (array,) = workers.gather(np.arange(3))
    assert array.tolist() == [0, 1, 2]
    with workers.ending_together():
        pass


def test_the_cluster_is_that_of_tf_config() -> None:
    cluster = {"cluster": {"chief": ["a:1"], "worker": ["b:2", "c:3"]}, "task": {"type": "worker", "index": 1}}
    workers = find_workers(make_training(strategy="multi_worker", worker_timeout=7), {"TF_CONFIG": json.dumps(cluster)})
    assert workers == Workers(("a:1", "b:2", "c:3"), 2, 7)
    assert not workers.is_chief
    cluster["task"] = {"type": "chief", "index": 0}
    chief = find_workers(make_training(strategy="multi_worker"), {"TF_CONFIG": json.dumps(cluster)})
    assert chief.is_chief
    assert chief.count == 3


@pytest.mark.parametrize(
    ("strategy", "text", "problem"),
    [
        (
            "multi_worker",
            "",
            "the environment has no TF_CONFIG, which names the workers; start them with",
        ),
        ("multi_worker", "[", "TF_CONFIG: received '\\['; expected"),
        ("multi_worker", '{"cluster": {"worker": ["a", "b"]}}', "TF_CONFIG: received the addresses a, b; expected"),
        ("multi_worker", '{"cluster": {"worker": ["a:65536"]}}', "TF_CONFIG: received the addresses a:65536; expected"),
        ("multi_worker", '{"cluster": {"worker": {"0": "a:1"}}}', "TF_CONFIG: received the addresses 0; expected"),
        ("multi_worker", name_cluster(2, [1, 2]), "TF_CONFIG: received task worker 2, which its cluster does not name"),
        (
            "none",
            name_cluster(0, [1, 2]),
            "received 'none', but TF_CONFIG names 2 workers",
        ),
    ],
)
def test_what_cannot_be_a_cluster_is_refused(strategy: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        find_workers(make_training(strategy=strategy), {"TF_CONFIG": text})


def test_a_worker_that_never_comes_is_named() -> None:
    ports = find_ports(2)
    workers = Workers(tuple(f"127.0.0.1:{port}" for port in ports), 0, start_timeout=1)
    with pytest.raises(RunError, match=f"worker 1 at 127.0.0.1:{ports[1]} did not come within 1 s"):
        workers.connect()
    assert workers.find_missing() == [1]


def test_workers_of_one_host_share_its_memory() -> None:
    assert Workers().count_here == 1
    assert [Workers(("a:1", "b:1", "a:2"), each).count_here for each in range(3)] == [2, 1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RunError, OSError])
def test_a_worker_that_stops_may_take_longer_than_the_others_live(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """As a tracker may; but what another worker's end may have caused ends at once, if it does not end by itself."""
    ended = threading.Event()
    monkeypatch.setattr("din_train.training.workers._WATCH_SECONDS", 0.05)
    monkeypatch.setattr("din_train.training.workers.os._exit", lambda _: ended.set())
    workers = Workers(tuple(f"127.0.0.1:{port}" for port in find_ports(2)))

    is_ended = []

    def stop() -> None:
        with workers.ending_together():
            try:
                with workers.leaving():
                    raise error("stop")
            finally:  # the tracker
                is_ended.append(ended.wait(1))

    with pytest.raises(error):
        stop()
    assert is_ended == [error is OSError]


def test_a_start_of_tensorflow_that_does_not_come_back_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """While nothing is shown of what TensorFlow writes, and Python's lock is held; here the process goes on."""
    from din_train import tensorflow_setup
    from din_train.training import workers as module

    dumped, seconds = [], [0.8, 0.0]
    monkeypatch.setattr(module, "_HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(module.faulthandler, "dump_traceback_later", lambda *given, **how: dumped.append((given, how)))
    monkeypatch.setattr(Workers, "_await_others", lambda _: None)
    monkeypatch.setattr(module, "_configure_heartbeats", lambda _: None)
    monkeypatch.setattr(module, "build_strategy", lambda _: time.sleep(seconds.pop()))
    workers = Workers(("127.0.0.1:7", "127.0.0.1:8"), 1, start_timeout=0)
    for lines in (0, 1):
        with tensorflow_setup._silenced_stderr() as stderr:
            workers.connect(stderr)
        said = capfd.readouterr().err
        assert said.count("worker 1 at 127.0.0.1:8: TensorFlow did not join the others within 0.1 s; check") == lines
        assert said.count("\n") == lines
    assert dumped == [((pytest.approx(2.1),), {"exit": True})] * 2


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        workers = Workers((f"127.0.0.1:{port}", "127.0.0.1:1"), 0, start_timeout=1)
        with pytest.raises(RunError, match=f"worker 0: port {port} of its address in TF_CONFIG cannot be used"):
            workers.connect()
