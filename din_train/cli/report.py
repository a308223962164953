"""`din-train report`: write a run's page and plots again."""

from pathlib import Path

import click

from din_train.cli.options import run_dir_option, set_option


@click.command("report")
@run_dir_option
@set_option
def command(run_dir: Path, overrides: tuple[str, ...]) -> None:
    """Write a finished run's report.html and plots again, and show its numbers.

    From the run's files alone: nothing is trained or scored. report.html is one page that needs nothing beside it;
    the run's folder plots/ has each plot as SVG and PNG. --set takes the keys that `din-train eval` takes.
    """
    from din_train.report.report import report

    report(run_dir, overrides)
