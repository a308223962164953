"""Options that several commands share."""

from pathlib import Path

import click

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
