"""A killed or stopped fit goes on with --resume and ends as one that was never stopped, bit for bit.

A kill leaves the files as they are at that moment. So one uninterrupted run has its directory copied around every
rename and append, and a resumed copy is what a resumed kill is; a real process is stopped and killed last.
"""

import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import orjson
import pytest
from log_factory import write_log
from workplace import EVENTS, Workplace

from din_train import fit

TIMES = {"seconds", "samples_per_second", "input_wait"}
RUN = Path("runs/small")

# 15 steps an epoch, 17 in the refit; dropout, fresh negatives, early stopping, a schedule: all that has a state.
WHOLE: dict[str, Any] = {
    "model": {"name": "base", "mlp": {"hidden_units": [8], "dropout": 0.2}},
    "negatives": {"resample": "epoch"},
    "training": {
        "epochs": 9,
        "batch_size": 64,
        "deterministic": True,
        "checkpoint_steps": 5,
        "steps_per_execution": 2,
        "refit": True,
        "optimizer": {"learning_rate": 0.2, "schedule": {"name": "plateau", "factor": 0.5, "patience": 1}},
        "early_stopping": {"metric": "logloss", "patience": 2},
    },
}


@dataclass
class Uninterrupted:
    """A finished run, and copies of its directory from its life."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / RUN

    @property
    def moments(self) -> dict[str, list[Path]]:
        """What was about to happen or had just -> copies, in their order."""
        return {
            moment.name: sorted(moment.iterdir(), key=lambda copy: int(copy.name))
            for moment in (self.folder / "copies").iterdir()
        }

    def copy(self, moment: str) -> None:
        if self.run.exists():
            copies = self.folder / "copies" / moment
            copies.mkdir(parents=True, exist_ok=True)
            shutil.copytree(self.run, copies / f"{len(list(copies.iterdir()))}", symlinks=True)

    def lay(self, folder: Path, copy: Path) -> None:
        """Put a copy where a workplace has its run, beside the same prepared data."""
        shutil.copytree(self.folder / "prepared", folder / "prepared", dirs_exist_ok=True)
        shutil.rmtree(folder / "runs", ignore_errors=True)
        shutil.copytree(copy, folder / RUN)


@pytest.fixture(scope="session")
def uninterrupted(build_once: Callable[[str, Callable[[Path], None]], Path]) -> Uninterrupted:
    return Uninterrupted(build_once("uninterrupted", train))


def train(folder: Path) -> None:
    write_log(folder / "log.tsv", EVENTS)
    workplace, run = Workplace(folder), Uninterrupted(folder)
    workplace.write_config(**WHOLE)
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", copy_around(run, Path.replace))
        result = workplace.fit()
    assert result.exit_code == 0, result.output


def copy_around(run: Uninterrupted, replace: Any) -> Any:
    def replace_and_copy(source: Path, target: Path) -> Path:
        kind = re.sub(r"(state)(-refit)?-\d+-0\.", r"\1\2-at-an-end.", target.name)
        kind = re.sub(r"(state)(-refit)?-\d+-\d+\.", r"\1\2-inside.", kind)
        kind = re.sub(r"replaced-\w+\.", "replaced.", kind)
        run.copy(f"before {kind}")
        replaced: Path = replace(source, target)
        run.copy(f"after {kind}")
        return replaced

    return replace_and_copy


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "log.tsv", EVENTS)
    workplace = Workplace(tmp_path)
    workplace.write_config(**WHOLE)
    return workplace


def read_history(run: Path) -> list[dict[str, Any]]:
    lines = (orjson.loads(line) for line in (run / "history.jsonl").read_bytes().splitlines())
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def read_weights(run: Path) -> dict[str, bytes]:
    arrays: dict[str, bytes] = {}

    def add(name: str, each: object) -> None:
        if isinstance(each, h5py.Dataset):
            arrays[name] = each[()].tobytes()

    with h5py.File(run / "checkpoints/best.weights.h5") as file:
        file.visititems(add)
    return arrays


def read_states(run: Path) -> dict[str, dict[str, bytes]]:
    """Every saved variable: weights, slots, seed generators, running metrics."""
    states = {}
    for path in sorted((run / "checkpoints").glob("state-*.npz")):
        with np.load(path, allow_pickle=False) as file:
            states[path.name] = {name: file[name].tobytes() for name in file.files if name != "record"}
    return states


def list_checkpoints(run: Path) -> list[str]:
    """Without the digests in names: layers are numbered through a process, and weights files hold their names."""
    return sorted(re.sub(r"-[0-9a-f]{16}\.", ".", path.name) for path in (run / "checkpoints").iterdir())


def check_equal(run: Path, other: Path) -> None:
    assert read_history(run) == read_history(other)
    assert orjson.loads((run / "metrics.json").read_bytes()) == orjson.loads((other / "metrics.json").read_bytes())
    assert read_weights(run) == read_weights(other)
    states = read_states(run)
    assert states == read_states(other)
    assert len(states) == 2
    assert list_checkpoints(run) == list_checkpoints(other)


def test_the_run_has_all_that_a_state_may_miss(uninterrupted: Uninterrupted) -> None:
    history = read_history(uninterrupted.run)
    selection = [line for line in history if "phase" not in line]
    refit = [line for line in history if line.get("phase") == "refit"]
    metrics = orjson.loads((uninterrupted.run / "metrics.json").read_bytes())
    best = min(selection, key=lambda line: line["validation_logloss"])["epoch"]
    assert (metrics["refit"], metrics["best_epoch"]) == (True, best)
    assert 1 < best < len(selection) < 9  # early stopping stopped it
    assert [line["epoch"] for line in history] == [*range(1, len(selection) + 1), *range(1, best + 1)]
    rates = [line["learning_rate"] for line in selection]
    assert rates[-1] < rates[0]  # the plateau was seen
    assert [line["learning_rate"] for line in refit] == rates[:best]
    assert not any(key.startswith("validation") for line in refit for key in line)
    # 40 users with 15 events: 12 training targets, 1 validation target, with one negative each
    assert sum(read_steps(uninterrupted.run)[-1:]) == 17 * best
    assert 0 < selection[0]["embedding_norm"] < selection[-1]["embedding_norm"]


def read_steps(run: Path) -> list[int]:
    """The optimiser's count of steps in each saved state."""
    paths = sorted((run / "checkpoints").glob("state-*.npz"), key=lambda path: path.stat().st_mtime_ns)
    steps = []
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            steps.append(int(file["optimizer-0"]))
    return steps


