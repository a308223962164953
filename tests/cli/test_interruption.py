"""Ctrl-C and SIGTERM during `fit`: a quick end, the right exit code, finished epochs kept and usable."""

import signal
import subprocess
import sys
import time

import orjson
import pytest
from workplace import Workplace


def start_fit(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "din_train", "fit", "--config", "small.yaml", "--set", "training.epochs=100000"]
    return subprocess.Popen(
        [*command, "--set", "training.select_on=none", *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "exit_code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_finished_epochs_are_kept(workplace: Workplace, number: signal.Signals, exit_code: int, name: str) -> None:
    history = workplace.folder / "runs/small/history.jsonl"
    with start_fit() as process:
        wait_for(lambda: history.exists() and history.read_bytes().count(b"\n") >= 2, process)
        process.send_signal(number)
        sent = time.monotonic()
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - sent < 5
    assert process.returncode == exit_code
    finished = len(history.read_bytes().splitlines())
    last = errors.splitlines()[-1]
    assert last == (
        f"interrupted; training stopped by {name}: {finished} finished epoch(s) kept in runs/small; "
        "score them with `din-train eval --run-dir runs/small`"
    )
    assert "Traceback" not in errors
    result = workplace.run("eval", "--json")
    assert result.exit_code == 0
    assert orjson.loads(result.stdout)["best_epoch"] == finished
    assert not (workplace.folder / "runs/small/metrics.json").exists()


def test_before_the_first_epoch_ends(workplace: Workplace) -> None:
    run = workplace.folder / "runs/small"
    with start_fit("--set", "negatives.per_positive=3000", "--set", "training.batch_size=16") as process:
        wait_for(lambda: (run / "config.yaml").exists(), process)
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("interrupted; ")
    assert not (run / "history.jsonl").exists()
    result = workplace.run("eval")
    assert result.exit_code == 1
    assert "no weights saved; the run stopped before its first epoch ended" in result.stderr
