"""docs/config.md: what the generator gives, and what the schema says."""

import re
from collections.abc import Iterator
from types import ModuleType
from typing import Annotated, Any

import annotated_types
import pytest
from pydantic import Field
from scripts_factory import REPOSITORY, load_script

from din_train.config import Config
from din_train.config.section import Section

DOCUMENT = REPOSITORY / "docs" / "config.md"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("config_reference")


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    """Key -> values, default, meaning."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Presets")[0]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if re.match(r"\| `[a-z_.]+` \|", line)]
    return {key.strip(" `"): [each.strip() for each in others] for key, *others in cells if len(others) == 3}


def list_keys(schema: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys by pydantic's own JSON schema."""
    for name, field in schema["properties"].items():
        yield f"{prefix}{name}"
        for option in (field, *field.get("anyOf", ())):
            if "$ref" in option:
                yield from list_keys(definitions[option["$ref"].rpartition("/")[2]], definitions, f"{prefix}{name}.")


def test_it_has_every_key_once(rows: dict[str, list[str]]) -> None:
    schema = Config.model_json_schema()
    keys = list(list_keys(schema, schema["$defs"]))
    assert len(keys) > 80
    assert set(rows) == set(keys)
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Presets")[0]
    assert [key for key in keys if len(re.findall(rf"^\| `{re.escape(key)}` \|", text, re.MULTILINE)) != 1] == []


@pytest.mark.parametrize(
    ("key", "values", "default", "meaning"),
    [
        ("seed", "whole number; at least `0`; below `2^31`", "`1`", "initial weights, sample order, dropout"),
        ("training.device", "`auto`, `cpu`, `gpu`", "`auto`", "auto: a GPU if there is one"),
        ("training.epochs", "whole number; at least `1`", "**required**", "at most this many passes"),
        ("training.deterministic", "`true` or `false`", "`false`", "the same seed gives the same bits"),
        ("model.mlp.hidden_units", "list (whole number; at least `1`); not empty", "`[256, 128, 64]`", "widths"),
        ("model.mlp.dropout", "number; at least `0`; below `1`", "`0.0`", "after each hidden layer"),
        ("data.memory_limit", r"text; matches `^\d+(\.\d+)?(MB\|GB)$`", "`2GB`", "a size such as 500MB or 2GB"),
        ("data.columns", "section", "left out", "table and rows: which column is which; [its keys](#datacolumns)"),
        (
            "filters.since",
            "whole number; or a date; at least `0`; below `2^40`",
            "left out",
            "leave out what is before",
        ),
        ("training.optimizer.clip_norm", "number; above `0`", "left out", "scale gradients down"),
        ("data.reviews", "path", "left out", "Amazon: the reviews file"),
    ],
)
def test_a_row_says_what_the_schema_does(
    rows: dict[str, list[str]], key: str, values: str, default: str, meaning: str
) -> None:
    assert rows[key][:2] == [values, default]
    assert rows[key][2].startswith(meaning)


def test_every_link_leads_to_a_heading() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    anchors = {heading.strip("`").replace(".", "") for heading in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert len(links) > 10
    assert links - anchors == set()


def test_presets_have_their_values() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").partition("## Presets")[2]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    cells = {line[0]: dict(zip(lines[0][1:], line[1:], strict=True)) for line in lines[2:]}
    assert cells["`training.batch_size`"]["`din-paper`"] == "`32`"
    assert cells["`training.optimizer.schedule.steps`"]["`din-official`"] == "`[336000]`"
    assert cells["`model.mlp.batch_normalization`"] == dict.fromkeys(lines[0][1:], "") | {"`din-bars`": "`true`"}


def test_a_constraint_without_words_is_no_silent_gap(script: ModuleType) -> None:
    class Odd(Section):
        """Odd."""

        even: Annotated[int, Field(multiple_of=2, description="even")] = 2

    assert isinstance(Odd.model_fields["even"].metadata[0], annotated_types.MultipleOf)
    with pytest.raises(ValueError, match="multiple_of=2"):
        list(script._describe_sections("odd", Odd))