# Of files newer than the state that training goes on from: the best weights without their record; record and history.
MOMENTS = [
    "before best.json",
    "after history.jsonl",
    "after state-at-an-end.json",
    "after state-refit-inside.json",
    "after scores.test.parquet",
    "before report.html",
    "before metrics.json",
]


def test_every_kind_of_moment_is_tried(uninterrupted: Uninterrupted) -> None:
    of_every_run = {name for name in uninterrupted.moments if "latest" not in name}
    stopped, damaged = "stopped while scoring", "a damaged newest state"  # the other tests that resume a copy
    same = {  # as far as resuming goes: nothing but a temporary file, or what the index expects, changes between these
        "after state-inside.json": stopped,
        "before state-inside.npz": stopped,
        "after state-inside.npz": stopped,
        "before state-inside.json": stopped,
        "before replaced.weights.h5": stopped,
        "after replaced.weights.h5": stopped,
        "before best.weights.h5": stopped,
        "before checksums.json": stopped,
        "after best.weights.h5": "before best.json",
        "after checksums.json": "before best.json",
        "after best.json": "after history.jsonl",
        "before history.jsonl": "after history.jsonl",
        "before state-at-an-end.npz": "after history.jsonl",
        "after state-at-an-end.npz": "after history.jsonl",
        "before state-at-an-end.json": "after history.jsonl",
        "before state-refit-inside.npz": "after state-refit-inside.json",
        "after state-refit-inside.npz": "after state-refit-inside.json",
        "before state-refit-inside.json": "after state-refit-inside.json",
        "before state-refit-at-an-end.npz": damaged,
        "after state-refit-at-an-end.npz": damaged,
        "before state-refit-at-an-end.json": damaged,
        "after state-refit-at-an-end.json": "before scores.test.parquet",
        "before scores.test.parquet": "after state-refit-at-an-end.json",
        "before environment.json": "nothing",  # and again at the end, as the next line has it
        "after environment.json": "before report.html",
        "after report.html": "before metrics.json",
        "after metrics.json": "finished",
    }
    assert of_every_run == {*MOMENTS, *same}


@pytest.mark.parametrize("moment", MOMENTS)
def test_resumed_after_a_kill(uninterrupted: Uninterrupted, workplace: Workplace, moment: str) -> None:
    copies = uninterrupted.moments[moment]
    copy = random.Random(moment).choice(copies)  # noqa: S311
    uninterrupted.lay(workplace.folder, copy)
    result = workplace.fit("--resume")
    assert result.exit_code == 0, result.output
    assert "damaged" not in result.stderr
    check_equal(workplace.folder / RUN, uninterrupted.run)
    assert not list((workplace.folder / RUN).rglob(".*"))


