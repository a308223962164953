"""`din-train backtest`: what each day would have been like, cold, warm and without a refresh."""

from pathlib import Path

import click

from din_train.cli.fit import parse_seeds
from din_train.cli.options import config_option, json_option, set_option

_MODES = ("cold", "warm", "stale")


def _parse_modes(ctx: click.Context, param: click.Parameter, text: str) -> tuple[str, ...]:
    """`stale,cold` -> ("cold", "stale")."""
    given = [part.strip() for part in text.split(",")]
    if len(set(given)) < len(given) or not set(given) <= set(_MODES):
        raise click.BadParameter(f"received '{text}', expected some of cold, warm and stale", ctx, param)
    return tuple(mode for mode in _MODES if mode in given)


@click.command("backtest")
@config_option
@set_option
@click.option(
    "--from", "begin", required=True, metavar="DATE", help="The first day that is scored: a date (UTC) or unix seconds."
)
@click.option("--every", default="1d", show_default=True, metavar="PERIOD", help="How long a day is: 1d, 6h, 2w.")
@click.option(
    "--warm-set",
    "of_warm",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of `training` for warm models alone, such as training.epochs=1.",
)
@click.option("--steps", "num_steps", required=True, metavar="N", type=click.IntRange(1, 1000), help="How many days.")
@click.option(
    "--seeds", metavar="1,2,...", callback=parse_seeds, help="Train every model once per seed. [default: `seed`]"
)
@click.option(
    "--modes",
    default="cold,warm,stale",
    show_default=True,
    metavar="A,B",
    callback=_parse_modes,
    help="cold: trained from nothing; warm: from the day before's weights; stale: the first day's model.",
)
@click.option(
    "--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Where the backtest goes. [default: runs/<name>]"
)
@click.option("--plan", "plan_only", is_flag=True, help="Prepare the data sets, say what is to be trained, and stop.")
@json_option
def command(
    config: Path,
    overrides: tuple[str, ...],
    begin: str,
    every: str,
    of_warm: tuple[str, ...],
    num_steps: int,
    seeds: tuple[int, ...] | None,
    modes: tuple[str, ...],
    out: Path | None,
    plan_only: bool,
    as_json: bool,
) -> None:
    """Look back: train up to each day of a log, and score that day once.

    A model is trained on a data set that ends before its day, so it knows nothing of it. The table and backtest.html
    show GAUC by day, warm against cold, the seconds of each, the share of new items, and how the first day's model
    decays. If the command was stopped or killed, run it again to go on.
    """
    from din_train.backtest.backtest import backtest

    backtest(
        config,
        overrides,
        begin=begin,
        every=every,
        of_warm=of_warm,
        num_steps=num_steps,
        seeds=seeds,
        modes=modes,
        out=out,
        plan_only=plan_only,
        as_json=as_json,
    )
