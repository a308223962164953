"""The cells, one after the other, each `din-train fit` in a process of its own: what fails there leaves the rest."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from din_train.config import find_differences, load_config
from din_train.errors import Interrupted, RunError
from din_train.files import hold, make_folder
from din_train.reproduce.cells import Cell, Cost
from din_train.reproduce.plan import Plan, format_seconds
from din_train.signals import interrupted_exit_code, received_signal
from din_train.terminal import say

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Failure:
    """A cell that failed, and the last line it said."""

    cell: Cell
    line: str


def run_cells(plan: Plan, lock: int, *, how_to_go_on: str, changed: Callable[[], None]) -> list[Failure]:
    """Run what is not done, in order.

    Args:
        lock: of `only_one_at_a_time`.
        how_to_go_on: the command that continues.
        changed: called at the beginning and after each cell.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM; the cell under way has saved its state.
    """
    failures: list[Failure] = []
    with _progress(plan) as clock:
        changed()
        for cell in plan.cells:
            if cell.name in plan.finished:
                line = _find_disagreement(cell)
                cell.record_failure(line)
                if line is None:
                    continue
            else:
                cell.record_failure(None)
                clock.begin(cell)
                line = _run_cell(cell, lock, clock, how_to_go_on)
                cell.record_failure(line)
                clock.end(cell)
            if line is not None:
                failures.append(Failure(cell, line))
                say(f"{cell.name}: failed: {line}")
            changed()
    return failures


def _find_disagreement(cell: Cell) -> str | None:
    """What a finished run has that the plan does not, or what is damaged: its numbers would be wrong here."""
    try:
        differences = find_differences(cell.run.read_config(), load_config(cell.config_file))
        cell.run.read_metrics()
    except RunError as error:
        return error.problems[0]
    if not differences:
        return None
    key, there, here = differences[0]
    return f"{cell.run.path}: finished with another config ({key}: {there} there, {here} here); remove it to run anew"


def _run_cell(cell: Cell, lock: int, clock: "_Clock", how_to_go_on: str) -> str | None:
    """`fit --resume`; what it said last if it failed."""
    command = [sys.executable, "-m", "din_train", "fit", "--config", str(cell.config_file)]
    command += ["--run-dir", str(cell.run.path), "--resume"]
    with cell.log_file.open("ab") as log:
        child = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that Ctrl-C comes to it once, from here
            pass_fds=[lock],  # held as long as it lives, even if this process is killed
        )
    started = time.monotonic()
    try:
        peak_bytes = _wait(child, lambda: clock.show(cell))
        cell.add_cost(Cost(time.monotonic() - started, peak_bytes))
    except KeyboardInterrupt:
        _stop(child)
        cell.add_cost(Cost(time.monotonic() - started, 0))
        message = f"reproduction stopped in cell {cell.name}; go on with `{how_to_go_on}`"
        raise Interrupted(message, interrupted_exit_code()) from None
    if child.returncode == 0:
        return None
    return _last_line(cell.log_file) or f"ended with exit code {child.returncode}"


def _wait(child: "subprocess.Popen[bytes]", show: Callable[[], None]) -> int:
    """Until it ends, calling `show` now and then; bytes of its largest resident set."""
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        show()
        time.sleep(_POLL_SECONDS)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """Let it save its state; a second signal to us does not wait for that."""
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(received_signal() or signal.SIGINT)
    try:
        child.wait()
    except KeyboardInterrupt:
        child.kill()
        child.wait()


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip().removeprefix("error: ") for line in reversed(lines) if line.strip()), "")


@contextlib.contextmanager
def only_one_at_a_time(out: Path) -> Iterator[int]:
    """Hold the folder's lock, which a cell that outlived its parent holds, too; yields its file descriptor."""
    make_folder(out)
    with hold(out, wait=lambda line: say(f"{line} (another reproduction, or its last cell)")) as lock:
        yield lock


class _Clock:
    """The bar over the cells, and how much time is left: estimates, scaled by how true they have been."""

    def __init__(self, plan: Plan, progress: Progress, task: TaskID) -> None:
        self._plan = plan
        self._progress = progress
        self._task = task
        self._left = plan.seconds
        self._estimated = self._taken = 0.0
        self._started = time.monotonic()

    def begin(self, cell: Cell) -> None:
        self._started = time.monotonic()
        self.show(cell)

    def end(self, cell: Cell) -> None:
        seconds = time.monotonic() - self._started
        estimated = self._plan.estimates[cell.name].seconds
        self._left -= estimated
        self._estimated += estimated
        self._taken += seconds
        self._progress.advance(self._task)
        say(f"{cell.name}: {format_seconds(seconds)}; about {format_seconds(self._left * self._scale)} left")

    def show(self, cell: Cell) -> None:
        elapsed = time.monotonic() - self._started
        left = max(self._left * self._scale - elapsed, 0.0)
        line = f"{cell.name}  {format_seconds(elapsed)}"
        self._progress.update(self._task, description=line, left=f"about {format_seconds(left)} left")

    @property
    def _scale(self) -> float:
        return self._taken / self._estimated if self._estimated else 1.0


@contextlib.contextmanager
def _progress(plan: Plan) -> Iterator[_Clock]:
    console = Console(stderr=True)
    columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}  {task.fields[left]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(plan.cells), completed=len(plan.finished), left="")
        yield _Clock(plan, bar, task)
