"""The base of every config section, and the messages for what pydantic finds wrong in one.

A section is frozen and strict, has no unknown keys, and reports all of its problems at once: one line for each, with
the dotted key, what was received and what is allowed.
"""

import difflib
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from din_train.printable import shorten
from din_train.remote_path import hide_credentials

CROSS_FIELD = "cross_field"  # the type of a problem whose message says what was received
_YAML_NAMES = {None: "null", True: "true", False: "false"}
_REWORDED = {
    "Input should be a valid": "expected a",
    "Input should be": "expected",
    "Tuple should": "expected a list to",
    "a tuple": "a list",
    "a integer": "a whole number",
    " after validation, not": ", not",
    "Value error, ": "",
}


class Section(BaseModel):
    """One level of the config. A subclass with rules that need several keys overrides `find_problems`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False)

    def find_problems(self) -> Iterable[tuple[str, str]]:
        """Problems that only several keys together show; called if each key by itself is right.

        Returns:
            Pairs of a dotted key within this section and what is wrong with it.
        """
        return ()

    @model_validator(mode="after")
    def _report_problems(self) -> Self:
        problems = [
            InitErrorDetails(type=PydanticCustomError(CROSS_FIELD, message), loc=tuple(key.split(".")), input=None)
            for key, message in self.find_problems()
        ]
        if problems:
            raise ValidationError.from_exception_data(type(self).__name__, problems)
        return self


def describe_problems(schema: type[BaseModel], error: ValidationError) -> list[str]:
    """One line for each of `error`'s problems with values for `schema`."""
    found = error.errors()
    parents = {details["loc"][:-1] for details in found}
    # A list whose items are refused counts as empty to pydantic; the items' own lines say enough.
    return [
        _describe(schema, details)
        for details in found
        if not (details["type"] == "too_short" and details["loc"] in parents)
    ]


def _describe(schema: type[BaseModel], details: ErrorDetails) -> str:
    location = details["loc"]
    key = shorten(".".join(str(part) for part in location), 200)
    received = _show(details["input"])
    if location[-1:] == ("[key]",):  # of a mapping, whose keys are the user's
        mapping = ".".join(str(part) for part in location[:-2])
        return f"{mapping}: received the key {received}, expected {_meaning(schema, location[:-2])}"
    match details["type"]:
        case type_ if type_ == CROSS_FIELD:
            return f"{key}: {details['msg']}"
        case "missing":
            return f"{key}: missing, expected {_meaning(schema, location)}"
        case "extra_forbidden":
            return f"{key}: unknown key{_suggest(schema, location)}"
        case "literal_error":
            return f"{key}: received {received}, expected {details['ctx']['expected']}"
        case "model_type":
            return f"{key}: received {received}, expected {_keys_of(_section_at(schema, location))}"
        case "invalid_key":
            parent = ".".join(str(part) for part in location[:-1]) or "the config"
            return f"{parent}: received the key {received}, expected {_keys_of(_section_at(schema, location[:-1]))}"
        case "string_type":
            return f"{key}: received {received}, expected text; put it in quotes"
        case "string_pattern_mismatch":
            return f"{key}: received {received}, expected {_meaning(schema, location)}"
        case "path_type":
            return f"{key}: received {received}, expected a path"
    expected = details["msg"]
    for pydantic_words, ours in _REWORDED.items():
        expected = expected.replace(pydantic_words, ours)
    return f"{key}: received {received}, {expected}"


def _suggest(schema: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """The key that was probably meant, here or in another section, and those allowed here."""
    unknown = str(location[-1])
    siblings = list(_section_at(schema, location[:-1]).model_fields)
    elsewhere = [key for key in _dotted_keys(schema) if key.rpartition(".")[2] == unknown]
    close = difflib.get_close_matches(unknown, siblings, n=1) or elsewhere
    meant = f", did you mean {' or '.join(repr(each) for each in close)}?" if close else ";"
    return f"{meant} expected one of {', '.join(siblings)}"


def _meaning(schema: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """The description of a key, or the keys of a section."""
    parent, key = _section_at(schema, location[:-1]), str(location[-1])
    section = _section_type(parent, key)
    return _keys_of(section) if section else str(parent.model_fields[key].description)


def _keys_of(section: type[BaseModel]) -> str:
    return f"a section with keys among {', '.join(section.model_fields)}"


def _section_at(schema: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    for part in location:
        section = _section_type(schema, str(part))
        if section is None:
            raise KeyError(f"{location}: not a section of {schema.__name__}")
        schema = section
    return schema


def _section_type(schema: type[BaseModel], key: str) -> type[BaseModel] | None:
    annotation = schema.model_fields[key].annotation
    candidates = (annotation, *get_args(annotation))  # `Section` or `Section | None`
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _dotted_keys(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for key in schema.model_fields:
        yield prefix + key
        if section := _section_type(schema, key):
            yield from _dotted_keys(section, f"{prefix}{key}.")


def _show(value: object) -> str:
    """About as the user wrote it in YAML; a long value is cut."""
    if isinstance(value, Mapping):
        return "a mapping"
    if value is None or isinstance(value, bool):
        return _YAML_NAMES[value]
    text = _Cut().repr(value) if isinstance(value, (str, int, float, list, tuple)) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _Cut(reprlib.Repr):
    """`repr` that stays short and cheap for values of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = 20
        self.maxlong = 200

    def repr_str(self, x: str, level: int) -> str:  # noqa: ARG002
        return repr(hide_credentials(x)[:60])
