"""Ctrl-C and SIGTERM: a quick end, one line, the right exit code, the state kept and usable.

SIGTERM in training is in `test_resume.py`.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import orjson
import pytest
from workplace import Workplace


@pytest.fixture(autouse=True)
def _sigint_reaches_children() -> Iterator[None]:
    """A test run started with `&` or `nohup` ignores SIGINT, and what it starts would, too."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def start_fit(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "din_train", "fit", "--config", "small.yaml"]
    settings = ("--set", "model.name=lr", "--set", "training.epochs=100000")
    return subprocess.Popen(
        [*command, *settings, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_state_is_kept(workplace: Workplace) -> None:
    history = workplace.folder / "runs/small/history.jsonl"
    with start_fit("--set", "training.select_on=none") as process:
        wait_for(lambda: history.exists() and history.read_bytes().count(b"\n") >= 2, process)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - sent < 10
    assert process.returncode == 130
    finished = len(history.read_bytes().splitlines())
    last = errors.splitlines()[-1]
    saved = re.fullmatch(
        r"interrupted; training stopped by Ctrl-C: state saved in runs/small after epoch (\d+)(?:, step (\d+))?; "
        "go on with `din-train fit --config runs/small/config.yaml --resume`",
        last,
    )
    assert saved, last
    assert int(saved[1]) == (finished + 1 if saved[2] else finished)
    stem = f"state-{finished}-{saved[2] or 0}"
    assert {f"{stem}.npz", f"{stem}.json"} <= {path.name for path in (history.parent / "checkpoints").iterdir()}
    assert "Traceback" not in errors
    result = workplace.run("eval", "--json")
    assert result.exit_code == 0
    assert orjson.loads(result.stdout)["best_epoch"] == finished
    assert not (workplace.folder / "runs/small/metrics.json").exists()


def test_before_the_first_epoch_ends(workplace: Workplace) -> None:
    run = workplace.folder / "runs/small"
    settings = ("model.name=din", "negatives.per_positive=1000", "training.batch_size=8")
    long_epoch = [part for each in settings for part in ("--set", each)]
    with start_fit(*long_epoch) as process:
        wait_for(lambda: (run / "config.yaml").exists(), process)
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    first, *plan, last = errors.splitlines()
    assert first == "prepared/small: prepared, because there was none"
    assert len(plan) == 2
    assert re.fullmatch(
        r"interrupted; training stopped by Ctrl-C: state saved in runs/small after epoch 1, step \d+; "
        "go on with `din-train fit --config runs/small/config.yaml --resume`",
        last,
    ), last
    assert not (run / "history.jsonl").exists()
    result = workplace.run("eval")
    assert result.exit_code == 1
    assert "no weights saved; the run stopped before its first epoch ended" in result.stderr


# Stops inside `prepare`, in the hands of a library that hands the interruption on as an error of its own or does not.
PREPARE = """
import sys, time
from din_train.dataset import event_log as from_log
how = sys.argv[1]
def stay(*_, **__):
    print("ready", flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        if how == "swallowed":
            raise RuntimeError("Query interrupted") from None
        raise
from_log.order_log = stay
sys.argv[1:] = ["prepare", "--config", "small.yaml"]
from din_train.cli import main
main()
"""


@pytest.mark.parametrize(
    ("number", "exit_code", "how"), [(signal.SIGINT, 130, "swallowed"), (signal.SIGTERM, 143, "plain")]
)
def test_preparing_leaves_nothing(workplace: Workplace, number: signal.Signals, exit_code: int, how: str) -> None:
    before = workplace.list_files()
    with subprocess.Popen(
        [sys.executable, "-c", PREPARE, how],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == exit_code
    assert errors == "interrupted; files are written whole or not at all, so the same command can run again\n"
    assert workplace.list_files() == before
    assert [path.name for path in (workplace.folder / "prepared").iterdir()] == []


def test_a_signal_the_parent_ignores_stays_ignored(workplace: Workplace) -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code += "from din_train.signals import deferred_signals, watch_signals; watch_signals()\n"
    code += "with deferred_signals(): signal.raise_signal(signal.SIGINT)\n"
    code += "signal.raise_signal(signal.SIGINT); print('alive')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=workplace.folder, check=True
    )
    assert done.stdout == "alive\n"


@pytest.mark.parametrize("loaded", [True, False])
def test_a_failure_with_tensorflow_loaded_ends_without_tear_down(workplace: Workplace, loaded: bool) -> None:
    """Tearing down a dataset that was cut short can wait for ever."""
    code = "import atexit, sys, types\natexit.register(lambda: print('torn down'))\n"
    code += "sys.modules['tensorflow'] = types.ModuleType('tensorflow')\n" if loaded else ""
    code += "sys.argv = ['din-train', 'eval', '--run-dir', 'nowhere']\nfrom din_train.cli import main\nmain()\n"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=workplace.folder, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere: not a run directory")
    assert done.stdout == ("" if loaded else "torn down\n")
