"""Options that several commands share."""

import math
from pathlib import Path
from typing import Any

import click

from din_train.errors import ConfigError
from din_train.printable import make_printable
from din_train.remote_path import describe_credentials, is_url, make_input_path


class InputPath(click.Path):
    """A file to read: its path or its URL."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A path, or one of `make_input_path`."""
        if not is_url(value):
            return super().convert(value, param, ctx)
        if problem := describe_credentials(value):
            raise ConfigError(problem)
        try:
            return make_input_path(value)
        except ValueError as error:
            raise ConfigError(f"{make_printable(value)}: {error}") from None


class NumberRange(click.FloatRange):
    """A number in a range; `nan` lies in each of click's, since it is neither below nor above anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


config_option = click.option(
    "--config", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The YAML config of the run."
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one config key, such as training.epochs=3; may be given several times.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print only JSON on stdout.")
run_dir_option = click.option(
    "--run-dir",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default=Path("runs/latest"),
    show_default=True,
    help="The run, as `fit` left it.",
)
warm_start_option = click.option(
    "--warm-start",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Begin with the weights of an earlier run, carried over by raw id: sets training.warm_start.run, and "
    "vocabulary.base to the run's data set, whose ids stay.",
)
positive_share_option = click.option(
    "--positive-share",
    metavar="SHARE",
    type=NumberRange(0, 1, min_open=True, max_open=True),
    help="The share of clicks among the rows to be scored: corrects the probabilities for sampled negatives.",
)
