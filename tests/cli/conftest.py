"""A workplace, and TensorFlow started once, as the commands start it."""

import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from log_factory import write_log
from matplotlib.figure import Figure
from workplace import EVENTS, Workplace, move_run

from din_train.tensorflow_setup import start_tensorflow

start_tensorflow("cpu")


@pytest.fixture(autouse=True)
def quick_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are blank but in tests marked `figures`: a run's sixteen take longer to draw than it takes to train."""
    if request.node.get_closest_marker("figures") is None:
        monkeypatch.setattr(Figure, "savefig", save_blank)


def save_blank(_: Figure, file: Any, **options: Any) -> None:
    if options.get("format") == "svg":
        file.write("<svg></svg>")
    else:
        Path(file).write_bytes(b"")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "log.tsv", EVENTS)
    workplace = Workplace(tmp_path)
    workplace.write_config()
    return workplace


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace's folder after `fit`, for all tests that only need a run; they work in copies of it."""
    folder = tmp_path_factory.mktemp("finished")
    write_log(folder / "log.tsv", EVENTS)
    workplace = Workplace(folder)
    workplace.write_config()
    with chdir(folder):
        result = workplace.fit()
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def fitted(finished_run: Path, workplace: Workplace) -> Workplace:
    """A workplace as `workplace.fit()` leaves it."""
    shutil.copytree(finished_run, workplace.folder, symlinks=True, dirs_exist_ok=True)
    move_run(workplace.folder / "runs/small", finished_run, workplace.folder)
    return workplace
