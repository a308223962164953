"""The benchmark against other toolkits: what it draws, installs, runs and reports; nothing is installed or trained."""

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData

SCRIPTS = Path(__file__).parents[2] / "scripts"
MODULES = ("bench_peers", "child_process", "peers.environment", "peers.measure", "peers.padded_samples")


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    """The script and its parts, imported as when it runs, under their last names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield SimpleNamespace(**{name.rpartition(".")[2]: importlib.import_module(name) for name in MODULES})
    for name in (*MODULES, "peers"):
        sys.modules.pop(name, None)


@pytest.fixture
def script(modules: SimpleNamespace) -> ModuleType:
    module: ModuleType = modules.bench_peers
    return module


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
        manifest={"fields": {"item": ["category"], "user": [], "context": []}, "fingerprint": "f"},
        event_item_ids=np.array([2, 3, 4, 5, 6], np.int32),
        item_fields={"category": np.array([0, 1, 12, 13, 14, 15, 16], np.int32)},
        user_fields={},
        num_values={"category": 17},
        training_events=np.zeros(7, np.int64),
        user_starts=np.array([0, 0, 0, 3], np.int64),
        _samples={Split.TRAIN: training},
    )


@pytest.mark.parametrize(
    ("max_history_length", "long", "short"), [(3, [2, 3, 0], [5, 0, 0]), (2, [2, 3], [5, 0]), (1, [3], [5])]
)
def test_drawn_samples_are_padded_on_the_right_and_keep_the_newest(
    modules: SimpleNamespace, max_history_length: int, long: list[int], short: list[int]
) -> None:
    drawn = modules.padded_samples.draw_padded_samples(build_data(), 2, max_history_length=max_history_length, seed=1)
    order = np.argsort(drawn["row"])
    in_order = {name: values[order].tolist() for name, values in drawn.items()}
    assert in_order == {
        "row": [0, 1],
        "target_item_id": [4, 6],
        "target_category_id": [14, 16],
        "history_item_ids": [long, short],
        "history_category_ids": [[item and item + 10 for item in items] for items in (long, short)],
        "history_length": [min(2, max_history_length), 1],
        "label": [1, 0],
    }
    assert {values.dtype for values in drawn.values()} == {np.dtype(np.int32)}


def test_draws_are_without_replacement_and_the_seed_decides(modules: SimpleNamespace) -> None:
    draw = modules.padded_samples.draw_padded_samples
    first, again, other = (
        draw(build_data(50), 20, max_history_length=2, seed=seed)["row"].tolist() for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(set(first)) == len(first) == 20


def test_the_clock_leaves_the_warm_up_out(modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter([10.0, 11.5, 12.0, 14.0])
    monkeypatch.setattr(modules.measure.time, "perf_counter", lambda: next(ends))
    clock = modules.measure.StepClock(2)
    for _ in range(4):
        clock.end_step()
    assert clock.timed_steps == 2
    assert clock.seconds == 2.5


def test_a_worker_reads_what_the_script_writes(
    modules: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = modules.measure.Settings(item_ids=7, category_ids=17, mlp_hidden_units=(3, 2))
    np.savez(tmp_path / "samples.npz", label=np.array([1, 0], np.int32))
    values = {"samples": "samples.npz", "settings": vars(settings), "prepared": "data", "scratch": "scratch"}
    (tmp_path / "task.json").write_text(json.dumps(values))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["worker.py", "task.json"])
    task = modules.measure.read_task()
    assert task.settings == settings
    assert task.samples["label"].tolist() == [1, 0]
    assert (task.prepared, task.scratch) == (Path("data"), Path("scratch"))
    modules.measure.print_result(samples=300, seconds=2.0, loss=0.5, threads=None, packages=["numpy"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["samples_per_second"] == 150.0
    assert printed["versions"].keys() == {"python", "numpy"}


@pytest.mark.parametrize(("asked", "counted"), [(14, 12), (100, 20), (12, 12)])
def test_only_whole_batches_are_drawn(modules: SimpleNamespace, asked: int, counted: int) -> None:
    settings = modules.measure.Settings(item_ids=7, category_ids=17, batch_size=4, warm_up_steps=2)
    assert modules.bench_peers.count_samples(build_data(23), asked, settings) == counted


def test_too_few_samples_end_in_one_line(
    modules: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules.bench_peers, "open_store", lambda _: build_data())
    done = CliRunner().invoke(modules.bench_peers.main, ["--prepared", str(tmp_path), "--batch-size=4"])
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: 102,400 samples asked for and 2 there, expected at least 44: "
        "10 batches of 4 to warm up, and one to time\n"
    )


# Workers that do not train.

GOOD = """
import json, sys
from pathlib import Path
task = json.loads(Path(sys.argv[1]).read_text())
assert Path(task["samples"]).is_file() and Path(task["scratch"]).is_dir()
with (Path(__file__).parent / "order.txt").open("a") as file:
    file.write(Path(__file__).stem + " ")
