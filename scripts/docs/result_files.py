"""Files of docs/results: what was measured and by which command, and which document shows what of it."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, ValidationError

from din_train.config.problems import describe_problems
from din_train.config.section import Section
from din_train.config.yaml_text import parse_yaml

RESULTS = "docs/results"
DOCUMENTS = f"{RESULTS}/documents"

Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
File = TypeVar("File", bound=Section)


class ResultFile(Section):
    """The figures of one command."""

    command: Annotated[Text | None, Field(description="the command that printed or wrote the values")] = None
    no_command: Annotated[Text | None, Field(description="how the values came about where no command gives them")] = (
        None
    )
    date: Annotated[date, Field(strict=False, description="the day, such as 2026-01-31")]
    machine: Annotated[Text, Field(description="what it ran on")]
    values: Annotated[dict[str, Any], Field(min_length=1, description="named numbers, nested as deep as one likes")]

    @classmethod
    def find_problems(cls, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """One of the two ways in which a figure comes about; and values are numbers."""
        if (values.get("command") is None) == (values.get("no_command") is None):
            yield "command", "expected the command, or else no_command: how the values came about"
        for key, value in _flatten(values.get("values", {})):
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
                yield f"values.{key}", f"received {value!r}, expected a number, or names and numbers"

    def flat_values(self) -> dict[str, Decimal]:
        """Dotted name to number; an entry of a list has its place, from 0, for a name."""
        return {key: Decimal(str(value)) for key, value in _flatten(self.values)}


class DocumentFile(Section):
    """What a document shows."""

    document: Annotated[Text, Field(description="its path from the repository's root")]
    results: Annotated[
        Texts, Field(description="file.value of docs/results, `*` for any; each is shown in the document")
    ] = ()
    stated: Annotated[Texts, Field(description="settings, definitions, years: words of the document with numbers")] = ()
    published: Annotated[dict[Text, Text], Field(description="others' figures, each with its source")] = Field(
        default_factory=dict
    )
    translation_of: Annotated[Text | None, Field(description="the document that has the same figures")] = None
    generated_by: Annotated[
        Text | None, Field(description="the command whose output it is, compared by a test: no figure is looked at")
    ] = None

    @classmethod
    def find_problems(cls, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """A translation and a generated document have no lists of their own."""
        others = [key for key in ("translation_of", "generated_by") if values.get(key) is not None]
        if others:
            for key in (*others[1:], *(key for key in ("results", "stated", "published") if values.get(key))):
                yield key, f"not used beside {others[0]}; remove it"

    def phrases(self) -> tuple[str, ...]:
        """All words whose numbers need no result."""
        return (*self.stated, *self.published)


def read_results(root: Path) -> tuple[dict[str, ResultFile], list[str]]:
    """Every result file by its name without the suffix, and a line for each that cannot be used."""
    folder, read, problems = root / RESULTS, {}, []
    for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.json"))):
        name = f"{RESULTS}/{path.name}"
        file, wrong = _read(path, name, ResultFile)
        problems += wrong
        if path.stem in read:
            problems.append(f"{name}: another result file is called {path.stem} too; rename one")
        elif file is not None:
            read[path.stem] = file
    return read, problems


def read_documents(root: Path) -> tuple[dict[str, DocumentFile], list[str]]:
    """Every document's file by the document's path, and a line for each that cannot be used."""
    read, problems = {}, []
    for path in sorted((root / DOCUMENTS).glob("*.yaml")):
        name = f"{DOCUMENTS}/{path.name}"
        file, wrong = _read(path, name, DocumentFile)
        problems += wrong
        if file is None:
            continue
        if name_document_file(file.document) != name:
            problems.append(
                f"{name}: is of {file.document}, so expected {name_document_file(file.document)}; rename it"
            )
        else:
            read[file.document] = file
    return read, problems


def name_document_file(document: str) -> str:
    """`docs/data.md` -> `docs/results/documents/data.yaml`."""
    return f"{DOCUMENTS}/{Path(document).stem}.yaml"


def _read(path: Path, name: str, kind: type[File]) -> tuple[File | None, list[str]]:
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
        return kind.model_validate(values), []
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return None, [f"{name}: not valid YAML: {' '.join(str(error).split())}"]
    except ValidationError as error:
        return None, [f"{name}: {problem}" for problem in describe_problems(kind, error)]


def _flatten(values: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, values
