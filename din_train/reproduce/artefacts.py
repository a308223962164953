"""Every file that a reproduction makes, from the run directories as they are; written anew after each cell.

index.html             the page
table3.md, table3.csv  all data sets; table4.* likewise
<data>.md, <data>/     a data set's tables and figures by themselves, to be kept with a project's results
"""

from collections.abc import Sequence
from pathlib import Path

from din_train.errors import RunError
from din_train.report.attention import Example, draw_attention, read_examples
from din_train.report.page import Picture
from din_train.report.plots import write_figures
from din_train.reproduce.catalogue import load_dataset, load_suite
from din_train.reproduce.cells import Cell
from din_train.reproduce.document import build_document
from din_train.reproduce.facts import collect_facts
from din_train.reproduce.found import find_cells
from din_train.reproduce.page import PaperReport, build_page
from din_train.reproduce.plots import plot_models
from din_train.reproduce.results import Line, collect_lines
from din_train.reproduce.tables import build_table_3_csv, build_table_4_csv, write_text
from din_train.terminal import say

ERROR_BARS = "an error bar is one standard deviation of the seeds each way, and there is none for one seed"
TABLE_3_CAPTION = f"GAUC by model; {ERROR_BARS}"
TABLE_4_CAPTION = f"GAUC of BaseModel by regularisation; {ERROR_BARS}"
_IN_DOCUMENT = 4  # of the six examples, which go from the least likely click to the likeliest


def write_artefacts(out: Path, planned: Sequence[Cell]) -> None:
    """Tables, documents, figures and the page, of the planned cells and all that the folder has beside them."""
    cells = find_cells(out, planned)
    lines_3, lines_4 = _collect_tables(cells)
    pictures: dict[str, dict[str, Picture]] = {}
    for data in dict.fromkeys(cell.dataset.name for cell in cells):
        pictures[data] = _draw(data, cells, lines_3, lines_4)
        write_figures(out / data, {name: picture.figure for name, picture in pictures[data].items()})
        own = [cell for cell in cells if cell.dataset.name == data]
        document = build_document(
            load_dataset(data).title,
            collect_facts(own),
            own,
            table_3=[line for line in lines_3 if line.data == data],
            table_4=[line for line in lines_4 if line.data == data],
            pictures=_find_paths({data: pictures[data]}, "table3", "table4", f"figure5-{_IN_DOCUMENT}"),
        )
        write_text(out / f"{data}.md", document)
    facts = collect_facts(cells)
    if lines_3:
        write_text(out / "table3.csv", build_table_3_csv(lines_3))
        shown = _find_paths(pictures, "table3")
        write_text(
            out / "table3.md",
            build_document(load_suite("table3").title, facts, cells, table_3=lines_3, pictures=shown),
        )
    if lines_4:
        write_text(out / "table4.csv", build_table_4_csv(lines_4))
        shown = _find_paths(pictures, "table4")
        write_text(
            out / "table4.md",
            build_document(load_suite("table4").title, facts, cells, table_4=lines_4, pictures=shown),
        )
    by_data = {data: list(each.values()) for data, each in pictures.items()}
    write_text(out / "index.html", build_page(PaperReport(facts, cells, lines_3, lines_4, by_data)))


def _collect_tables(cells: Sequence[Cell]) -> tuple[list[Line], list[Line]]:
    """Lines of tables 3 and 4; BaseModel, which both have, makes a table 4 of no data set, nor a 3 beside a 4."""
    lines_3, lines_4 = (
        collect_lines(cells, suite.rows, suite.recipes, base)
        for suite, base in ((load_suite("table3"), "base"), (load_suite("table4"), "base-none"))
    )
    data_3, data_4 = ({line.data for line in lines if line.key != "base"} for lines in (lines_3, lines_4))
    return (
        [line for line in lines_3 if line.data in data_3 or line.data not in data_4],
        [line for line in lines_4 if line.data in data_4],
    )


def _draw(data: str, cells: Sequence[Cell], lines_3: Sequence[Line], lines_4: Sequence[Line]) -> dict[str, Picture]:
    """Name -> picture of everything a data set has to be drawn."""
    pictures = {}
    tables = (("table3", lines_3, "Table 3", TABLE_3_CAPTION), ("table4", lines_4, "Regularisation", TABLE_4_CAPTION))
    for name, lines, what, caption in tables:
        own = [line for line in lines if line.data == data]
        figure = plot_models(f"{what}: {data}", own, with_published=name == "table3")
        if figure is not None:
            values = "; ".join(f"{line.model}, {line.recipe}: {line.mean:.4f}" for line in own if line.mean is not None)
            pictures[name] = Picture(f"{name}-{data}", figure, f"{caption}.", f"{what} on {data}: {values}")
    return pictures | _draw_attention(data, cells)


def _draw_attention(data: str, cells: Sequence[Cell]) -> dict[str, Picture]:
    pictures = {}
    for place, example in enumerate(_read_examples(data, cells), 1):
        user = example["user"]
        pictures[f"figure5-{place}"] = Picture(
            f"figure5-{data}-{place}",
            draw_attention(example),
            f"User {user}: the weight of each behaviour, oldest first, for the clicked item and for a sampled one.",
            f"Activation weights of the behaviours of user {user}",
        )
    return pictures


def _read_examples(data: str, cells: Sequence[Cell]) -> list[Example]:
    """Of the suite's cell with the first seed; none where it has not finished."""
    suite = load_suite("figure5")
    keys = {row.key for row in suite.rows}
    own = [cell for cell in cells if cell.dataset.name == data and cell.row.key in keys]
    for cell in own:
        wanted = cell.seed == 1 and cell.recipe.name in suite.recipes and cell.is_measured
        if wanted and cell.run.attention_file.exists():
            try:
                return read_examples(cell.run.attention_file)
            except RunError as error:
                say(str(error))
    return []


def _find_paths(pictures: dict[str, dict[str, Picture]], *names: str) -> dict[str, dict[str, str]]:
    """Data set -> what is seen -> the file, from the folder that the documents stand in."""
    return {
        data: {each[name].description: f"{data}/{name}.svg" for name in names if name in each}
        for data, each in pictures.items()
    }