def damage_npz(state: Path) -> None:
    contents = bytearray(state.read_bytes())
    contents[len(contents) // 2] ^= 1
    state.write_bytes(contents)


def lose_best_weights(state: Path) -> None:
    best = orjson.loads(state.with_suffix(".json").read_bytes())["best_sha256"]
    before = sorted(state.parent.glob("state-*.json"), key=lambda path: path.stat().st_mtime_ns)[-2]
    assert best != orjson.loads(before.read_bytes())["best_sha256"]
    (state.parent / "best.weights.h5").unlink()


@pytest.mark.parametrize("damage", [damage_npz, lose_best_weights])
def test_a_damaged_newest_state_is_reported_and_the_one_before_used(
    uninterrupted: Uninterrupted, workplace: Workplace, damage: Any
) -> None:
    copies = uninterrupted.moments["after state-refit-at-an-end.json"]  # the state before is of the refit, too
    uninterrupted.lay(workplace.folder, copies[-1])
    states = sorted((workplace.folder / RUN / "checkpoints").glob("state-*.npz"), key=lambda path: path.stat().st_mtime)
    damage(states[-1])
    result = workplace.fit("--resume")
    assert result.exit_code == 0, result.output
    damaged, going_on = [line for line in result.stderr.splitlines() if "damaged" in line or "going on" in line]
    assert damaged.startswith(f"runs/small/checkpoints/{states[-1].name}: damaged (")
    assert re.fullmatch(r"runs/small: going on after epoch \d+ of the refit, step 16", going_on)
    check_equal(workplace.folder / RUN, uninterrupted.run)


def test_stopped_while_scoring_at_an_epochs_end(
    uninterrupted: Uninterrupted, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps are done and only the epoch's end is left; and before that, a kill within the first epoch."""
    uninterrupted.lay(workplace.folder, uninterrupted.moments["after state-inside.json"][0])
    calls, score_samples = [], fit.score_samples

    def stop_at_the_second(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score_samples(*arguments)

    monkeypatch.setattr(fit, "score_samples", stop_at_the_second)
    stopped = workplace.fit("--resume")
    assert stopped.exit_code == 130, stopped.output
    assert "runs/small: going on after epoch 1, step " in stopped.stderr
    assert "state saved in runs/small after epoch 2, step 15; go on with" in stopped.stderr.splitlines()[-1]
    result = workplace.fit("--resume")
    assert result.exit_code == 0, result.output
    check_equal(workplace.folder / RUN, uninterrupted.run)


def start_fit(arguments: list[str], stderr: Path) -> subprocess.Popen[bytes]:
    with stderr.open("wb") as file:
        return subprocess.Popen([sys.executable, "-m", "din_train", *arguments], stderr=file, stdout=subprocess.DEVNULL)


def wait_for_states(process: subprocess.Popen[bytes], checkpoints: Path, pattern: str, number: int) -> None:
    """Until so many states of this process have been there; they come and go."""
    before = seen = frozenset(checkpoints.glob(pattern))
    deadline = time.monotonic() + 180
    while len(seen - before) < number:
        assert process.poll() is None
        assert time.monotonic() < deadline
        seen |= frozenset(checkpoints.glob(pattern))


def test_a_real_process_stopped_and_killed(uninterrupted: Uninterrupted, workplace: Workplace) -> None:
    """It goes on by the command that the stopped one prints."""
    errors, checkpoints = workplace.folder / "errors", workplace.folder / RUN / "checkpoints"
    moments = random.SystemRandom()

    def start_and_end(arguments: list[str], number: signal.Signals, pattern: str, states: int) -> tuple[int, str]:
        with start_fit(arguments, errors) as process:
            wait_for_states(process, checkpoints, pattern, states)
            time.sleep(moments.uniform(0, 0.03))
            process.send_signal(number)
            code = process.wait(timeout=90)
        last = (errors.read_text().splitlines() or [""])[-1]
        print(pattern, states, code, last)
        return code, last

    code, last = start_and_end(
        ["fit", "--config", "small.yaml"], signal.SIGTERM, "state-?-*.json", moments.randint(1, 5)
    )
    assert code == 143
    said = re.search(r"training stopped by SIGTERM: state saved in runs/small after .*; go on with `(.*)`", last)
    assert said, last
    command, *resuming = shlex.split(said[1])
    assert command == "din-train"
    code, last = start_and_end(resuming, signal.SIGKILL, "state-refit-*.json", moments.randint(1, 3))
    assert code == -signal.SIGKILL
    result = workplace.run(*resuming)
    assert result.exit_code == 0, result.output
    assert "going on after epoch" in result.stderr
    check_equal(workplace.folder / RUN, uninterrupted.run)
