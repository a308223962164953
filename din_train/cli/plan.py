"""`din-train plan`: what a run will take, before it takes it."""

from pathlib import Path

import click

from din_train.cli.options import config_option, json_option, set_option, warm_start_option


@click.command("plan")
@config_option
@set_option
@warm_start_option
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="How many share the training."
)
@click.option("--no-probe", is_flag=True, help="Do not train for a few seconds; then there is no time in the plan.")
@json_option
def command(
    config: Path,
    overrides: tuple[str, ...],
    warm_start: Path | None,
    workers: int,
    no_probe: bool,
    as_json: bool,
) -> None:
    """Say what rows, memory, disk and time a run will take; exit with 2 if it cannot fit.

    Figures are exact if the data set is prepared, and else estimated from a part of the log. Nothing is left on disk.
    """
    from din_train.config import load_config
    from din_train.earlier_run import set_warm_start
    from din_train.plan.plan import plan

    if warm_start is not None:
        overrides = (*set_warm_start(warm_start), *overrides)
    plan(load_config(config, overrides), workers=workers, probed=not no_probe, as_json=as_json)
