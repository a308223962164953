"""A sweep: a grid of configs and seeds, each cell one run directory, trained by `din-train fit` in its own process.

OUT/runs/<cell>/               the run directory
OUT/cells/<cell>.yaml          its config, resolved
OUT/cells/<cell>.log           what `fit` printed
OUT/cells/<cell>.cost.json     seconds of all its processes together, bytes of the largest
OUT/cells/<cell>.failure.txt   why it failed, in one line; there is no such file if it did not

Configs come from `load_config`, so they are ordinary files with `--set` overrides. A cell that fails leaves the
others alone. The same sweep, started again, skips the cells that are finished and resumes the one that was stopped.
`sweep_plan.py` estimates what a sweep takes.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from din_train.config import Config, dump_config, find_differences, load_config
from din_train.errors import ConfigError, Interrupted, RunError
from din_train.files import hold, make_folder, write_text
from din_train.logs import FILE_KEYS
from din_train.run_directory import RunDirectory, find_training_differences
from din_train.signals import interrupted_exit_code, received_signal
from din_train.terminal import format_seconds, say

Count = Annotated[int, Field(ge=0, lt=2**63)]

_NAME = re.compile(r"(?P<place>.+)-seed(?P<seed>[1-9]\d*)")
_MAY_DIFFER = {"name", "seed", "data.prepared", *(f"data.{key}" for key in FILE_KEYS)}  # between the seeds of a place
FIT = (sys.executable, "-m", "din_train", "fit")
POLL_SECONDS = 0.5  # between two looks at a cell's process


@dataclass(frozen=True)
class Cost:
    """What the processes of a cell took: seconds together, bytes of the largest."""

    seconds: Annotated[float, Field(ge=0, lt=1e12)]
    peak_bytes: Count


@dataclass(frozen=True)
class Cell:
    """One training of a sweep.

    place: the cell's name on each axis of the grid but the seed, such as `("sports", "ours", "din")`.
    """

    out: Path
    place: tuple[str, ...]
    seed: int
    config: Config

    @property
    def name(self) -> str:
        return f"{'-'.join(self.place)}-seed{self.seed}"

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.out / "runs" / self.name)

    def file(self, ending: str) -> Path:
        """One of the cell's files beside its run directory: `yaml`, `log`, `cost.json` or `failure.txt`."""
        return self.out / "cells" / f"{self.name}.{ending}"

    @property
    def is_measured(self) -> bool:
        """Whether the cell has finished, and its numbers are those of this config."""
        return self.run.is_finished and self.read_failure() is None

    def write_config(self) -> None:
        write_text(self.file("yaml"), dump_config(self.config))

    def read_failure(self) -> str | None:
        """The last line that `fit` printed before it failed."""
        try:
            return self.file("failure.txt").read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return None

    def record_failure(self, line: str | None) -> None:
        """Keep the line; None removes that of an earlier start."""
        if line is None:
            self.file("failure.txt").unlink(missing_ok=True)
        else:
            write_text(self.file("failure.txt"), f"{line}\n")

    def read_cost(self) -> Cost | None:
        """What the cell has taken so far; None if it was never measured."""
        try:
            return TypeAdapter(Cost).validate_json(self.file("cost.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def add_cost(self, cost: Cost) -> None:
        before = self.read_cost() or Cost(0.0, 0)
        total = Cost(before.seconds + cost.seconds, max(before.peak_bytes, cost.peak_bytes))
        write_text(self.file("cost.json"), orjson.dumps(total).decode())


def build_cell(out: Path, place: tuple[str, ...], seed: int, config: Config) -> Cell:
    """A cell of `config`, which takes the cell's name and seed."""
    cell = Cell(out, place, seed, config)
    return Cell(out, place, seed, config.model_copy(update={"name": cell.name, "seed": seed}))


def find_cells(out: Path, planned: Sequence[Cell], axes: int) -> list[Cell]:
    """The planned cells, and after them those that earlier sweeps of other cells left in the folder.

    A cell that was trained by another config than the planned cells of its place is left out, with a line that says so.

    Args:
        axes: how many names a place has; the last one may contain hyphens.
    """
    cells = {cell.name: cell for cell in planned}
    siblings = {cell.place: cell for cell in planned}
    for path in sorted((out / "cells").glob("*-seed*.yaml")):
        match = _NAME.fullmatch(path.stem)
        begun = (out / "runs" / path.stem).exists() or path.with_suffix(".failure.txt").exists()
        if match is None or not begun or path.stem in cells:
            continue
        try:
            config = load_config(path)
        except ConfigError:  # damaged
            continue
        cell = Cell(out, tuple(match["place"].split("-", axes - 1)), int(match["seed"]), config)
        sibling = siblings.get(cell.place)
        if sibling and any(key not in _MAY_DIFFER for key, *_ in find_differences(sibling.config, config)):
            say(f"{cell.run.path}: trained by another config than seed {sibling.seed} is now; not in the tables")
        else:
            cells[cell.name] = cell
    return list(cells.values())


@contextlib.contextmanager
def only_one_at_a_time(out: Path, called: str = "sweep") -> Iterator[int]:
    """Lock the folder, also for a cell that outlives this process; yields the lock's file descriptor.

    Args:
        called: what the sweep is to the user.
    """
    make_folder(out)
    with hold(out, wait=lambda line: say(f"{line} (another {called}, or its last cell)")) as lock:
        yield lock


def run_cells(
    cells: Sequence[Cell],
    estimated: Mapping[str, float],
    lock: int,
    *,
    called: str = "sweep",
    how_to_go_on: str,
    changed: Callable[[], None],
) -> dict[str, str]:
    """Run the cells that are not finished, in order; name -> last line of each that failed.

    Args:
        estimated: seconds of each cell, by its name. lock: of `only_one_at_a_time`. called: what the sweep is to the
            user. how_to_go_on: the command that continues it. changed: called at the beginning and after each cell.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM; the cell under way has saved its state.
    """
    failures: dict[str, str] = {}
    go_on = f"go on with `{how_to_go_on}`"
    finished = {cell.name for cell in cells if cell.run.is_finished}
    for cell in cells:
        cell.write_config()
    with _progress(len(cells), {name: left for name, left in estimated.items() if name not in finished}) as clock:
        changed()
        for cell in cells:
            if cell.name in finished:
                line = find_disagreement(cell)
                cell.record_failure(line)
                if line is None:
                    continue
            else:
                cell.record_failure(None)
                clock.begin(cell)
                stopped = f"{called} stopped in cell {cell.name}; {go_on}"
                line = run_cell(cell, lock, stopped, waiting=partial(clock.show, cell))
                cell.record_failure(line)
                clock.end(cell)
            if line is not None:
                failures[cell.name] = line
                say(f"{cell.name}: failed: {line}")
            changed()
    return failures


def find_disagreement(cell: Cell) -> str | None:
    """Why a finished run's numbers are not those of the cell: another config, or a damaged file."""
    try:
        differences = find_training_differences(cell.run.read_config(), cell.config)
        cell.run.read_metrics()
    except RunError as error:
        return error.problems[0]
    if not differences:
        return None
    key, there, here = differences[0]
    return f"{cell.run.path}: finished with another config ({key}: {there} there, {here} here); remove it to run anew"


def run_cell(
    cell: Cell, lock: int, if_stopped: str, *options: str, waiting: Callable[[], None] = lambda: None
) -> str | None:
    """The last line that the cell's process printed if it failed.

    Args:
        lock, options: see `CellProcess`. if_stopped: what is said on Ctrl-C. waiting: called now and then.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM; the cell has saved its state.
    """
    process = CellProcess(cell, lock, *options)
    try:
        while not process.has_ended():
            waiting()
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        stop_cells([process])
        raise Interrupted(if_stopped, interrupted_exit_code()) from None
    return process.describe_failure()


class CellProcess:
    """`din-train fit --resume` of a cell, in a process of its own; what it takes is added to the cell's cost.

    Args:
        lock: a file descriptor; its lock holds as long as the cell runs, even if this process is killed.
        options: further options of `fit`.
    """

    def __init__(self, cell: Cell, lock: int, *options: str) -> None:
        self.cell = cell
        files = ["--config", str(cell.file("yaml")), "--run-dir", str(cell.run.path)]
        with cell.file("log").open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own command
                [*FIT, *files, "--resume", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C reaches it once, from this process
                pass_fds=[lock],
            )
        self._started = time.monotonic()

    @property
    def exit_code(self) -> int | None:
        """Minus the signal's number if a signal killed it; None while it runs."""
        return self._child.returncode

    def has_ended(self) -> bool:
        return self._wait(os.WNOHANG)

    def send_signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child.pid, number)

    def wait(self) -> None:
        self._wait(0)

    def describe_failure(self) -> str | None:
        """The last line that it printed if it failed."""
        if self.exit_code == 0:
            return None
        return _read_last_line(self.cell.file("log")) or f"ended with exit code {self.exit_code}"

    def _wait(self, options: int) -> bool:
        if self.exit_code is not None:
            return True
        pid, status, usage = os.wait4(self._child.pid, options)
        if pid:
            self._child.returncode = os.waitstatus_to_exitcode(status)
            peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            self.cell.add_cost(Cost(time.monotonic() - self._started, peak_bytes))
        return bool(pid)


def stop_cells(processes: Sequence[CellProcess]) -> None:
    """Let them save their states, and wait for it; a second signal to this process kills them."""
    try:
        for each in processes:
            each.send_signal(received_signal() or signal.SIGINT)
        for each in processes:
            each.wait()
    except KeyboardInterrupt:
        for each in processes:
            each.send_signal(signal.SIGKILL)
        for each in processes:
            each.wait()


def _read_last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip().removeprefix("error: ") for line in reversed(lines) if line.strip()), "")


