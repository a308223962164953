"""What two configs differ in."""

from collections.abc import Iterator, Mapping
from typing import Any

from din_train.config.schema import Config


def find_differences(one: Config, other: Config) -> list[tuple[str, str, str]]:
    """Dotted key, its value in the one and in the other, in the order of the schema; `nothing` where it has none.

    The preset is left out: its keys are among the others, and a resolved config (`dump_config`) no longer names it.
    """
    dumped = (each.model_dump(mode="json", exclude_none=True, exclude={"preset"}) for each in (one, other))
    left, right = (dict(_flatten(each, "")) for each in dumped)
    keys = [*left, *(key for key in right if key not in left)]
    return [
        (key, str(left.get(key, "nothing")), str(right.get(key, "nothing")))
        for key in keys
        if left.get(key) != right.get(key)
    ]


def _flatten(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
