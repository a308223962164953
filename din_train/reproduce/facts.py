"""What the tables stand on: when, where and by which command, from the cells' own files."""

import platform
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from din_train.environment import describe_machine
from din_train.errors import RunError
from din_train.evaluation.words import ENVIRONMENT
from din_train.reproduce.catalogue import RECIPES, SUITES, load_suite
from din_train.reproduce.cells import Cell, list_recipes
from din_train.run_directory import RunDirectory

# Keys of environment.json whose values are shown; the others differ from cell to cell.
_SHOWN = ("din_train", "python", "tensorflow", "keras", "numpy", "platform", "cpu_cores", "device", "processor")


@dataclass(frozen=True)
class Facts:
    """Of the cells that finished.

    date: UTC days on which they did, `2026-01-31` or two of them. environment: (name, value); values of several
    machines stand side by side. seconds: of all cells together. peak_bytes: of the largest process.
    """

    date: str
    command: str
    environment: tuple[tuple[str, str], ...]
    seconds: float
    peak_bytes: int

    @property
    def machine(self) -> str:
        """In a line."""
        return ", ".join(f"{name} {value}" for name, value in self.environment)


def collect_facts(cells: Sequence[Cell]) -> Facts:
    """From the run directories as they are; nothing is measured."""
    finished = [cell for cell in cells if cell.run.is_finished]
    costs = [cost for cell in cells if (cost := cell.read_cost()) is not None]
    days = sorted({_find_day(cell.run.metrics_file()) for cell in finished})
    return Facts(
        date=" to ".join(dict.fromkeys((days[0], days[-1]))) if days else "",
        command=describe_command(cells),
        environment=_collect_environment(finished),
        seconds=sum(cost.seconds for cost in costs),
        peak_bytes=max((cost.peak_bytes for cost in costs), default=0),
    )


def describe_command(cells: Sequence[Cell]) -> str:
    """What makes these cells, on anybody's machine: the logs' folder is left to the reader."""
    keys = {cell.row.key for cell in cells}
    rows = {name: [row.key for row in load_suite(name).rows] for name in SUITES}
    of_table_3, of_table_4 = (bool(keys & (set(rows[name]) - {"base"})) for name in ("table3", "table4"))
    suites = [*(["table3"] if of_table_3 or not of_table_4 else []), *(["table4"] if of_table_4 else [])]
    datasets = list({cell.dataset.name: cell.dataset for cell in cells}.values())
    recipes = {cell.recipe.name for cell in cells}
    offered = {recipe.name for dataset in datasets for recipe in list_recipes(dataset, RECIPES)}
    wanted = {key for name in suites for key in rows[name]}
    words = ["din-train", "reproduce", "--suite", ",".join(suites)]
    words += ["--data", ",".join(dataset.name for dataset in datasets)]
    words += ["--seeds", str(max((cell.seed for cell in cells), default=1))]
    if recipes != offered and "table3" in suites:
        words += ["--recipes", ",".join(name for name in RECIPES if name in recipes)]
    if keys != wanted:
        words += ["--models", ",".join(dict.fromkeys(key for name in suites for key in rows[name] if key in keys))]
    if [dataset.name for dataset in datasets] != ["sample"]:
        words += ["--data-dir", "FOLDER"]
    return shlex.join(words)


def _find_day(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d")


def _collect_environment(cells: Sequence[Cell]) -> tuple[tuple[str, str], ...]:
    recorded = [found for cell in cells if (found := _read_environment(cell.run))]
    values: dict[str, dict[str, None]] = {}
    for each in recorded or [_describe_this_machine()]:
        for key in each.keys() & set(_SHOWN):
            values.setdefault(key, {})[str(each[key])] = None
    return tuple((ENVIRONMENT[key], " and ".join(values[key])) for key in _SHOWN if key in values)


def _read_environment(run: RunDirectory) -> dict[str, Any]:
    """Nothing where it is missing or damaged."""
    try:
        return run.read_environment()
    except RunError:
        return {}


def _describe_this_machine() -> dict[str, Any]:
    """For runs that recorded none: what writes the tables is where they were trained, unless they were moved."""
    return {**describe_machine(), "processor": _name_processor()}


def _name_processor() -> str:
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine()
