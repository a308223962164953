"""Tables 3 and 4 as CSV, and as the cells of Markdown and HTML tables."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from din_train.evaluation.metrics import compute_rela_impr
from din_train.files import atomic_file
from din_train.reproduce import published
from din_train.reproduce.results import Line

TABLE_3_COLUMNS = (
    "data", "recipe", "model", "seeds", "gauc_mean", "gauc_sd", "auc_mean", "rela_impr", "published", "withdrawn",
    "corrected_2020", "bars", "difference", "verdict", "selection", "protocol", "note",
)  # fmt: skip
TABLE_4_COLUMNS = (
    "data", "recipe", "regularisation", "seeds", "gauc_mean", "gauc_sd", "auc_mean", "rela_impr_over_none",
    "paper_gauc_on_alibaba", "paper_rela_impr_over_none", "selection", "protocol",
)  # fmt: skip
TABLE_3_TITLES = (
    "Model", "Seeds", "GAUC", "sd", "AUC", "RelaImpr", "Published", "Corrected 2020", "BARS", "Difference", "Verdict",
)  # fmt: skip
TABLE_4_TITLES = (
    "Regularisation", "Seeds", "GAUC", "sd", "AUC", "RelaImpr over none", "Paper, on Alibaba's data",
    "its RelaImpr over none",
)  # fmt: skip


def build_table_3_csv(lines: Sequence[Line]) -> str:
    """Every number with six digits; empty where there is none."""
    rows = [
        [
            *(line.data, line.recipe, line.model, len(line.gauc), *map(_six, (line.mean, line.sd, line.auc_mean))),
            *(_format(line.rela_impr, "+.2f"), _six(line.published), "yes" if line.withdrawn else "no"),
            *(_six(line.corrected), _six(line.bars), _format(line.difference, "+.6f")),
            *(line.verdict, line.selection, line.protocol, line.note),
        ]
        for line in lines
    ]
    return _build_csv(TABLE_3_COLUMNS, rows)


def build_table_4_csv(lines: Sequence[Line]) -> str:
    """Likewise; what is published stands on other data, so nothing is compared with it."""
    rows = [
        [
            *(line.data, line.recipe, line.model, len(line.gauc), *map(_six, (line.mean, line.sd, line.auc_mean))),
            *(_format(line.rela_impr, "+.2f"), _six(published.find_table_4(line.key))),
            *(_format(_find_paper_rela_impr(line.key), "+.2f"), line.selection, line.protocol),
        ]
        for line in lines
    ]
    return _build_csv(TABLE_4_COLUMNS, rows)


def choose_table_3_titles(group: Sequence[Line]) -> tuple[str, ...]:
    """Those with something under them: without a published value there is nothing to compare with."""
    any_published = any(line.published is not None or line.bars is not None for line in group)
    return TABLE_3_TITLES if any_published else TABLE_3_TITLES[: TABLE_3_TITLES.index("Published")]


def build_table_3_cells(line: Line) -> list[str]:
    """As shown, one for each of `TABLE_3_TITLES`; the published value is not struck through here."""
    return [
        *_build_measured_cells(line),
        _format(line.published, ".4f"),
        _format(line.corrected, ".4f"),
        _format(line.bars, ".4f"),
        _format(line.difference, "+.4f"),
        line.verdict,
    ]


def build_table_4_cells(line: Line) -> list[str]:
    """As shown, one for each of `TABLE_4_TITLES`."""
    paper = _format_per_cent(_find_paper_rela_impr(line.key))
    return [*_build_measured_cells(line), _format(published.find_table_4(line.key), ".4f"), paper]


def build_markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    rule = f"|---|{'---:|' * (len(titles) - 1)}"
    return "\n".join([f"| {' | '.join(titles)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _build_measured_cells(line: Line) -> list[str]:
    numbers = (_format(each, ".4f") for each in (line.mean, line.sd, line.auc_mean))
    return [line.model, str(len(line.gauc)), *numbers, _format_per_cent(line.rela_impr)]


def _find_paper_rela_impr(row: str) -> float | None:
    return compute_rela_impr(published.find_table_4(row), published.find_table_4("base-none"))


def _build_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    return text.getvalue()


def _six(value: float | None) -> str:
    return _format(value, ".6f")


def _format_per_cent(value: float | None) -> str:
    return "" if value is None else f"{round(value, 2) or 0.0:+.2f} %".replace("+0.00", "0.00")


def _format(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"