print("chatter")
print(json.dumps({{"samples_per_second": {speed}, "timed_samples": 10, "timed_seconds": 1.0, "loss": {loss},
                   "threads": 2, "versions": {{"python": "3.11", "it": "1.0"}}}}))
"""
BAD = "print('chatter')\nraise ValueError('no such layer')\n"


@pytest.fixture
def run(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run the command with these sources as the workers of ours, deepctr and fuxictr: its result and its figures."""
    folder = tmp_path / "work"

    def run(workers: Mapping[str, str], *arguments: str) -> tuple[Any, dict[str, Any]]:
        for name, source in workers.items():
            (tmp_path / f"{name}.py").write_text(source)
        peers = {
            name: SimpleNamespace(name=name, worker=str(tmp_path / f"{name}.py")) for name in ("deepctr", "fuxictr")
        }
        monkeypatch.setattr(script, "PEERS", peers)
        monkeypatch.setattr(script, "OUR_WORKER", str(tmp_path / "ours.py"))
        monkeypatch.setattr(script, "provide_environment", lambda _peer, _folder: Path(sys.executable))
        monkeypatch.setattr(script, "open_store", lambda _: build_data(50))
        figures = tmp_path / "figures.json"
        command = ["--folder", folder, "--prepared", tmp_path, "--batch-size=4", "--json", figures, *arguments]
        done = CliRunner().invoke(script.main, [str(part) for part in command])
        return done, json.loads(figures.read_text()) if figures.exists() else {}

    yield run
    assert not list(folder.iterdir())  # what a run needs only while it runs is gone


def test_all_run_in_turn_and_the_median_counts(run: Any, tmp_path: Path) -> None:
    ours, slow, slower = (GOOD.format(speed=speed, loss=0.5) for speed in (900.0, 300.0, 90.0))
    done, figures = run({"ours": ours, "deepctr": slow, "fuxictr": slower}, "--rounds=2")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "order.txt").read_text().split() == ["ours", "deepctr", "fuxictr"] * 2
    assert figures["failures"] == {}
    assert [
        (each["name"], each["samples_per_second"], each["ours_is_times_as_fast"], len(each["rounds"]))
        for each in figures["results"]
    ] == [("din-train", 900.0, 1.0, 2), ("deepctr", 300.0, 3.0, 2), ("fuxictr", 90.0, 10.0, 2)]
    assert figures["samples"] == {
        "samples": 48,
        "mean_history_length": pytest.approx(1.5, abs=0.05),
        "positives": pytest.approx(24, abs=1),
        "data_fingerprint": "f",
    }
    assert figures["settings"]["batch_size"] == 4
    assert figures["settings"]["item_ids"] == 7
    assert figures["machine"]["cores"] >= 1
    assert "fuxictr: 90 samples/s, loss 0.5000, round 2 of 2" in done.stdout
    assert "10.0" in done.stdout


def test_who_fails_is_one_line_and_the_rest_go_on(run: Any) -> None:
    good = GOOD.format(speed=100.0, loss=0.5)
    done, figures = run({"ours": good, "deepctr": BAD, "fuxictr": good}, "--rounds=2")
    assert done.exit_code == 1
    assert done.stderr == "deepctr: deepctr.py ended with exit code 1: ValueError: no such layer\n"
    assert figures["failures"] == {"deepctr": "deepctr.py ended with exit code 1: ValueError: no such layer"}
    assert [each["name"] for each in figures["results"]] == ["din-train", "fuxictr"]


