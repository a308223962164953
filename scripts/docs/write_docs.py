"""Write what is generated in the documents: their figures from docs/results, and docs/config.md from the schema.

    make docs          python scripts/docs/write_docs.py             writes the pages; nothing is measured
    make docs-check    python scripts/docs/write_docs.py --check     names every page and marker that differs

Two comments enclose what is generated. `<!-- table: FILE.TABLE -->` begins a table, `<!-- figure: FILE.KEY:FORMAT -->`
a number in a sentence, and `<!-- end -->` ends both. docs/results/README.md has the format of the result files.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from config_reference import build_reference

from din_train.config.yaml_text import parse_yaml
from din_train.files import atomic_file

REPOSITORY = Path(__file__).parents[2]
CONFIG_PAGE = "docs/config.md"
MARKER = re.compile(r"(?P<begin><!-- (?P<kind>figure|table): (?P<name>[a-z]\S*) -->)(?P<body>.*?)<!-- end -->", re.S)
BEGIN = re.compile(r"<!-- (?:figure|table): [a-z]")


class ResultError(Exception):
    """A marker, or a result file, that cannot be used."""


def list_pages(root: Path) -> list[Path]:
    """Every Markdown page that may have markers."""
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def render_page(text: str, root: Path) -> tuple[str, list[tuple[int, str]]]:
    """The page with its figures written anew; for each marker that differs or cannot be used, its line and a reason."""
    problems: list[tuple[int, str]] = []

    def render(match: re.Match[str]) -> str:
        kind, name, body = match["kind"], match["name"], match["body"]
        line = text.count("\n", 0, match.start()) + 1
        try:
            if BEGIN.search(body):
                raise ResultError("no <!-- end --> before the next marker; add it")
            if kind == "figure" and (match.start() == 0 or text[match.start() - 1] == "\n"):
                raise ResultError("a figure's marker cannot begin a line, as Markdown takes it for HTML; move it")
            new = render_table(name, root) if kind == "table" else render_figure(name, root)
        except ResultError as error:
            problems.append((line, f"marker `{kind}: {name}`: {error}"))
            return match[0]
        if new != body:
            problems.append((line, f"marker `{kind}: {name}` differs from docs/results; run `make docs`"))
        return f"{match['begin']}{new}<!-- end -->"

    new = MARKER.sub(render, text)
    rest = MARKER.sub(lambda match: "\n" * match[0].count("\n"), text)
    open_lines = (rest.count("\n", 0, match.start()) + 1 for match in BEGIN.finditer(rest))
    problems.extend((line, "a marker has no <!-- end -->; add it") for line in open_lines)
    return new, problems


def render_figure(name: str, root: Path) -> str:
    """`FILE.KEY:FORMAT`: the value in Python's format."""
    path, _, form = name.partition(":")
    file, _, key = path.partition(".")
    value = find_value(read_result(root, file)["values"], key)
    try:
        return format(value, form)
    except (ValueError, TypeError) as error:
        raise ResultError(f"{value!r} cannot be written as '{form}' ({error})") from error


def render_table(name: str, root: Path) -> str:
    """`FILE.TABLE`: a line for each row; a cell is empty if its row, but not every row, lacks the value."""
    file, _, key = name.partition(".")
    result = read_result(root, file)
    table = find_value(result.get("tables", {}), key)
    rows = find_value(result["values"], table["rows"])
    rows = list(rows.values()) if isinstance(rows, dict) else rows
    columns: dict[str, str] = table["columns"]
    cells = {heading: [fill(template, row) for row in rows] for heading, template in columns.items()}
    for heading, column in cells.items():
        if all(cell is None for cell in column):
            raise ResultError(f"column '{heading}' of docs/results/{file}.yaml has no value in any row")
    lines = [list(columns), ["---"] * len(columns), *zip(*cells.values(), strict=True)]
    return "\n\n" + "".join(f"| {' | '.join(cell or '' for cell in line)} |\n" for line in lines) + "\n"


def fill(template: str, row: dict[str, Any]) -> str | None:
    """The template with the row's values, None if one is missing."""
    try:
        return template.format_map(row)
    except (KeyError, IndexError):
        return None
    except (ValueError, TypeError) as error:
        raise ResultError(f"'{template}' does not fit {row} ({error})") from error


def find_value(values: Any, key: str) -> Any:
    """The value at a dotted key; a number is a place in a list."""
    for part in key.split("."):
        try:
            values = values[int(part) if isinstance(values, list) else part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise ResultError(f"no '{key}' in the result file; correct the marker or the file") from None
    return values


def read_result(root: Path, name: str) -> dict[str, Any]:
    """A result file, which must say how, when and on what machine its values came about."""
    path = root / "docs" / "results" / f"{name}.yaml"
    if not path.is_file():
        raise ResultError(f"docs/results/{name}.yaml is not there; correct the marker or add the file")
    result: dict[str, Any] = parse_yaml(path.read_text(encoding="utf-8"))
    if ("command" in result) == ("no_command" in result) or not {"date", "machine", "values"} <= result.keys():
        raise ResultError(f"docs/results/{name}.yaml needs `command` or `no_command`, `date`, `machine`, and `values`")
    return result


def update(root: Path, *, write: bool) -> Iterator[str]:
    """A line for each marker that differs or cannot be used; with `write`, what differs is written."""
    for path in list_pages(root):
        text, page = path.read_text(encoding="utf-8"), path.relative_to(root).as_posix()
        new, problems = (build_reference(), []) if page == CONFIG_PAGE else render_page(text, root)
        if page == CONFIG_PAGE and new != text:
            problems = [(1, "differs from the config's schema; run `make docs`")]
        yield from (f"{page}:{line}: {problem}" for line, problem in problems)
        if write and new != text:
            with atomic_file(path) as temporary:
                temporary.write_text(new, encoding="utf-8")


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 if a page differs.")
@click.option("--root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=REPOSITORY, hidden=True)
def main(check: bool, root: Path) -> None:
    """Check, or write and then check that nothing is left."""
    if not check:
        list(update(root, write=True))
    problems = list(update(root, write=False))
    for problem in problems:
        click.echo(problem)
    click.echo(f"{len(problems)} problems." if problems else "What is generated in the documents is up to date.")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
