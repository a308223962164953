"""The paper's tables, made from a sweep: what the run directories say, set beside what is published."""

import csv
import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from din_train.errors import RunError
from din_train.evaluation.metrics import compute_rela_impr
from din_train.reproduce.paper_suites import Suite, load_recipes, load_suite
from din_train.run_metrics import RunMetrics
from din_train.sweep import Cell
from din_train.terminal import say

# The published GAUC of the paper's models, used for nothing but a comparison. `PAPER`: Zhou et al., KDD 2018 (arXiv
# 1706.06978v4), Table 3, mean of 5. `CORRECTED`: the authors' README of 2020. `BARS`: the leaderboard
# AmazonElectronics_x1, whose validation set is its test set; its DIN has Dice, so it stands beside that row.
PAPER = {
    "movielens": {
        "lr": 0.7263, "base": 0.7300, "wide-deep": 0.7304, "pnn": 0.7321, "deepfm": 0.7324,
        "din": 0.7337, "din-dice": 0.7348,
    },
    "electronics": {
        "lr": 0.7742, "base": 0.8624, "wide-deep": 0.8637, "pnn": 0.8679, "deepfm": 0.8683,
        "din": 0.8818, "din-dice": 0.8871,
    },
}  # fmt: skip
CORRECTED = {"electronics": {"pnn": 0.8679, "deepfm": 0.8683, "din": 0.8698, "din-dice": 0.8711}}
BARS = {"electronics": {"deepfm": 0.878890, "din-dice": 0.883526}}

# Table 4, BaseModel on Alibaba's data, which are not public: no regularisation, dropout, filter, mini-batch aware. Its
# RelaImpr is over a model without goods ids (.5940), which is not among our rows.
TABLE_4 = {"base-none": 0.5959, "base-dropout": 0.5970, "base-filter": 0.5983, "base-aware": 0.6031}

WITHDRAWN = {("electronics", "din"), ("electronics", "din-dice")}
WITHDRAWN_REASON = (
    "withdrawn by the authors in 2020: their evaluation sent negatives through a second batch norm layer that training "
    "never touched, so the layer itself gave the label away"
)

TOLERANCE = 0.005  # of GAUC: a difference of at most this, or of two standard deviations, is a reproduction
NOISE_OF_ONE_SEED = 0.002  # taken if there are no two seeds to measure it by

# LR < BaseModel <= Wide&Deep, PNN, DeepFM < DIN <= DIN with Dice: lower, higher, and whether a tie departs from it.
PAPER_ORDER = (
    ("lr", "base", True),
    ("base", "wide-deep", False),
    ("base", "pnn", False),
    ("base", "deepfm", False),
    ("wide-deep", "din", True),
    ("pnn", "din", True),
    ("deepfm", "din", True),
    ("din", "din-dice", False),
)


@dataclass(frozen=True)
class Published:
    """What is published for one model on one data set. paper: the paper's value, withdrawn or not."""

    paper: float | None
    corrected: float | None
    bars: float | None
    withdrawn: bool

    @property
    def reference(self) -> float | None:
        """What a measured value is compared with: the correction, else the paper's; never a withdrawn one."""
        return self.corrected if self.corrected is not None or self.withdrawn else self.paper


def find_published(dataset: str, row: str) -> Published:
    """All that is published for a row of Table 3; a data set that the paper does not have has nothing."""
    paper, corrected, bars = (table.get(dataset, {}).get(row) for table in (PAPER, CORRECTED, BARS))
    return Published(paper, corrected, bars, (dataset, row) in WITHDRAWN)


@dataclass(frozen=True)
class TableLine:
    """One line of a table: a model on a data set by a recipe.

    gauc: by seed. rela_impr: per cent over the table's base row of the same data and recipe. selection: what chose the
    epoch, in words.
    """

    data: str
    recipe: str
    key: str
    model: str
    gauc: dict[int, float]
    auc_mean: float | None = None
    rela_impr: float | None = None
    selection: str = ""
    protocol: str = ""

    @property
    def mean(self) -> float | None:
        return statistics.mean(self.gauc.values()) if self.gauc else None

    @property
    def sd(self) -> float | None:
        """Of the seeds; None if there is one."""
        return statistics.stdev(self.gauc.values()) if len(self.gauc) > 1 else None

    @property
    def published(self) -> Published:
        return find_published(self.data, self.key)

    @property
    def difference(self) -> float | None:
        reference = self.published.reference
        return None if self.mean is None or reference is None else self.mean - reference

    @property
    def verdict(self) -> str:
        return find_verdict(self.mean, self.sd, self.published.reference)

    @property
    def paper_rela_impr(self) -> float | None:
        """Of the paper's Table 4, computed anew from the printed GAUC."""
        return compute_rela_impr(TABLE_4.get(self.key), TABLE_4["base-none"])


