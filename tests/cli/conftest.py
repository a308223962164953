"""A workplace, and TensorFlow started once, as the commands start it."""

import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest
from log_factory import write_log
from workplace import EVENTS, Workplace, move_run

from din_train.tensorflow_setup import start_tensorflow

start_tensorflow("cpu")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "log.tsv", EVENTS)
    workplace = Workplace(tmp_path)
    workplace.write_config()
    return workplace


@pytest.fixture(scope="session")
def finished_run(build_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A workplace's folder after `fit`, for all tests that only need a run; they work in copies of it."""
    return build_once("finished", lambda folder: fit(folder, "runs/small"))


@pytest.fixture(scope="session")
def second_run(build_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The like, with another training of the same data in `runs/other`."""
    return build_once("second", lambda folder: fit(folder, "runs/other", "--set", "seed=2"))


def fit(folder: Path, run: str, *arguments: str) -> None:
    write_log(folder / "log.tsv", EVENTS)
    workplace = Workplace(folder)
    workplace.write_config()
    with chdir(folder):
        result = workplace.fit("--run-dir", run, *arguments)
    assert result.exit_code == 0, result.output


@pytest.fixture
def fitted(finished_run: Path, workplace: Workplace) -> Workplace:
    """A workplace as `workplace.fit()` leaves it."""
    shutil.copytree(finished_run, workplace.folder, symlinks=True, dirs_exist_ok=True)
    move_run(workplace.folder / "runs/small", finished_run, workplace.folder)
    return workplace


@pytest.fixture
def two_runs(second_run: Path, fitted: Workplace) -> Workplace:
    """A workplace with `runs/small`, the latest, and `runs/other`."""
    other = Path(shutil.copytree(second_run / "runs/other", fitted.folder / "runs/other"))
    move_run(other, second_run, fitted.folder)
    return fitted
