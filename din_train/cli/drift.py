"""`din-train drift`: what has changed between a run's training and a new log."""

from pathlib import Path

import click

from din_train.cli.options import InputPath, NumberRange, json_option, run_dir_option, set_option


@click.command("drift")
@run_dir_option
@click.option(
    "--input",
    "source",
    required=True,
    metavar="LOG",
    type=InputPath(),
    help="The new log: a file, or a folder or glob of files, as the run's data.events or data.reviews may name them.",
)
@click.option("--items", metavar="FILE", type=InputPath(), help="A newer file of items, in place of data.items.")
@click.option("--users", metavar="FILE", type=InputPath(), help="A newer file of users, in place of data.users.")
@click.option(
    "--max-unknown",
    metavar="SHARE",
    type=NumberRange(0, 1),
    help="Exit with 1 if more of the new rows have an unknown item or user, or a field an unknown value.",
)
@click.option(
    "--max-psi",
    metavar="PSI",
    type=NumberRange(min=0),
    help="Exit with 1 if a distribution's population stability index is above this; 0.25 is often taken.",
)
@click.option(
    "--max-gauc-drop",
    metavar="DROP",
    type=NumberRange(-1, 1),
    help="Exit with 1 if GAUC is lower by more than this than in the run's test split.",
)
@click.option(
    "--out",
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the page goes, with FILE.json beside it; else drift.html and drift.json in the run directory.",
)
@set_option
@json_option
def command(
    run_dir: Path,
    source: Path,
    items: Path | None,
    users: Path | None,
    max_unknown: float | None,
    max_psi: float | None,
    max_gauc_drop: float | None,
    out: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say what has changed since a run's training, from a new log; exit with 1 past a limit.

    Unknown items, users and values; distributions of fields, history lengths and scores; GAUC and calibration by day.
    New are the events after the last one of the run's data set; earlier ones in the log are history alone. Nothing is
    trained. Without a limit the exit code is 0. --set takes the keys that `din-train eval` takes.
    """
    from din_train.drift.drift import drift
    from din_train.drift.measured_drift import DriftLimits

    places = {"input": source, "items": items, "users": users}
    drift(
        run_dir,
        {name: path for name, path in places.items() if path is not None},
        limits=DriftLimits(max_unknown, max_psi, max_gauc_drop),
        out=out,
        as_json=as_json,
        overrides=overrides,
    )
