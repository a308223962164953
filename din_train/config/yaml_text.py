"""YAML as the config reads and writes it: `1e-3` is a number, and a key given twice is an error."""

import re
from typing import Any

import yaml

_EXPONENT_FLOAT = ("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        # Here and not where the dict is made: by then `<<` has put the merged keys beside those that override them.
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


class _Dumper(yaml.SafeDumper):
    """Puts a text that `_Loader` would take for a number in quotes."""


_Loader.add_implicit_resolver(*_EXPONENT_FLOAT)
_Dumper.add_implicit_resolver(*_EXPONENT_FLOAT)


def parse_yaml(text: str) -> Any:
    """One YAML document.

    Raises:
        yaml.YAMLError: where it is not one, or a mapping gives a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (
        ValueError,
        KeyError,
        AttributeError,
        RecursionError,
    ) as error:  # what PyYAML leaks: `2020-13-01`, `!!bool x`
        raise yaml.YAMLError(f"a value cannot be read ({error})") from error


def dump_yaml(values: dict[str, Any]) -> str:
    """Block style, keys in the order given; `parse_yaml` reads back equal values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
