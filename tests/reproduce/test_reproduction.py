"""The command on a tiny log, with real trainings: stopped, failing in one cell, gone on with, narrowed."""

import csv
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from scripts_factory import SCRIPTS

from din_train.cli import cli
from din_train.run_directory import RunDirectory

OURS = ("reproduce", "--suite", "table3", "--data", "sample", "--recipes", "ours", "--seeds", "1")
FOLDERS = ("--data-dir", "log", "--out", "out")
BASE, LR = "sample-ours-base-seed1", "sample-ours-lr-seed1"


@pytest.fixture(autouse=True)
def _sigint_reaches_children() -> Iterator[None]:
    """A test run started with `&` or `nohup` ignores SIGINT, and what it starts would, too."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a tiny log of the sample's file names where the command looks for them."""
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log"
    sizes = ("--users", "120", "--reviews", "1000", "--items", "150", "--metadata-rows", "150", "--categories", "10")
    subprocess.run([sys.executable, SCRIPTS / "data" / "make_sample.py", *sizes, log], check=True, capture_output=True)
    for name in ("reviews", "meta"):
        (path,) = log.glob(f"{name}_*")
        path.rename(log / f"{name}_Sample.json.gz")
    return tmp_path


def start(*more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "din_train", *OURS, *FOLDERS, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_table() -> dict[str, dict[str, str]]:
    with Path("out/table3.csv").open(newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def test_stopped_failing_and_gone_on_with(folder: Path) -> None:
    runs = folder / "out" / "runs"
    runs.mkdir(parents=True)
    (runs / LR).write_text("in the way")  # LR's cell cannot be trained
    models = ("--models", "base,lr")

    run = RunDirectory(runs / BASE)
    with start(*models) as process:
        wait_for(lambda: len(run.read_history()) >= 1, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    last = errors.splitlines()[-1]
    go_on = "din-train reproduce --suite table3 --data sample --seeds 1 --recipes ours --models lr,base"
    assert last == (f"interrupted; reproduction stopped in cell {BASE}; go on with `{go_on} --data-dir log --out out`")
    assert not run.is_finished
    assert list(run.checkpoints.glob("state-*"))

    with start(*models) as process:
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert re.search(rf"^error: {LR}: .*cannot be made a folder.*\(see out/cells/{LR}\.log\)$", errors, re.MULTILINE)
    assert f"1 of 2 cells failed; the others are in the tables. Run the failed ones again with `{go_on}" in errors
    history = run.read_history()
    selection = [each["epoch"] for each in history if "phase" not in each]
    assert selection == list(range(1, len(selection) + 1))  # gone on with, none twice
    table = read_table()
    assert (table["LR"]["seeds"], table["LR"]["verdict"]) == ("0", "not measured")
    base = orjson.loads((runs / BASE / "metrics.json").read_bytes())["gauc"]
    assert table["BaseModel"]["gauc_mean"] == f"{base:.6f}"
    page = Path("out/index.html").read_text()
    assert f"<b>{LR}</b>: " in page
    log = Path(f"out/cells/{BASE}.log").read_text()
    assert "going on after" in log

    (runs / LR).unlink()
    done = CliRunner().invoke(cli, [*OURS, *FOLDERS, "--models", "lr"])  # a narrower command
    assert done.exit_code == 0, done.output
    table = read_table()
    gauc = orjson.loads((runs / LR / "metrics.json").read_bytes())["gauc"]
    assert table["LR"]["gauc_mean"] == f"{gauc:.6f}"
    assert table["BaseModel"]["gauc_mean"] == f"{base:.6f}"
    expected = ((gauc - 0.5) / (base - 0.5) - 1) * 100
    assert float(table["LR"]["rela_impr"]) == pytest.approx(expected, abs=0.006)
    assert f"<b>{LR}</b>: " not in Path("out/index.html").read_text()
    assert f"| LR | 1 | {gauc:.4f} |" in done.stdout

    shutil.rmtree(folder / "log")  # all is prepared and trained, so the log is not needed any more
    done = CliRunner().invoke(cli, [*OURS, *FOLDERS, *models])
    assert done.exit_code == 0, done.output
    assert "no longer there; going on with what was prepared from it" in done.stderr
    assert "2 cells, 2 of them done" in done.stderr
    assert read_table() == table
    assert {"index.html", "table3.md", "table3.csv", "sample.md", "sample"} <= {p.name for p in Path("out").iterdir()}
