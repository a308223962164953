"""`din-train init`: write a starter config."""

import shlex
from importlib.resources import files
from pathlib import Path

import click

from din_train.errors import ConfigError
from din_train.files import write_text
from din_train.printable import make_printable

# What is shipped for each source; "amazon-2014" in the Amazon one stands for every release.
STARTERS = {
    "table": "starter_table.yaml",
    "rows": "starter_rows.yaml",
    "amazon-2014": "starter_amazon.yaml",
    "amazon-2018": "starter_amazon.yaml",
    "amazon-2023": "starter_amazon.yaml",
    "movielens": "starter_movielens.yaml",
    "taobao": "starter_taobao.yaml",
    "x1": "starter_x1.yaml",
}
DEFAULT_PATH = "din-train.yaml"  # this name also stands in the headers of the starters


def read_starter(source: str) -> str:
    """The starter config that is shipped for a source."""
    text = (files("din_train") / "config" / STARTERS[source]).read_text(encoding="utf-8").replace("amazon-2014", source)
    return text.replace(".json.gz ", ".jsonl.gz") if source == "amazon-2023" else text  # the 2023 files' own names


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path), default=Path(DEFAULT_PATH))
@click.option(
    "--source", type=click.Choice(list(STARTERS)), default="table", show_default=True, help="The format of your logs."
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def command(path: Path, source: str, force: bool) -> None:
    """Write a starter config to PATH (din-train.yaml), to be edited.

    \b
    Sources:
      table         any CSV, TSV, JSON lines or Parquet file with a user, an item and a time column
      rows          rows of such files that hold their histories
      amazon-2014, amazon-2018, amazon-2023
                    the raw review and metadata files of those releases
      movielens     the ratings and movies of any MovieLens release
      taobao        UserBehavior.csv
      x1            ready-made training and test samples with their histories

    If you do not know the format, ask `din-train data inspect FILE`.
    """  # noqa: D301 - \b is click's
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; give the path of a file, such as {path / DEFAULT_PATH}")
    if path.exists() and not path.is_file():  # a device or a pipe, which the rename below would replace
        raise ConfigError(f"{path}: is not an ordinary file; choose another path")
    if path.exists() and not force:
        raise ConfigError(f"{path}: already there; choose another path, or replace it with --force")
    quoted = shlex.quote(str(path))
    text = read_starter(source).replace(DEFAULT_PATH, quoted)
    write_text(path, text)
    line = f"{path}: written; put your files' paths in its 'data' section, then: din-train fit --config {quoted}"
    click.echo(make_printable(line))
