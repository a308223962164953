"""`din-train config`: check a config, and show it resolved."""

from pathlib import Path

import click

from din_train.cli.options import set_option
from din_train.printable import make_printable

config_argument = click.argument("config", metavar="FILE", type=click.Path(path_type=Path))


@click.group("config")
def command() -> None:
    """Check a config file, or show it with every default filled in."""


@command.command()
@config_argument
@set_option
def validate(config: Path, overrides: tuple[str, ...]) -> None:
    """Report every problem of a config at once, without reading any data."""
    from din_train.config import load_config

    resolved = load_config(config, overrides)
    click.echo(make_printable(f"{config}: valid"))
    click.echo(
        f"{resolved.name}: model '{resolved.model.name}' on '{resolved.data.source}' logs, "
        f"protocol '{resolved.data.protocol}', epochs {resolved.training.epochs}, seed {resolved.seed}"
    )


@command.command()
@config_argument
@set_option
def show(config: Path, overrides: tuple[str, ...]) -> None:
    """Print the config as YAML, with overrides applied and every default filled in."""
    from din_train.config import dump_config, load_config

    click.echo(dump_config(load_config(config, overrides)), nl=False)
