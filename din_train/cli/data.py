"""`din-train data`: the format of a raw log, and its contents."""

from pathlib import Path

import click

from din_train.cli.init import read_starter
from din_train.cli.options import InputPath


@click.group("data")
def command() -> None:
    """Look at a raw log before training on it."""


@command.command()
@click.argument("file", type=InputPath())
def inspect(file: Path) -> None:
    """Say what FILE is and what it holds, and print a config for it.

    The format is told by the content; a folder or a glob (in quotes) of tables is one log. The whole file is read, and
    its lines, users, items and first bad lines go into the comments of the config, which is all of stdout:

    \b
      din-train data inspect FILE > din-train.yaml
      din-train fit --config din-train.yaml

    What could not be told from the file is marked EDIT in the config.
    """  # noqa: D301 - \b is click's
    from din_train.inspect.inspect import inspect_log

    click.echo(inspect_log(file, read_starter).encode(), nl=False)  # bytes: a config is UTF-8 in every locale
