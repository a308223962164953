"""`din-train prepare`: raw logs -> prepared data set."""

from pathlib import Path

import click

from din_train.cli.options import config_option, set_option


@click.command("prepare")
@config_option
@set_option
@click.option("--force", is_flag=True, help="Prepare again, even if the prepared data set matches the config.")
def command(config: Path, overrides: tuple[str, ...], force: bool) -> None:
    """Turn the raw logs into a prepared data set.

    Does nothing if the data set exists and neither the config nor the logs have changed. `din-train fit` prepares
    by itself.
    """
    from din_train.config import load_config
    from din_train.dataset.prepare import prepare

    prepare(load_config(config, overrides), force=force)
