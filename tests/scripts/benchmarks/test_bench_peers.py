"""The benchmark against other toolkits: the samples it draws and what it reports; nothing is installed or trained."""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scripts_factory import SCRIPTS, load_script

from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData

PEERS = SCRIPTS / "benchmarks" / "peers"
GOOD = """
import json, sys
from pathlib import Path
assert Path(json.loads(Path(sys.argv[1]).read_text())["samples"]).is_file()
print(json.dumps({{"samples_per_second": {speed}, "timed_samples": 10, "timed_seconds": 1.0, "loss": {loss},
                   "threads": 2, "versions": {{"python": "3.11"}}}}))
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("bench_peers")


def build_data(samples: int = 2) -> PreparedData:
    """Users 2 and 3 with the events 2 3 4 and 5 6; each sample is user 2's third event or user 3's second, in turn."""
    second = np.arange(samples) % 2 == 1
    training = {
        "user_id": np.where(second, 3, 2).astype(np.int32),
        "target_item_id": np.where(second, 6, 4).astype(np.int32),
        "history_length": np.where(second, 1, 2).astype(np.int32),
        "event": np.arange(len(second)),
        "label": np.where(second, 0, 1).astype(np.int8),
    }
    return PreparedData(
        folder=Path("prepared"),
        manifest=SimpleNamespace(fields={"item": ["category"], "user": [], "context": []}, fingerprint="f"),
        event_item_ids=np.array([2, 3, 4, 5, 6], np.int32),
        item_fields={"category": np.array([0, 1, 12, 13, 14, 15, 16], np.int32)},
        user_fields={},
        num_values={"category": 17},
        training_events=np.zeros(7, np.int64),
        user_starts=np.array([0, 0, 0, 3], np.int64),
        _samples={Split.TRAIN: training},
    )


def test_drawn_samples_are_padded_on_the_right_and_keep_the_newest(script: ModuleType) -> None:
    for longest, long, short in ((3, [2, 3, 0], [5, 0, 0]), (1, [3], [5])):
        drawn = script.draw_padded_samples(build_data(), 2, max_history_length=longest, seed=1)
        order = np.argsort(drawn["row"])
        assert {name: values[order].tolist() for name, values in drawn.items()} == {
            "row": [0, 1],
            "target_item_id": [4, 6],
            "target_category_id": [14, 16],
            "history_item_ids": [long, short],
            "history_category_ids": [[item and item + 10 for item in items] for items in (long, short)],
            "history_length": [min(2, longest), 1],
            "label": [1, 0],
        }


def test_the_clock_leaves_the_warm_up_out(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = importlib.import_module(script.Settings.__module__)
    ends = iter([10.0, 11.5, 12.0, 14.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ends))
    clock = measure.StepClock(2)
    for _ in range(4):
        clock.end_step()
    assert (clock.timed_steps, clock.seconds) == (2, 2.5)


@pytest.fixture
def run(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command with these sources as the workers of ours, deepctr and fuxictr: its result and its figures."""

    def run(workers: Mapping[str, str], *arguments: str) -> tuple[Any, dict[str, Any]]:
        for name, source in workers.items():
            (tmp_path / f"{name}.py").write_text(source)
        peers = {name: SimpleNamespace(name=name, worker=str(tmp_path / f"{name}.py")) for name in workers}
        monkeypatch.setattr(script, "PEERS", peers)
        monkeypatch.setattr(script, "OUR_WORKER", str(tmp_path / "ours.py"))
        monkeypatch.setattr(script, "provide_environment", lambda _peer, _folder: Path(sys.executable))
        monkeypatch.setattr(script, "open_store", lambda _: build_data(50))
        figures = tmp_path / "figures.json"
        command = ["--folder", tmp_path / "work", "--prepared", tmp_path, "--batch-size=4", "--json", figures]
        done = CliRunner().invoke(script.main, [*map(str, command), *arguments])
        return done, json.loads(figures.read_text())

    return run


def test_who_fails_is_one_line_and_the_rest_are_compared(run: Any) -> None:
    ours, slow = (GOOD.format(speed=speed, loss=0.5) for speed in (900.0, 300.0))
    bad = "print('chatter')\nraise ValueError('no such layer')\n"
    done, figures = run({"ours": ours, "deepctr": bad, "fuxictr": slow})
    assert done.exit_code == 1
    assert done.stderr == "deepctr: deepctr.py ended with exit code 1: ValueError: no such layer\n"
    assert figures["failures"] == {"deepctr": "deepctr.py ended with exit code 1: ValueError: no such layer"}
    compared = [
        (each["name"], each["samples_per_second"], each["ours_is_times_as_fast"]) for each in figures["results"]
    ]
    assert compared == [("din-train", 900.0, 1.0), ("fuxictr", 300.0, 3.0)]
    assert figures["samples"]["samples"] == 48


def test_a_loss_that_is_no_number_is_no_figure(run: Any) -> None:
    good, diverged = GOOD.format(speed=100.0, loss=0.5), GOOD.format(speed=100.0, loss="float('nan')")
    done, figures = run({"ours": diverged, "deepctr": good}, "--peers=deepctr")
    assert done.stderr == "din-train: its worker gave nan for loss, expected a number\n"
    assert [(each["name"], each["ours_is_times_as_fast"]) for each in figures["results"]] == [("deepctr", None)]


def test_every_peer_is_pinned_and_has_its_worker(script: ModuleType) -> None:
    for name, peer in script.PEERS.items():
        assert peer.name == name
        assert all("==" in requirement for requirement in peer.requirements)
        assert (PEERS / peer.worker).is_file()
    assert (PEERS / script.OUR_WORKER).is_file()
