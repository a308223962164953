"""What the run directories say, set beside what is published."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from din_train.errors import RunError
from din_train.evaluation.metrics import compute_rela_impr
from din_train.reproduce import published
from din_train.reproduce.catalogue import Row
from din_train.reproduce.cells import Cell
from din_train.terminal import say

TOLERANCE = 0.005  # of GAUC: a difference of at most this, or of two standard deviations, is a reproduction


@dataclass(frozen=True)
class Line:
    """One line of a table: a model on a data set by a recipe.

    gauc: by seed. rela_impr: per cent over BaseModel of the same data and recipe. reference: what `difference` is from.
    """

    data: str
    recipe: str
    key: str
    model: str
    gauc: dict[int, float]
    auc_mean: float | None
    rela_impr: float | None
    published: float | None
    withdrawn: bool
    corrected: float | None
    bars: float | None
    reference: float | None
    selection: str
    protocol: str

    @property
    def mean(self) -> float | None:
        return statistics.mean(self.gauc.values()) if self.gauc else None

    @property
    def sd(self) -> float | None:
        """Of the seeds; None where there is one."""
        return statistics.stdev(self.gauc.values()) if len(self.gauc) > 1 else None

    @property
    def difference(self) -> float | None:
        return None if self.mean is None or self.reference is None else self.mean - self.reference

    @property
    def verdict(self) -> str:
        return judge(self.mean, self.sd, self.reference)

    @property
    def note(self) -> str:
        return published.WITHDRAWN_REASON if self.withdrawn else ""


def judge(mean: float | None, sd: float | None, reference: float | None) -> str:
    """`reproduced` within two standard deviations or `TOLERANCE` of the reference, whichever is more; or which side."""
    if mean is None:
        return "not measured"
    if reference is None:
        return "no published value"
    difference = mean - reference
    if abs(difference) <= max(2 * (sd or 0.0), TOLERANCE):
        return "reproduced"
    return "above" if difference > 0 else "below"


def collect_lines(cells: Sequence[Cell], rows: Sequence[Row], recipes: Sequence[str], base: str) -> list[Line]:
    """A line for every data set, recipe and row that has a cell, measured or not.

    Args:
        rows: of the suite. base: the key of the row that RelaImpr is over.
    """
    lines = []
    groups: dict[tuple[str, str], dict[str, list[Cell]]] = {}
    for cell in cells:
        if cell.recipe.name in recipes:
            groups.setdefault((cell.dataset.name, cell.recipe.name), {}).setdefault(cell.row.key, []).append(cell)
    for of_rows in groups.values():
        measured = {key: _read(each) for key, each in of_rows.items()}
        base_gauc = _mean([metrics["gauc"] for metrics in measured.get(base, {}).values()])
        of_suite = [row for row in rows if row.key in of_rows]
        lines += [_build_line(row, of_rows[row.key][0], measured[row.key], base_gauc) for row in of_suite]
    return lines


def _build_line(row: Row, cell: Cell, measured: dict[int, dict[str, Any]], base_gauc: float | None) -> Line:
    name = cell.dataset.published
    gauc = {seed: metrics["gauc"] for seed, metrics in measured.items() if metrics["gauc"] is not None}
    return Line(
        data=cell.dataset.name,
        recipe=cell.recipe.name,
        key=row.key,
        model=row.label,
        gauc=gauc,
        auc_mean=_mean([metrics["auc"] for metrics in measured.values()]),
        rela_impr=compute_rela_impr(_mean(list(gauc.values())), base_gauc),
        published=published.find_published(name, row.key),
        withdrawn=published.is_withdrawn(name, row.key),
        corrected=published.find_corrected(name, row.key),
        bars=published.find_bars(name, row.key),
        reference=published.find_reference(name, row.key),
        selection=cell.recipe.selection,
        protocol=cell.config["data"]["protocol"],
    )


def _read(cells: Sequence[Cell]) -> dict[int, dict[str, Any]]:
    """Seed -> metrics of the cells that have them, and whose numbers are theirs."""
    found = {}
    for cell in cells:
        if cell.is_measured:
            try:
                found[cell.seed] = cell.run.read_metrics()
            except RunError as error:
                say(str(error))
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def group_lines(lines: Sequence[Line]) -> list[list[Line]]:
    """Those of one data set and recipe together."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.data, line.recipe), []).append(line)
    return list(groups.values())
