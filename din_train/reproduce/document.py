"""`table3.md`, and a document a data set to be kept: what was found, and everything it stands on."""

from collections.abc import Sequence

from din_train.evaluation.words import PROTOCOLS
from din_train.printable import escape_markdown, make_printable
from din_train.reproduce import published
from din_train.reproduce.catalogue import load_dataset
from din_train.reproduce.cells import Cell
from din_train.reproduce.facts import Facts
from din_train.reproduce.order import describe_order
from din_train.reproduce.plan import format_seconds
from din_train.reproduce.results import Line, group_lines
from din_train.reproduce.tables import (
    TABLE_3_TITLES,
    TABLE_4_TITLES,
    build_markdown_table,
    build_table_3_cells,
    build_table_4_cells,
    choose_table_3_titles,
)

GAUC_IS = (
    "GAUC is the mean over users, weighted by their rows, of the chance that a clicked item outranks one that was not; "
    "a tie counts one half, and users with one class only are left out. sd is the standard deviation over seeds."
)
RELA_IMPR_IS = "RelaImpr is (GAUC - 0.5) / (BaseModel's GAUC - 0.5) - 1."
TABLE_4_IS = (
    "RelaImpr is over the row without regularisation. The paper's values are of its Table 4, on Alibaba's data, which "
    "are not public; there RelaImpr is over a model without goods ids, here it is computed anew from the printed GAUC. "
    "Nothing is compared with them. The paper has no L2 on every row."
)


def build_document(
    title: str,
    facts: Facts,
    cells: Sequence[Cell],
    *,
    table_3: Sequence[Line] = (),
    table_4: Sequence[Line] = (),
    pictures: dict[str, dict[str, str]],
) -> str:
    """Markdown.

    Args:
        cells: of the lines, for what each took. pictures: data set -> caption -> path, from where the document stands.
    """
    parts = [f"# {title}", _describe_making(facts), GAUC_IS + (f" {RELA_IMPR_IS}" if table_3 else "")]
    for group in group_lines(table_3):
        parts += [_describe_group(group), _build_table_3(group), describe_order(group), _build_seeds(group, cells)]
    if any(line.withdrawn for line in table_3):
        parts.append(f"Struck through: {published.WITHDRAWN_REASON}.")
    for group in group_lines(table_4):
        rows = [build_table_4_cells(line) for line in group]
        parts += [_describe_group(group, "regularisation, "), build_markdown_table(TABLE_4_TITLES, rows)]
        parts += [TABLE_4_IS, _build_seeds(group, cells)]
    failed = [(cell.name, line) for cell in cells if (line := cell.read_failure()) is not None]
    if failed:
        parts += ["## Cells that failed", "\n".join(f"- `{name}`: {escape_markdown(line)}" for name, line in failed)]
    for data in pictures:
        parts += [f"![{escape_markdown(caption)}]({path})" for caption, path in pictures[data].items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe_making(facts: Facts) -> str:
    if not facts.date:
        return "Nothing has finished yet."
    return (
        f"Measured on {facts.date}, in {format_seconds(facts.seconds)} of training and scoring and at most "
        f"{facts.peak_bytes / 1e9:.1f} GB of memory, with\n\n```sh\n{make_printable(facts.command)}\n```\n\n"
        f"on {make_printable(facts.machine)}."
    )


def _describe_group(group: Sequence[Line], what: str = "") -> str:
    first = group[0]
    seeds = sorted({seed for line in group for seed in line.gauc})
    said = (
        f"Seeds {', '.join(map(str, seeds))}." if len(seeds) > 1 else f"Seed {seeds[0]}." if seeds else "No seed yet."
    )
    return (
        f"## {load_dataset(first.data).title}, {what}recipe {first.recipe}\n\nProtocol `{first.protocol}`: "
        f"{PROTOCOLS[first.protocol]} Selection: {first.selection}. {said}"
    )


def _build_table_3(group: Sequence[Line]) -> str:
    titles = choose_table_3_titles(group)
    place = TABLE_3_TITLES.index("Published")
    rows = []
    for line in group:
        row = build_table_3_cells(line)
        row[place] = f"~~{row[place]}~~" if line.withdrawn else row[place]
        rows.append(row[: len(titles)])
    return build_markdown_table(titles, rows)


def _build_seeds(group: Sequence[Line], cells: Sequence[Cell]) -> str:
    """Each seed's GAUC, and what its cell took."""
    seeds = sorted({seed for line in group for seed in line.gauc})
    if not seeds:
        return ""
    costs = {
        (cell.row.key, cell.seed): cell.read_cost()
        for cell in cells
        if (cell.dataset.name, cell.recipe.name) == (group[0].data, group[0].recipe)
    }
    rows = []
    for line in group:
        of_line = [cost for seed in seeds if (cost := costs.get((line.key, seed))) is not None]
        mean = sum(cost.seconds for cost in of_line) / len(of_line) if of_line else None
        gauc = [f"{line.gauc[seed]:.6f}" if seed in line.gauc else "" for seed in seeds]
        peak = f"{max(cost.peak_bytes for cost in of_line) / 1e9:.2f} GB" if of_line else ""
        rows.append([line.model, *gauc, "" if mean is None else format_seconds(mean), peak])
    titles = ["GAUC by seed", *map(str, seeds), "Time a cell", "Peak memory"]
    return build_markdown_table(titles, rows)
