"""`din-train compare`: several runs' metrics side by side."""

from pathlib import Path

import click

from din_train.cli.options import json_option, set_option


@click.command("compare")
@click.argument("run_dirs", metavar="RUN_A RUN_B ...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Also compare numbers of other rows, protocols or definitions.")
@click.option(
    "--report",
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the comparison as a page with figures.",
)
@set_option
@json_option
def command(
    run_dirs: tuple[Path, ...], force: bool, report: Path | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Show the test metrics of several runs side by side, and what they differ by.

    The first run is the reference that the others are compared with. Differences come with intervals: users are drawn
    again, the same ones for both runs. Runs of other protocols, test rows or metric definitions are refused.
    --set takes the keys that `din-train eval` takes, such as metrics.resamples=200.
    """
    from din_train.compare.compare import compare

    compare(run_dirs, as_json=as_json, force=force, report=report, overrides=overrides)
