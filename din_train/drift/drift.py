"""`din-train drift`: what has changed between a run's training and a new log.

How many ids and values the run does not know, how distributions have moved, and what that does to its scores and, by
day, to its metrics. Nothing is trained.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from din_train import terminal
from din_train.checksums import indexed_file, write_indexed_json
from din_train.dataset.store import open_store
from din_train.drift.drift_tables import (
    METRIC_TITLES,
    STABILITY_TITLES,
    UNKNOWN_TITLES,
    describe_gauc,
    list_distributions,
    list_metrics,
    list_unknown,
)
from din_train.drift.measured_drift import Drift, DriftLimits, describe_drift, find_exceeded, measure_drift
from din_train.drift.new_log import check_source, open_new_log
from din_train.earlier_run import read_training_fingerprint
from din_train.errors import ConfigError, RunError
from din_train.files import check_can_be_file, follow_links, write_text
from din_train.printable import dump_printable_json
from din_train.run_directory import RunDirectory, open_run_directory
from din_train.scoring import find_prepared, keep_in_run


def drift(
    run_dir: Path,
    places: Mapping[str, Path],
    *,
    limits: DriftLimits,
    out: Path | None,
    as_json: bool,
    overrides: Sequence[str] = (),
) -> Drift:
    """Compare a new log with what a run was trained on; show it, and write it as a page and as JSON.

    Args:
        places: `input` and, if they are not as the run has them, `items` and `users`.
        out: the page, with the JSON beside it; by default drift.html and drift.json in the run directory.
        overrides: see `open_run_directory`.

    Raises:
        ConfigError: if the run or the log cannot be compared, or the log has nothing new.
        RunError: one line for each limit that is passed, and one if the files could not be written.
    """
    from din_train.drift.drift_page import build_drift_page

    if out is not None:
        check_can_be_file(out, "--out")
        if out.suffix != ".html":
            raise ConfigError(f"--out {out}: expected the name of a page, which ends in .html")
    identity = RunDirectory(follow_links(run_dir)).compute_identity()  # before anything of it is read
    run, config = open_run_directory(run_dir, overrides)
    check_source(config)
    before = run.read_metrics()
    if read_training_fingerprint(run) != before.data_fingerprint:
        raise ConfigError(
            f"{run.path}: scored on another data set than it was trained on, as a day of a backtest is, so it has no "
            "test split to compare a new log with; name a run that `din-train fit` has finished"
        )
    prepared, _ = find_prepared(run, config, before.data_fingerprint, overrides)
    run_data = open_store(prepared, temp_folder=config.data.temp_folder)
    with open_new_log(config, run_data, places) as log:
        measured = measure_drift(run, config, run_data, log, before, str(places["input"]), overrides)
    exceeded = find_exceeded(measured, limits)
    said = describe_drift(measured, limits, exceeded)
    if as_json:
        terminal.show_json(said)
    else:
        show_drift(measured)
    problems = [f"{run.path}: drift: {each}" for each in exceeded]
    page = build_drift_page(measured, exceeded)
    try:
        where = write_drift(run, identity, out, page, said)
        if not as_json:
            terminal.say(f"drift: {where} and {where.with_suffix('.json').name} written")
    except RunError as error:
        problems += error.problems
    if problems:
        raise RunError(problems)
    return measured


def show_drift(measured: Drift) -> None:
    """The tables and sentences in the terminal."""
    for title, titles, rows, words in (
        (f"drift of {measured.run}: what the training did not know", UNKNOWN_TITLES, list_unknown(measured), 1),
        ("distributions: population stability index", STABILITY_TITLES, list_distributions(measured), 2),
        ("metrics", METRIC_TITLES, list_metrics(measured), 1),
    ):
        table = Table(*titles, title=escape(title))
        for column in table.columns[words:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*map(escape, row))
        terminal.show_table(table)
    for line in (*measured.notes, *filter(None, [describe_gauc(measured)])):
        terminal.show_line(line)


def write_drift(run: RunDirectory, identity: str, out: Path | None, page: str, said: Mapping[str, Any]) -> Path:
    """Write the page and the JSON; returns the page's path.

    Raises:
        RunError: if the run cannot take them, or has been replaced meanwhile.
    """
    if out is not None:
        write_text(out, page)
        write_text(out.with_suffix(".json"), dump_printable_json(said) + "\n")
        return out
    with keep_in_run(run, identity, "drift.json (--out FILE.html takes another place)"):
        write_indexed_json(run.drift_file, said)
        with indexed_file(run.drift_page) as temporary:
            temporary.write_text(page, encoding="utf-8")
    return run.drift_page