def test_a_loss_that_is_no_number_is_no_figure(run: Any) -> None:
    good, diverged = GOOD.format(speed=100.0, loss=0.5), GOOD.format(speed=100.0, loss="float('nan')")
    done, figures = run({"ours": diverged, "deepctr": good}, "--peers=deepctr")
    assert done.exit_code == 1
    assert done.stderr == "din-train: its worker gave nan for loss, expected a number\n"
    assert [(each["name"], each["ours_is_times_as_fast"]) for each in figures["results"]] == [("deepctr", None)]


# Environments.


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip that looks nowhere, whatever it is configured to."""
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.mark.usefixtures("offline")
def test_a_package_that_pip_does_not_find_is_one_line_and_leaves_nothing(
    modules: SimpleNamespace, tmp_path: Path
) -> None:
    peer = modules.environment.Peer(name="nobody", worker="", requirements=("no-such-package==1.0",))
    with pytest.raises(modules.child_process.MeasurementError) as caught:
        modules.environment.provide_environment(peer, tmp_path)
    assert str(caught.value) == "cannot be installed: No matching distribution found for no-such-package==1.0"
    assert not list(tmp_path.iterdir())


def test_an_environment_is_used_again_only_if_complete_and_of_the_same_packages(
    modules: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = modules.environment
    commands: list[list[object]] = []

    def run(command: list[object], failure: str) -> None:
        del failure
        commands.append(command)
        (tmp_path / "env-x").mkdir(exist_ok=True)

    monkeypatch.setattr(environment, "_run", run)
    peer = environment.Peer(name="x", worker="", requirements=("a==1",))
    assert environment.provide_environment(peer, tmp_path) == tmp_path / "env-x" / "bin" / "python"
    assert [command[-1] for command in commands] == [tmp_path / "env-x", "a==1"]
    environment.provide_environment(peer, tmp_path)
    assert len(commands) == 2
    leftover = tmp_path / "env-x" / "leftover"
    leftover.touch()
    environment.provide_environment(environment.Peer(name="x", worker="", requirements=("a==2",)), tmp_path)
    assert len(commands) == 4
    assert not leftover.exists()
    (tmp_path / "env-x" / environment.MARKER).unlink()
    environment.provide_environment(environment.Peer(name="x", worker="", requirements=("a==2",)), tmp_path)
    assert len(commands) == 6


def test_ctrl_c_leaves_no_half_an_environment(
    modules: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[object], failure: str) -> None:
        del command, failure
        (tmp_path / "env-x").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(modules.environment, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        modules.environment.provide_environment(
            modules.environment.Peer(name="x", worker="", requirements=()), tmp_path
        )
    assert not list(tmp_path.iterdir())


def test_an_old_enough_python_is_needed_where_ours_is_too_new(
    modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = modules.environment.find_python
    assert find(None) == find((99, 0)) == sys.executable
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        modules.child_process.MeasurementError, match=r"needs Python 3.9 to 3.10; put a python3.10 on the path"
    ):
        find((3, 10))


def test_every_peer_is_pinned_and_has_its_worker(modules: SimpleNamespace) -> None:
    for name, peer in modules.environment.PEERS.items():
        assert peer.name == name
        assert all("==" in requirement for requirement in peer.requirements)
        assert (SCRIPTS / "peers" / peer.worker).is_file()
    assert (SCRIPTS / "peers" / modules.bench_peers.OUR_WORKER).is_file()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--peers=deepctr,nobody"],
            "Invalid value for '--peers': received 'nobody', expected some of deepctr,fuxictr",
        ),
        (["--json", "missing/figures.json"], "Invalid value for --json: missing: no such folder"),
    ],
)
def test_a_wrong_request_ends_before_any_work(script: ModuleType, arguments: list[str], line: str) -> None:
    done = CliRunner().invoke(script.main, arguments)
    assert done.exit_code == 2
    assert line in done.stderr
