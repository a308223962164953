"""YAML as the config reads and writes it: `1e-3` is a number, a key given twice is an error, and sizes have bounds.

A few lines with aliases of aliases can stand for gigabytes of values. So a text is refused if it would be too long
without aliases.
"""

import re
from typing import Any

import yaml

from din_train.printable import make_lines_printable, make_printable

MAX_CHARACTERS = 1 << 17
MAX_DEPTH = 50
_MAX_DIGITS = 100

_EXPONENT_FLOAT = ("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._lengths: dict[int, int] = {}  # of the finished nodes without aliases, by id

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH}", problem_mark=self.get_mark())
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and not is_alias:
            self._lengths[id(node)] = self._measure(node)
            if self._lengths[id(node)] > MAX_CHARACTERS:
                raise yaml.MarkedYAMLError(
                    problem=f"longer than {MAX_CHARACTERS:,} characters where aliases are written out",
                    problem_mark=node.start_mark,
                )
        return node

    def _measure(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1 + len(node.value)
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        if any(id(part) not in self._lengths for part in parts):
            raise yaml.MarkedYAMLError(problem="an alias stands inside what it names", problem_mark=node.start_mark)
        return 1 + sum(self._lengths[id(part)] for part in parts)

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if "\0" in node.value or any("\ud800" <= letter <= "\udfff" for letter in node.value):
            raise yaml.MarkedYAMLError(
                problem="a text with a NUL character or half a character (a lone surrogate)",
                problem_mark=node.start_mark,
            )
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > _MAX_DIGITS:
            raise yaml.MarkedYAMLError(problem=f"a number of {len(node.value):,} digits", problem_mark=node.start_mark)
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        # This comes before the dict is built, because then `<<` has already added keys that the mapping overrides.
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key_node, _ in node.value:
            key = (key_node.tag, key_node.value) if isinstance(key_node, yaml.ScalarNode) else id(key_node)
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key '{key_node.value}' given twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node)
        if value.bit_length() > 63:
            raise yaml.MarkedYAMLError(problem="a number beyond 64 bits", problem_mark=node.start_mark)
        return value


class _Dumper(yaml.SafeDumper):
    """Puts a text that `_Loader` would take for a number in quotes, and one with escapes in double ones."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if make_printable(text) == text else '"')


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_implicit_resolver(*_EXPONENT_FLOAT)
_Dumper.add_implicit_resolver(*_EXPONENT_FLOAT)
_Dumper.add_representer(str, _Dumper.represent_text)


def parse_yaml(text: str) -> Any:
    """One YAML document.

    Raises:
        yaml.YAMLError: if it is not one, a mapping gives a key twice, or it is too large.
    """
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"{len(text):,} characters, expected at most {MAX_CHARACTERS:,}")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        RecursionError,
    ) as error:  # PyYAML raises these itself, for `2020-13-01` or `!!bool x`
        raise yaml.YAMLError(f"a value cannot be read ({error})") from error


def dump_yaml(values: dict[str, Any]) -> str:
    """Block style, keys in the order given; `parse_yaml` reads back equal values.

    Characters that are not printable become escapes in double quotes.
    """
    return make_lines_printable(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
