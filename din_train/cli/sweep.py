"""`din-train sweep`: a grid of config keys and seeds."""

from pathlib import Path

import click

from din_train.cli.fit import parse_seeds
from din_train.cli.options import config_option, json_option, set_option


@click.command("sweep")
@config_option
@set_option
@click.option(
    "--grid",
    required=True,
    multiple=True,
    metavar="KEY=A,B,...",
    help="A config key and its values; given several times: every combination.",
)
@click.option(
    "--seeds", metavar="1,2,...", callback=parse_seeds, help="Train every point once per seed. [default: `seed`]"
)
@click.option(
    "--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Where the sweep goes. [default: runs/<name>]"
)
@click.option("--plan", "plan_only", is_flag=True, help="Show the plan and run nothing.")
@json_option
def command(
    config: Path,
    overrides: tuple[str, ...],
    grid: tuple[str, ...],
    seeds: tuple[int, ...] | None,
    out: Path | None,
    plan_only: bool,
    as_json: bool,
) -> None:
    """Train a grid of configs and seeds, and compare every point with the first.

    Plans first: runs, time from a short probe, memory, disk. Every run is trained in a process of its own; if one
    fails, the others still run. If the command was stopped or killed, run it again to go on. All numbers are of the
    test split: to choose among many settings use `din-train tune`, which does not see it.
    """
    from din_train.sweep_grid import sweep

    sweep(config, overrides, grid, seeds, out=out, plan_only=plan_only, as_json=as_json)
