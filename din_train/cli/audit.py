"""`din-train audit`: whether a run's numbers can be trusted."""

from pathlib import Path

import click

from din_train.cli.options import json_option, run_dir_option, set_option


@click.command("audit")
@run_dir_option
@click.option(
    "--rows",
    "most_rows",
    metavar="N",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    help="Score at most this many test rows again: whole users, drawn at random.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of everything the audit draws at random."
)
@set_option
@json_option
def command(run_dir: Path, most_rows: int, seed: int, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check a finished run for leaks and wrong numbers; exit with 1 if a check fails.

    Writes audit.json in the run directory. docs/audit.md says what each check can show and what it cannot.
    --set takes the keys that `din-train eval` takes.
    """
    from din_train.audit.audit import audit

    audit(run_dir, most_rows=most_rows, seed=seed, as_json=as_json, overrides=overrides)
