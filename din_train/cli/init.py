"""`din-train init`: write a starter config."""

import shlex
from importlib.resources import files
from pathlib import Path

import click

from din_train.errors import ConfigError, RunError
from din_train.files import atomic_file, make_folder

# What is shipped for each source; "amazon-2014" in the Amazon one stands for either release.
STARTERS = {"table": "starter_table.yaml", "amazon-2014": "starter_amazon.yaml", "amazon-2018": "starter_amazon.yaml"}
DEFAULT_PATH = "din-train.yaml"  # as the starters' headers have it


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path), default=Path(DEFAULT_PATH))
@click.option(
    "--source", type=click.Choice(list(STARTERS)), default="table", show_default=True, help="The format of your logs."
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def command(path: Path, source: str, force: bool) -> None:
    """Write a starter config to PATH (din-train.yaml), to be edited.

    Sources: table is any CSV, TSV or Parquet file with a user, an item and a time column; amazon-2014 and amazon-2018
    are the raw review and metadata files of those releases.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; give the path of a file, such as {path / DEFAULT_PATH}")
    if path.exists() and not path.is_file():  # a device, a pipe: the rename below would put a file in its place
        raise ConfigError(f"{path}: is not an ordinary file; choose another path")
    if path.exists() and not force:
        raise ConfigError(f"{path}: already there; choose another path, or replace it with --force")
    shipped = (files("din_train") / "config" / STARTERS[source]).read_text(encoding="utf-8")
    quoted = shlex.quote(str(path))
    text = shipped.replace(DEFAULT_PATH, quoted).replace("amazon-2014", source)
    make_folder(path.parent)
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); choose another path") from None
    click.echo(f"{path}: written; put your files' paths in its 'data' section, then: din-train fit --config {quoted}")
