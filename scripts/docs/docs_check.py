"""Compare the figures in README.md, README.zh-CN.md and docs/*.md with the result files; nothing is measured again.

    make docs-check
    python scripts/docs/docs_check.py --stub docs/new.md > docs/results/documents/new.yaml

docs/results/README.md has the format of the files. Exit code: 0 if every figure is in a result file and every result in
a document, 1 if not, with a line for each.
"""

import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path

import click
from printed_figures import Figure, find_figures
from result_files import RESULTS, DocumentFile, name_document_file, read_documents, read_results

REPOSITORY = Path(__file__).parents[2]
CONTEXT = 30  # characters each side of a figure that a message quotes


def find_problems(root: Path) -> Iterator[str]:
    """A line for each figure, value or file that has no counterpart."""
    results, unusable_results = read_results(root)
    documents, unusable_documents = read_documents(root)
    yield from (*unusable_results, *unusable_documents)
    paths = [root / "README.md", root / "README.zh-CN.md", *sorted((root / "docs").glob("*.md"))]
    names = [path.relative_to(root).as_posix() for path in paths if path.exists()]
    for name in sorted(documents.keys() - set(names)):
        yield f"{name_document_file(name)}: {name} is not there; correct its path or remove this file"
    values = {f"{stem}.{key}": value for stem, file in results.items() for key, value in file.flat_values().items()}
    listed: set[str] = set()
    for name in names:
        text = (root / name).read_text(encoding="utf-8")
        document = documents.get(name)
        if document is None:
            if any(not figure.is_count for figure in find_figures(text)):
                yield f"{name}: has figures and no {name_document_file(name)}; docs/results/README.md says how to begin"
        elif document.translation_of is not None:
            yield from compare_translation(name, text, root / document.translation_of)
        elif document.generated_by is None:
            of_document = select_values(values, document.results)
            listed |= of_document.keys()
            yield from check_document(name, text, document, of_document)
    for value in sorted(values.keys() - listed):
        yield f"{RESULTS}: no document shows {value}; remove it, or list it for one that does"


def select_values(values: dict[str, Decimal], patterns: tuple[str, ...]) -> dict[str, Decimal]:
    """Those whose `file.name` fits one of the patterns."""
    return {name: value for name, value in values.items() if any(fnmatchcase(name, each) for each in patterns)}


def check_document(name: str, text: str, document: DocumentFile, values: dict[str, Decimal]) -> Iterator[str]:
    """Every figure shows a value or is stated; every value has its figure, every pattern and statement its use."""
    file = name_document_file(name)
    figures = list(find_figures(text))
    stated: set[Figure] = set()
    for phrase in document.phrases():
        spans = find_phrase(text, phrase)
        covered = {figure for figure in figures if any(a <= figure.start and figure.end <= b for a, b in spans)}
        if not covered:
            yield f"{file}: stated '{phrase}' is not in {name} with a figure in it; remove it or correct it"
        stated |= covered
    for pattern in document.results:
        if not select_values(values, (pattern,)):
            yield f"{file}: '{pattern}' names no value of docs/results; correct it, or add the result file"
    unstated = [figure for figure in figures if figure not in stated]
    for figure in unstated:
        if not figure.is_count and not any(figure.shows(value) for value in values.values()):
            yield (
                f"{name}:{figure.line}: '{figure.text}' is in no result file listed for it, and not stated in {file} "
                f"({quote(text, figure)})"
            )
    for value in sorted(set(values.values())):
        keys = [key for key, each in values.items() if each == value]
        times = sum(figure.shows(value) for figure in unstated)
        if times < len(keys):
            yield (
                f"{file}: {name} shows {value} {times} times, expected {len(keys)}: {', '.join(keys)}; "
                "list only what it shows, or correct one of the two"
            )


def compare_translation(name: str, text: str, original: Path) -> Iterator[str]:
    """The same figures in both, in any order, counts in sentences left out."""
    ours, theirs = (
        {figure.amount: figure for figure in find_figures(each) if not figure.is_count}
        for each in (text, original.read_text(encoding="utf-8"))
    )
    for amount in sorted(ours.keys() - theirs.keys()):
        yield f"{name}:{ours[amount].line}: '{ours[amount].text}' is not in {original.name}, which it translates"
    for amount in sorted(theirs.keys() - ours.keys()):
        yield f"{name}: has no '{theirs[amount].text}', which is in {original.name}:{theirs[amount].line}"


def find_phrase(text: str, phrase: str) -> list[tuple[int, int]]:
    """Where it stands, across line ends; a part of a longer number is no harm, as only whole figures are covered."""
    return [match.span() for match in re.finditer(r"\s+".join(map(re.escape, phrase.split())), text)]


def quote(text: str, figure: Figure) -> str:
    """The words around a figure."""
    line_start = text.rfind("\n", 0, figure.start) + 1
    line_end = text.find("\n", figure.end)
    line_end = len(text) if line_end < 0 else line_end
    return text[max(line_start, figure.start - CONTEXT) : min(line_end, figure.end + CONTEXT)].strip()


def build_stub(path: Path, root: Path) -> str:
    """A file for a new document, every figure stated: to be sorted by hand into results, published and stated."""
    text = path.read_text(encoding="utf-8")
    figures = [figure for figure in find_figures(text) if not figure.is_count]
    lines = [
        f"  - {figure.text!r}   # {quote(text, figure)}" for figure in {each.text: each for each in figures}.values()
    ]
    name = path.resolve().relative_to(root.resolve()).as_posix()
    head = "# Measured figures go into a result file and their names under `results`; what stays here was not measured."
    return "\n".join([head, f"document: {name}", "results: []", "stated:", *lines, ""])


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option(
    "--stub", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Print a file for this page."
)
@click.option("--root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=REPOSITORY, hidden=True)
def main(stub: Path | None, root: Path) -> None:
    """Check and say."""
    if stub is not None:
        click.echo(build_stub(stub, root), nl=False)
        return
    problems = list(find_problems(root))
    for problem in problems:
        click.echo(problem)
    click.echo(f"{len(problems)} problems." if problems else "Every figure in the documents is in a result file.")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
