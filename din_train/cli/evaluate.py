"""`din-train eval`: score a finished run again."""

from pathlib import Path

import click

from din_train.cli.options import json_option, run_dir_option, set_option


@click.command("eval")
@run_dir_option
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="The samples to score it on.",
)
@set_option
@json_option
def command(run_dir: Path, split: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Score a finished run on one split, from its files alone.

    Gives the numbers that `din-train fit` gave, and writes them to metrics.<split>.json in the run directory.
    --set takes keys that change nothing trained: metrics.gauc_weighting=positives, data.prepared=FOLDER.
    """
    from din_train.scoring import evaluate

    evaluate(run_dir, split=split, as_json=as_json, overrides=overrides)
