"""Two real workers under `din-train launch`: killed, stopped, resumed by another number of them.

Launching itself is tested with small programs in `tests/test_launch.py`, the steps of several workers in
`tests/training/`.
"""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import orjson
import pytest
from click.testing import Result
from log_factory import write_log
from workplace import QUICK, Workplace

RUN = Path("runs/small")
TIMES = {"seconds", "samples_per_second", "input_wait"}
# 6 steps an epoch, of two groups or of one; dropout, fresh negatives and early stopping have a state.
CONFIG: dict[str, Any] = {
    "model": {"name": "base", "mlp": {"hidden_units": [8], "dropout": 0.2}},
    "negatives": {"resample": "epoch"},
    "training": {
        "epochs": 3,
        "batch_size": 1024,
        "deterministic": True,
        "checkpoint_steps": 2,
        "evaluation_batch_size": 16,
        "optimizer": {"learning_rate": 0.01},
        "early_stopping": {"metric": "logloss", "patience": 2},
    },
}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "log.tsv", [(f"u{n % 60}", f"i{(n * 7 + n // 60) % 97}", f"c{n % 5}", n) for n in range(3000)])
    workplace = Workplace(tmp_path)
    workplace.write_config(**CONFIG)
    return workplace


def launch(workplace: Workplace, workers: int, *arguments: str) -> Result:
    return workplace.run("launch", "--workers", str(workers), "--", "fit", "--config", "small.yaml", *arguments)


def find_worker(index: int) -> int:
    """The process of a worker that this one has started."""
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            if f'"task": {{"type": "worker", "index": {index}}}' in Path(f"/proc/{pid}/environ").read_text():
                return int(pid)
    raise AssertionError(f"no worker {index}")


def kill(index: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(find_worker(index), number)


def when(state: str, act: Callable[[], None]) -> threading.Thread:
    """Act as soon as the run has this state."""

    def wait_and_act() -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if (RUN / "checkpoints" / f"{state}.json").exists():
                act()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait_and_act, daemon=True)
    thread.start()
    return thread


def read_history() -> list[dict[str, Any]]:
    lines = (orjson.loads(line) for line in (RUN / "history.jsonl").read_bytes().splitlines())
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def read_weights(run: Path = RUN) -> dict[str, np.ndarray[Any, Any]]:
    weights: dict[str, np.ndarray[Any, Any]] = {}
    with h5py.File(run / "checkpoints/best.weights.h5") as file:
        file.visititems(lambda name, each: weights.update({name: each[()]}) if isinstance(each, h5py.Dataset) else None)
    return weights


def read_metrics() -> dict[str, Any]:
    metrics: dict[str, Any] = orjson.loads((RUN / "metrics.json").read_bytes())
    return metrics


def check_close(workplace: Workplace) -> None:
    """The run agrees with one of a single process, which takes its place."""
    history, weights, metrics = read_history(), read_weights(), read_metrics()
    shutil.rmtree(RUN)
    result = workplace.fit()
    assert result.exit_code == 0, result.output
    assert len(history) == 3
    for here, there in zip(history, read_history(), strict=True):
        assert here == pytest.approx(there, abs=1e-5)
    for name, values in read_weights().items():
        assert weights[name] == pytest.approx(values, abs=1e-5), name
    assert metrics["auc"] == pytest.approx(read_metrics()["auc"], abs=1e-4)
    assert metrics["best_epoch"] == read_metrics()["best_epoch"]


def test_a_killed_worker_is_started_again_and_the_run_is_finished(workplace: Workplace) -> None:
    killer = when("state-0-2", partial(kill, 1))
    result = launch(workplace, 2)
    killer.join()
    assert result.exit_code == 0, result.output
    assert "worker 1: killed by SIGKILL; all 2 are started again with --resume (1 of 3 restarts)\n" in result.stderr
    assert "[0] runs/small: going on after epoch 1, step" in result.stderr
    assert "[1]" not in result.output  # one speaks for all
    assert workplace.read_json("runs/small/environment.json")["workers"] == 2
    assert [each["epoch"] for each in read_history()] == [1, 2, 3]
    assert read_metrics()["num_samples"] == 120
    assert not any(path.name.endswith(".lock") for path in RUN.parent.iterdir())


@pytest.mark.slow
def test_one_worker_alone_trains_as_without_a_strategy(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = {"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(alone))
    result = workplace.fit(*QUICK, "--set", "training.strategy=multi_worker")
    assert result.exit_code == 0, result.output
    here = read_weights()
    result = workplace.fit(*QUICK, "--overwrite")
    assert result.exit_code == 0, result.output
    for name, values in read_weights().items():
        assert np.array_equal(here[name], values), name


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not_bit_for_bit(workplace: Workplace) -> None:
    assert launch(workplace, 2).exit_code == 0
    history, weights, metrics = read_history(), read_weights(), read_metrics()
    scores = (RUN / "scores.test.parquet").read_bytes()
    for number, state in enumerate(("state-0-4", "state-2-2")):
        shutil.rmtree(RUN)
        killer = when(state, partial(kill, number))
        result = launch(workplace, 2)
        killer.join()
        assert result.exit_code == 0, result.output
        assert f"worker {number}: killed by SIGKILL" in result.stderr
        assert read_history() == history
        assert read_metrics() == metrics
        assert (RUN / "scores.test.parquet").read_bytes() == scores
        assert read_weights().keys() == weights.keys()
        for name, values in read_weights().items():
            assert np.array_equal(values, weights[name]), name


@pytest.mark.slow
def test_a_signal_to_one_worker_stops_all_and_another_number_goes_on(workplace: Workplace) -> None:
    stopper = when("state-0-2", partial(kill, 1, signal.SIGTERM))
    result = launch(workplace, 2, "--set", "training.epochs=3")
    stopper.join()
    assert result.exit_code == 143, result.output
    stopped = "[0] interrupted; training stopped by SIGTERM: state saved in runs/small after epoch "
    assert stopped in result.stderr
    assert "[1]" not in result.output
    result = launch(workplace, 1, "--resume")
    assert result.exit_code == 0, result.output
    assert "[0] runs/small: going on after epoch " in result.stderr
    check_close(workplace)
