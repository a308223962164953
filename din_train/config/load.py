"""YAML file + `--set` overrides -> `Config`, with every problem reported at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from din_train.config.data import DataConfig
from din_train.config.schema import Config, Preset
from din_train.config.section import describe_problems
from din_train.config.training import SCHEDULE_CUTS
from din_train.config.yaml_text import MAX_CHARACTERS, MAX_DEPTH, dump_yaml, parse_yaml
from din_train.errors import ConfigError
from din_train.printable import shorten
from din_train.remote_path import hide_credentials

PRESETS = Path(__file__).with_name("presets")


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config and apply `dotted.key=value` overrides, the last one winning.

    Raises:
        ConfigError: with one line per problem, each naming the dotted key, what was received and what is allowed.
    """
    values = read_yaml(path)
    problems: list[str] = []
    for override in overrides:
        try:
            values = _apply_override(values, override)
        except ConfigError as error:
            problems.extend(error.problems)
    values = _with_preset(values)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        problems.extend(f"{path}: {problem}" for problem in describe_problems(Config, error))
    if problems:
        raise ConfigError(problems)
    return config


def dump_config(config: Config) -> str:
    """The fully resolved config as YAML; `load_config` reads it back to the same run.

    The preset's keys are among the others, so its name is only a comment. As a key it would fill keys again that the
    config has emptied.
    """
    resolved = dump_yaml(config.model_dump(mode="json", exclude_none=True, exclude={"preset"}))
    return f"# preset: {config.preset}\n{resolved}" if config.preset else resolved


def _with_preset(values: dict[str, Any]) -> dict[str, Any]:
    """`values` over those of the preset they name; an unknown preset is left for the schema to refuse."""
    name = values.get("preset")
    path = PRESETS / f"{name}.yaml"
    if name not in get_args(Preset) or not path.is_file():
        return values
    preset = parse_yaml(path.read_text(encoding="utf-8"))
    return _merge(_without_drawn_negatives(_without_replaced_cuts(preset, values), values), values)


def _without_drawn_negatives(preset: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The preset without the keys of drawn negatives if the log has negatives of its own.

    Rows of source `x1` have labels, too, but their negatives are drawn.
    """
    try:
        data = DataConfig.model_validate(values.get("data"))
    except ValidationError:  # which is reported later, with all other problems
        return preset
    if not data.is_labelled or data.source == "x1":
        return preset
    training = {key: value for key, value in preset.get("training", {}).items() if key != "leave_one_out"}
    return {**{key: value for key, value in preset.items() if key != "negatives"}, "training": training}


def _without_replaced_cuts(preset: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The preset without its learning rate's cuts if the config has another schedule, or cuts of its own."""
    own: Any = values
    for key in ("training", "optimizer", "schedule"):
        own = own.get(key) if isinstance(own, dict) else None
    below = preset.get("training", {}).get("optimizer", {})
    if not isinstance(own, dict) or "schedule" not in below:
        return preset
    schedule = below["schedule"]
    if own.get("name", schedule["name"]) != schedule["name"] or own.keys() & {*SCHEDULE_CUTS}:
        schedule = {key: value for key, value in schedule.items() if key not in SCHEDULE_CUTS}
    return {**preset, "training": {**preset["training"], "optimizer": {**below, "schedule": schedule}}}


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` where both have a key; sections are merged key by key."""
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = _merge(below[key], above[key])
    return merged


def read_yaml(path: Path, what: str | None = None) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        what: what the file was expected to be; None: a config.

    Raises:
        ConfigError: if it cannot be read, or is no mapping.
    """
    expected = what or "a YAML config"
    try:
        with path.open(encoding="utf-8") as file:
            values = parse_yaml(file.read(MAX_CHARACTERS + 1))
    except FileNotFoundError:
        if what:
            raise ConfigError(f"{path}: no such file; expected {what}") from None
        raise ConfigError(f"{path}: no such config file; `din-train init {path}` writes one to start from") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as {what or 'a config file'} ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text (byte 0x{error.object[error.start]:02x} at offset {error.start}); "
            f"expected {expected}"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = shorten(getattr(error, "problem", None) or " ".join(str(error).split()), 200)
        raise ConfigError(f"{path}{where}: not valid YAML: {problem}") from None
    if not isinstance(values, dict) or (what and not all(isinstance(key, str) for key in values)):
        received = "nothing" if values is None else "a list" if isinstance(values, list) else "a single value"
        received = "a key that is no text" if isinstance(values, dict) else received
        keys = what or f"a mapping with the keys {', '.join(Config.model_fields)}"
        raise ConfigError(f"{path}: received {received}, expected {keys}")
    return values


def _apply_override(values: dict[str, Any], override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    keys, override = key.split("."), shorten(hide_credentials(override), 100)
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected dotted.key=value, for example training.epochs=3")
    if len(keys) > MAX_DEPTH:
        raise ConfigError(f"--set {override}: a key of {len(keys):,} parts, expected at most {MAX_DEPTH}")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:  # an unquoted `*.csv`, say
        value = text
    return _with_value(values, keys, value, override)


def _with_value(values: dict[str, Any], keys: list[str], value: Any, override: str) -> dict[str, Any]:
    """A copy of `values` with one key set; nothing is changed in place, as YAML anchors share mappings."""
    first, *rest = keys
    if not rest:
        return {**values, first: value}
    section = values.get(first)
    if section is not None and not isinstance(section, dict):
        raise ConfigError(f"--set {override}: '{first}' holds a value, not keys of its own")
    return {**values, first: _with_value(section or {}, rest, value, override)}


def list_values(config: Config) -> list[tuple[str, Any]]:
    """Dotted key and value of each key that has one, in the order of the schema; without the preset."""
    return list(_flatten(config.model_dump(mode="json", exclude_none=True, exclude={"preset"}), ""))


def find_differences(one: Config, other: Config) -> list[tuple[str, str, str]]:
    """Dotted key, its value in `one` and in `other`, in the order of the schema; `nothing` if the key has no value.

    The preset is left out: its keys are among the others, and a resolved config (`dump_config`) no longer names it.
    """
    left, right = (dict(list_values(each)) for each in (one, other))
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