def find_verdict(mean: float | None, sd: float | None, reference: float | None) -> str:
    """`reproduced` within two standard deviations or `TOLERANCE` of the reference, whichever is more; or which side."""
    if mean is None:
        return "not measured"
    if reference is None:
        return "no published value"
    difference = mean - reference
    if abs(difference) <= max(2 * (sd or 0.0), TOLERANCE):
        return "reproduced"
    return "above" if difference > 0 else "below"


def collect_tables(cells: Sequence[Cell]) -> tuple[list[TableLine], list[TableLine]]:
    """Lines of tables 3 and 4; BaseModel, which is in both, makes no table 4 alone, and no table 3 beside a table 4."""
    lines_3 = collect_lines(cells, load_suite("table3"), "base")
    lines_4 = collect_lines(cells, load_suite("table4"), "base-none")
    data_3, data_4 = ({line.data for line in lines if line.key != "base"} for lines in (lines_3, lines_4))
    in_leaderboard = {line.data for line in collect_leaderboard(cells)}  # which shares DIN with Dice
    data_3 -= in_leaderboard - {line.data for line in lines_3 if line.key not in ("base", "din-dice")}
    lines_3 = [line for line in lines_3 if line.data in data_3 or line.data not in in_leaderboard]
    return (
        [line for line in lines_3 if line.data in data_3 or line.data not in data_4],
        [line for line in lines_4 if line.data in data_4],
    )


def collect_leaderboard(cells: Sequence[Cell]) -> list[TableLine]:
    """Lines of the leaderboard, of data sets that have a model which no other suite has."""
    lines = collect_lines(cells, load_suite("leaderboard"), "base-dice")
    named = {line.data for line in lines if line.key != "din-dice"}
    return [line for line in lines if line.data in named]


def collect_lines(cells: Sequence[Cell], suite: Suite, base: str) -> list[TableLine]:
    """One line for every data set, recipe and row of the suite that has a cell, measured or not.

    Args:
        base: the key of the row that RelaImpr is over.
    """
    groups: dict[tuple[str, str], dict[str, list[Cell]]] = {}
    for cell in cells:
        data, recipe, key = cell.place
        if recipe in suite.recipes:
            groups.setdefault((data, recipe), {}).setdefault(key, []).append(cell)
    lines = []
    for (data, recipe), rows in groups.items():
        (selection,) = (each.selection for each in load_recipes(data, [recipe]))
        measured = {row.key: _read_metrics(rows[row.key]) for row in suite.rows if row.key in rows}
        base_gauc = _mean([each.gauc for each in measured.get(base, {}).values()])
        for row in (row for row in suite.rows if row.key in rows):
            metrics = measured[row.key]
            gauc = {seed: each.gauc for seed, each in metrics.items() if each.gauc is not None}
            auc = _mean([each.auc for each in metrics.values()])
            rela_impr = compute_rela_impr(_mean(list(gauc.values())), base_gauc)
            protocol = rows[row.key][0].config.data.protocol
            lines.append(TableLine(data, recipe, row.key, row.label, gauc, auc, rela_impr, selection, protocol))
    return lines


def _read_metrics(cells: Sequence[Cell]) -> dict[int, RunMetrics]:
    """Seed -> metrics of the cells that have finished with the config they have now."""
    metrics = {}
    for cell in cells:
        if cell.is_measured:
            try:
                metrics[cell.seed] = cell.run.read_metrics()
            except RunError as error:
                say(str(error))
    return metrics


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def group_lines(lines: Sequence[TableLine]) -> list[list[TableLine]]:
    """Those of one data set and recipe together."""
    groups: dict[tuple[str, str], list[TableLine]] = {}
    for line in lines:
        groups.setdefault((line.data, line.recipe), []).append(line)
    return list(groups.values())


def compute_paired_difference(a: TableLine, b: TableLine) -> tuple[float, float]:
    """Mean of b - a over common seeds, and its noise: the standard deviation of those differences."""
    differences = [b.gauc[seed] - a.gauc[seed] for seed in sorted(a.gauc.keys() & b.gauc.keys())]
    if len(differences) < 2:
        return (differences[0] if differences else 0.0), NOISE_OF_ONE_SEED
    return statistics.mean(differences), statistics.stdev(differences)


