"""A space: the config keys to search over, each with its choices or its range.

    training.optimizer.learning_rate: {low: 1e-4, high: 1e-2, log: true}
    model.item_embedding_size: {low: 16, high: 64, step: 16}
    training.batch_size: [256, 1024]

A key is as `--set` takes it. Every choice and both ends of a range must give a valid config by themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import Field, ValidationError

from din_train.config import Config, find_differences, list_values, load_config, read_yaml
from din_train.config.section import Section, describe_problems
from din_train.dataset.prepare import describe_recipe, find_changed_key
from din_train.errors import ConfigError

# What must be equal in all trials: else their values do not compare, or would be chosen by luck or by the test rows.
FIXED = (
    "name", "seed", "data.prepared", "metrics.", "tracking.", "training.select_on", "training.refit",
    "training.early_stopping.metric",
)  # fmt: skip


class Range(Section):
    """Numbers from `low` to `high`, both included; whole ones if all three numbers are whole."""

    low: Annotated[int | float, Field(description="the smallest number")]
    high: Annotated[int | float, Field(description="the largest number")]
    step: Annotated[int | float | None, Field(gt=0, description="between two neighbouring numbers")] = None
    log: Annotated[bool, Field(description="whether small and large numbers are drawn by their logarithms")] = False

    def find_problems(self) -> Iterator[tuple[str, str]]:
        """A range must not be empty, and a logarithm needs positive numbers."""
        if self.low >= self.high:
            yield "high", f"received {self.high}, expected more than low, {self.low}"
        if self.log and self.low <= 0:
            yield "low", f"received {self.low} with log: true, expected a positive number"
        if self.log and self.step is not None:
            yield "step", "not used with log: true; remove one of them"
        elif self.step is not None and self.low < self.high:
            low, high, step = (Decimal(str(each)) for each in (self.low, self.high, self.step))
            last = low + (high - low) // step * step
            if last != high:
                ends = " or ".join(str(each) for each in (last, last + step) if each > low)
                yield (
                    "high",
                    f"received {high}, which no number of steps of {step} from low, {low}, reaches; use {ends}",
                )

    @property
    def is_whole(self) -> bool:
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))


@dataclass(frozen=True)
class Space:
    """keys: of each dotted key its range, or its choices as JSON texts, which `--set` takes as they are."""

    keys: Mapping[str, Range | tuple[str, ...]]

    def list_overrides(self) -> Iterator[str]:
        """`key=value` of each choice, and of both ends of each range."""
        for key, values in self.keys.items():
            texts = values if isinstance(values, tuple) else (str(values.low), str(values.high))
            yield from (f"{key}={text}" for text in texts)

    def to_json(self) -> dict[str, Any]:
        """Of each key its range as a mapping, or the list of its choices."""
        return {
            key: list(values) if isinstance(values, tuple) else values.model_dump(exclude_none=True)
            for key, values in self.keys.items()
        }


def read_space(path: Path) -> Space:
    """Read a space's YAML.

    Raises:
        ConfigError: with one line per problem.
    """
    keys: dict[str, Range | tuple[str, ...]] = {}
    problems: list[str] = []
    for key, values in read_yaml(path, "a space, such as configs/spaces/din-small.yaml").items():
        if isinstance(values, list) and len(values) > 1:
            keys[key] = tuple(orjson.dumps(each).decode() for each in values)
            if len(set(keys[key])) < len(values):
                problems.append(f"{path}: {key}: a choice stands there twice; remove one")
        elif isinstance(values, dict):
            try:
                keys[key] = Range.model_validate(values)
            except ValidationError as error:
                problems += [f"{path}: {key}.{problem}" for problem in describe_problems(Range, error)]
        else:
            problems.append(
                f"{path}: {key}: expected a list of at least two choices, or a range such as {{low: 1, high: 5}}"
            )
    if problems:
        raise ConfigError(problems)
    return Space(keys)


def check_space(space: Space, config_file: Path, overrides: Sequence[str], config: Config) -> None:
    """Refuse keys and values that the config cannot have, and those by which trials would not compare.

    Args:
        config: of `config_file` and `overrides`.

    Raises:
        ConfigError: with one line per problem.
    """
    problems: dict[str, None] = {}
    recipe = describe_recipe(config)
    for override in space.list_overrides():
        try:
            tried = load_config(config_file, [*overrides, override])
        except ConfigError as error:
            problems |= dict.fromkeys(f"{override}: {problem}" for problem in error.problems)
            continue
        key = override.partition("=")[0]
        values = space.keys[key]
        taken = dict(list_values(tried)).get(key)
        if isinstance(values, Range) and not values.is_whole and isinstance(taken, int):
            problems[f"{key}: takes whole numbers, but its range has fractions; give a whole step, or none"] = None
        if isinstance(values, Range) and values.is_whole and values.step is None and isinstance(taken, float):
            problems[
                f"{key}: takes fractions, but its range is of whole numbers; write low: {values.low}.0, or give a step"
            ] = None
        fixed = [name for name, *_ in find_differences(config, tried) if name.startswith(FIXED)]
        changed = find_changed_key(recipe, tried)
        if fixed or key.startswith(FIXED):
            problems[f"{key}: would change {(fixed or [key])[0]}, which all trials share; leave it out"] = None
        elif changed:
            problems[f"{key}: would change the prepared data set ({changed}), which all trials share; leave it out"] = (
                None
            )
    if problems:
        raise ConfigError([f"--space: {problem}" for problem in problems])
