"""`din-train explain`: how much each behaviour weighs in a score."""

from pathlib import Path

import click

from din_train.cli.options import json_option, run_dir_option, set_option


@click.command("explain")
@run_dir_option
@click.option("--user", required=True, metavar="ID", help="The user's id as the log has it.")
@click.option("--item", required=True, metavar="ID", help="The candidate item's id as the log has it.")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also save the picture, as FILE ends in: .svg, .html (a page for browser and phone) or .png.",
)
@set_option
@json_option
def command(
    run_dir: Path, user: str, item: str, output: Path | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Show how much each behaviour of a user weighs in the score of one item.

    The history is the one before the user's test target if ITEM is that target, else all the user's events. Each
    behaviour is also left out in turn: the score without it must be what the weights predict, or the command fails.
    --set takes the keys that `din-train eval` takes.
    """
    from din_train.explain.explain import explain

    explain(run_dir, user=user, item=item, as_json=as_json, output=output, overrides=overrides)