class _Clock:
    """The bar over the cells, and how much time is left: estimates, scaled by how right they were so far."""

    def __init__(self, estimated: Mapping[str, float], progress: Progress, task: TaskID) -> None:
        self._estimates = estimated
        self._progress = progress
        self._task = task
        self._left = sum(estimated.values())
        self._estimated = self._taken = 0.0
        self._started = time.monotonic()

    def begin(self, cell: Cell) -> None:
        self._started = time.monotonic()
        self.show(cell)

    def end(self, cell: Cell) -> None:
        seconds = time.monotonic() - self._started
        self._left -= self._estimates[cell.name]
        self._estimated += self._estimates[cell.name]
        self._taken += seconds
        self._progress.advance(self._task)
        say(f"{cell.name}: {format_seconds(seconds)}; about {format_seconds(self._left * self._scale)} left")

    def show(self, cell: Cell) -> None:
        elapsed = time.monotonic() - self._started
        left = format_seconds(max(self._left * self._scale - elapsed, 0.0))
        line = f"{cell.name}  {format_seconds(elapsed)}  about {left} left"
        self._progress.update(self._task, description=line)

    @property
    def _scale(self) -> float:
        return self._taken / self._estimated if self._estimated else 1.0


@contextlib.contextmanager
def _progress(cells: int, estimated: Mapping[str, float]) -> Iterator[_Clock]:
    console = Console(stderr=True)
    columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield _Clock(estimated, bar, bar.add_task("", total=cells, completed=cells - len(estimated)))