def describe_order(lines: Sequence[TableLine]) -> str:
    """One data set's and recipe's models in the order of their GAUC, and where that departs from the paper's.

    Empty with fewer than two models measured.
    """
    measured = sorted((line for line in lines if line.mean is not None), key=lambda line: line.mean or 0.0)
    if len(measured) < 2:
        return ""
    chain = measured[0].model
    for lower, higher in pairwise(measured):
        difference, noise = compute_paired_difference(lower, higher)
        chain += f" {'<' if difference > noise else '='} {higher.model}"
    seeds = min(len(line.gauc) for line in measured)
    noise_is = (
        f"= where the difference is not above the standard deviation of the paired differences over {seeds} seeds"
        if seeds > 1
        else f"= where the difference is at most {NOISE_OF_ONE_SEED}, as one seed says nothing about noise"
    )
    by_key = {line.key: line for line in measured}
    departures = _find_departures(by_key)
    all_models = by_key.keys() == {key for lower, higher, _ in PAPER_ORDER for key in (lower, higher)}
    holds = "The paper's order holds." if all_models else "Nothing in it departs from the paper's order."
    against = f"It departs from the paper's order: {'; '.join(departures)}." if departures else holds
    return f"Measured on {measured[0].data} by recipe {measured[0].recipe}: {chain} ({noise_is}). {against}"


def _find_departures(lines: dict[str, TableLine]) -> list[str]:
    departures = []
    for lower, higher, strict in PAPER_ORDER:
        if lower not in lines or higher not in lines:
            continue
        difference, noise = compute_paired_difference(lines[lower], lines[higher])
        if difference < -noise:
            departures.append(f"{lines[lower].model} is above {lines[higher].model} by {-difference:.4f}")
        elif strict and difference <= noise:
            departures.append(
                f"{lines[higher].model} does not beat {lines[lower].model} ({difference:+.4f}, noise {noise:.4f})"
            )
    return departures


class TableColumn(NamedTuple):
    """A column of a table, with the formats of its numbers in the CSV and where it is shown; no title: not shown."""

    name: str
    title: str
    value: Callable[[TableLine], Any]
    in_csv: str = ".6f"
    shown: str = ".4f"


_WHERE = (
    TableColumn("data", "", lambda line: line.data, ""),
    TableColumn("recipe", "", lambda line: line.recipe, ""),
)
_MEASURED = (
    TableColumn("seeds", "Seeds", lambda line: len(line.gauc), "", ""),
    TableColumn("gauc_mean", "GAUC", lambda line: line.mean),
    TableColumn("gauc_sd", "sd", lambda line: line.sd),
    TableColumn("auc_mean", "AUC", lambda line: line.auc_mean),
)
_HOW = (
    TableColumn("selection", "", lambda line: line.selection, ""),
    TableColumn("protocol", "", lambda line: line.protocol, ""),
)
TABLE_3_COLUMNS = (
    *_WHERE,
    TableColumn("model", "Model", lambda line: line.model, "", ""),
    *_MEASURED,
    TableColumn("rela_impr", "RelaImpr", lambda line: line.rela_impr, "+.2f", "%"),
    TableColumn("published", "Published", lambda line: line.published.paper),
    TableColumn("withdrawn", "", lambda line: "yes" if line.published.withdrawn else "no", ""),
    TableColumn("corrected_2020", "Corrected 2020", lambda line: line.published.corrected),
    TableColumn("bars", "BARS", lambda line: line.published.bars),
    TableColumn("difference", "Difference", lambda line: line.difference, "+.6f", "+.4f"),
    TableColumn("verdict", "Verdict", lambda line: line.verdict, "", ""),
    *_HOW,
    TableColumn("note", "", lambda line: WITHDRAWN_REASON if line.published.withdrawn else "", ""),
)
TABLE_4_COLUMNS = (
    *_WHERE,
    TableColumn("regularisation", "Regularisation", lambda line: line.model, "", ""),
    *_MEASURED,
    TableColumn("rela_impr_over_none", "RelaImpr over none", lambda line: line.rela_impr, "+.2f", "%"),
    TableColumn("paper_gauc_on_alibaba", "Paper, on Alibaba's data", lambda line: TABLE_4.get(line.key)),
    TableColumn("paper_rela_impr_over_none", "its RelaImpr over none", lambda line: line.paper_rela_impr, "+.2f", "%"),
    *_HOW,
)


def build_csv(columns: Sequence[TableColumn], lines: Sequence[TableLine]) -> str:
    """Every column; every number with six digits, and empty if there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerows([_format(column.value(line), column.in_csv) for column in columns] for line in lines)
    return text.getvalue()


def choose_shown(columns: Sequence[TableColumn], lines: Sequence[TableLine]) -> list[TableColumn]:
    """Columns with a title; if nothing is published for these lines' data, only up to where that begins."""
    shown = [column for column in columns if column.title]
    any_published = any(each.paper or each.bars for each in (line.published for line in lines))
    names = [column.name for column in shown]
    return shown if any_published or "published" not in names else shown[: names.index("published")]


def show_line_values(columns: Sequence[TableColumn], line: TableLine) -> list[str]:
    """The line's values in these columns, as shown; a withdrawn value is not struck through here."""
    return [_format(column.value(line), column.shown) for column in columns]


def _format(value: Any, form: str) -> str:
    if value is None:
        return ""
    if form == "%":
        return f"{round(value, 2) or 0.0:+.2f} %".replace("+0.00", "0.00")
    return f"{value:{form}}"
