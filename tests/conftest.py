"""Fixtures for every test: the real logs, quick figures, what workers share, slow tests first."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from matplotlib.figure import Figure

from din_train.report import attention, run_plots

# XLA's programs are compiled in a fraction of the time and run once or twice; TensorFlow reads this when it starts.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

DRAWN = [(Figure, "savefig"), (attention, "draw_attention")]
DRAWN += [(run_plots, name) for name in ("Figure", "figure_style", "new_figure")]
REAL = [(place, name, getattr(place, name)) for place, name in DRAWN]

# Long ones, and files whose tests share a training: they begin first, so that no worker is left alone with one.
SLOW = (
    "test_main_job_on_real_logs.py::test_sports_din",
    "test_reproduction.py",
    "test_quickstart.py",
    "test_resume.py::test_a_real_process",
    "test_forms.py",
    "test_strategy.py",
    "test_gpu_check.py",
    "test_resume.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        return next((place for place, name in enumerate(SLOW) if name in item.nodeid), len(SLOW))

    items.sort(key=rank)  # a stable sort


@pytest.fixture(scope="session")
def real_logs() -> Path:
    """The folder of real logs; the test is skipped, saying so, where it is missing."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DIN_TRAIN_DATA") or default)
    if not folder.is_dir():
        pytest.skip(f"no real logs in {folder}; set DIN_TRAIN_DATA to their folder")
    return folder


@contextmanager
def blank_figures() -> Iterator[None]:
    """A run's sixteen figures take longer to draw than it takes to train: nothing is plotted, and nothing saved."""
    blank = (save_blank, lambda _: Figure(), BlankFigure, nullcontext, lambda *_, **__: (Figure(), MagicMock()))
    with pytest.MonkeyPatch.context() as patch:
        for (place, name), replacement in zip(DRAWN, blank, strict=True):
            patch.setattr(place, name, replacement)
        yield


class BlankFigure(Figure):
    """Two plots that take anything."""

    def subplots(self, *_: Any, **__: Any) -> Any:
        return MagicMock(), MagicMock()


def save_blank(_: Figure, file: Any, **options: Any) -> None:
    if options.get("format") == "svg":
        file.write("<svg></svg>")
    else:
        Path(file).write_bytes(b"")


@pytest.fixture(scope="module", autouse=True)
def quick_figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Figures are blank but in modules marked `figures`."""
    with nullcontext() if request.node.get_closest_marker("figures") else blank_figures():
        yield


@pytest.fixture(autouse=True)
def real_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are they in single tests marked `figures`."""
    if request.node.get_closest_marker("figures"):
        for place, name, real in REAL:
            monkeypatch.setattr(place, name, real)


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Return the folder of a name, which the first worker that asks for it builds; nobody changes what is in it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    shared.mkdir(exist_ok=True)

    def build_or_find(name: str, build: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed
                folder.mkdir()
                with blank_figures():
                    build(folder)
                done.touch()
        return folder

    return build_or_find
