"""What the run directories say, set beside what is published."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from din_train.errors import RunError
from din_train.evaluation.metrics import compute_rela_impr
from din_train.files import atomic_file
from din_train.report.terminal import say
from din_train.reproduce import published
from din_train.reproduce.catalogue import Row
from din_train.reproduce.cells import Cell

TOLERANCE = 0.005  # of GAUC: a difference of at most this, or of two standard deviations, is a reproduction
COLUMNS = (
    "data", "recipe", "model", "seeds", "gauc_mean", "gauc_sd", "auc_mean", "rela_impr", "published",
    "corrected_2020", "bars", "difference", "verdict", "selection", "protocol", "note",
)  # fmt: skip


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
    """Seed -> metrics of the cells that have them."""
    found = {}
    for cell in cells:
        if cell.run.is_finished:
            try:
                found[cell.seed] = cell.run.read_metrics()
            except RunError as error:
                say(str(error))
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def build_csv(lines: Sequence[Line]) -> str:
    """Every number with six digits; empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        numbers = (line.mean, line.sd, line.auc_mean)
        values = (line.published, line.corrected, line.bars, line.difference)
        row = [line.data, line.recipe, line.model, len(line.gauc), *map(_six, numbers)]
        row += [_format(line.rela_impr, "+.2f"), *map(_six, values)]
        writer.writerow([*row, line.verdict, line.selection, line.protocol, line.note])
    return text.getvalue()


def build_markdown(title: str, lines: Sequence[Line], paragraphs: Sequence[str]) -> str:
    """One table a data set and recipe, with what it stands on."""
    parts = [f"# {title}", *paragraphs]
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.data, line.recipe), []).append(line)
    for (data, recipe), group in groups.items():
        parts.append(f"## {data}, recipe {recipe}\n\nProtocol {group[0].protocol}; {group[0].selection}.")
        parts.append("\n".join([_HEADER, _RULE, *map(_build_markdown_row, group)]))
    if any(line.withdrawn for line in lines):
        parts.append(f"Struck through: {published.WITHDRAWN_REASON}.")
    return "\n\n".join(parts) + "\n"


_HEADER = "| Model | Seeds | GAUC | sd | AUC | RelaImpr | Published | Corrected 2020 | BARS | Difference | Verdict |"
_RULE = "|---|" + "---:|" * 9 + "---|"


def _build_markdown_row(line: Line) -> str:
    shown = _format(line.published, ".4f")
    cells = [
        line.model,
        str(len(line.gauc)),
        _format(line.mean, ".4f"),
        _format(line.sd, ".4f"),
        _format(line.auc_mean, ".4f"),
        _format(line.rela_impr, "+.2f", " %").replace("+0.00", "0.00"),
        f"~~{shown}~~" if line.withdrawn else shown,
        _format(line.corrected, ".4f"),
        _format(line.bars, ".4f"),
        _format(line.difference, "+.4f"),
        line.verdict,
    ]
    return f"| {' | '.join(cells)} |"


def _six(value: float | None) -> str:
    return _format(value, ".6f")


def _format(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
