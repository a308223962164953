"""`din-train predict`: new rows scored with a finished run."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING

import orjson

from din_train.config import Config
from din_train.errors import ConfigError, DataError, Interrupted
from din_train.files import compute_sha256
from din_train.logs.rejects import count_allowed
from din_train.logs.row_files import RowFile, open_row_file
from din_train.report import terminal
from din_train.run_directory import open_run_directory
from din_train.samples.request_columns import RequestColumns, find_request_columns, parse_columns
from din_train.signals import interrupted_exit_code, received_signal
from din_train.workflow.scoring import OpenedRun, open_run, read_training_samples

if TYPE_CHECKING:
    from din_train.evaluation.predict import Predictor, Summary
    from din_train.evaluation.unfinished import Request, UnfinishedTable

_LIBRARIES = ("din-train", "keras", "numpy", "pyarrow", "tensorflow")


def predict(
    run_dir: Path,
    source: Path,
    output: Path,
    *,
    columns: Sequence[str] = (),
    positive_share: float | None = None,
    chunk_rows: int,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
) -> "Summary":
    """Score a file's rows, go on where the same request was stopped.

    Args:
        columns: `role=column` (see `parse_columns`).
        positive_share: see `compute_prior_shift`; None leaves the probabilities as trained.
        overrides: see `open_run`.

    Raises:
        ConfigError: see `find_request_columns`; if the output is there, or another request was begun for it.
        DataError: if the input cannot be read, changes meanwhile, or has too many bad rows.
    """
    _check_output(output, source, overwrite=overwrite)
    given = parse_columns(columns)
    file = open_row_file(source)
    found = find_request_columns(file, open_run_directory(run_dir, overrides)[1].data, given)
    opened = open_run(run_dir, overrides)
    from din_train.evaluation.predict import Predictor, add_score_columns
    from din_train.evaluation.prior import compute_prior_shift
    from din_train.evaluation.unfinished import open_unfinished
    from din_train.samples.requests import RequestParser

    config = opened.config
    training_share = float(read_training_samples(config, opened.data, refit=opened.checkpoint.refit).labels.mean())
    shift = 0.0
    if positive_share is not None:
        shift = compute_prior_shift(share=positive_share, training_share=training_share)
    _say_what_happens(opened, found, training_share, positive_share)
    predictor = Predictor(
        model=opened.model,
        parser=RequestParser.of(opened.data, found, config.data.max_history_length),
        batch_size=config.training.evaluation_batch_size,
        prior_shift=shift,
    )
    request = _describe_request(opened, file, found, shift, chunk_rows)
    before = source.stat()
    with open_unfinished(output, request, overwrite=overwrite) as unfinished:
        _check_output(output, source, overwrite=overwrite)  # another process may have written it meanwhile
        summary, chunks = _score_chunks(file, predictor, unfinished, chunk_rows)
        after = source.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            unfinished.remove_chunks()
            raise DataError(f"{source}: has changed while it was scored; run the command again")
        _check_bad_rows(file, summary, config, unfinished.folder)
        schema = add_score_columns(file.schema)
        made_from = orjson.dumps({**request, "run": str(run_dir)}, option=orjson.OPT_SORT_KEYS)
        schema = schema.with_metadata({**(schema.metadata or {}), b"din-train": made_from})
        unfinished.publish(output, schema, chunks)
    _say_summary(output, summary)
    return summary


def _check_output(output: Path, source: Path, *, overwrite: bool) -> None:
    if output.suffix != ".parquet":
        raise ConfigError(f"--output: received {output}, expected a name that ends in .parquet")
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"--output: {output} is the input itself; choose another name")
    if output.is_dir() or (output.exists() and not overwrite):
        what = (
            "is a folder; choose another name" if output.is_dir() else "already there; give --overwrite to replace it"
        )
        raise ConfigError(f"--output: {output}: {what}")


def _describe_request(
    opened: OpenedRun, file: RowFile, columns: RequestColumns, shift: float, chunk_rows: int
) -> "Request":
    """Everything that decides the output's bytes."""
    import tensorflow as tf

    return {
        "input": compute_sha256(file.path),
        "weights": opened.checkpoint.sha256,
        "data_set": opened.data.fingerprint,
        "columns": [columns.user, columns.item, columns.history, columns.timestamp],
        "max_history_length": opened.config.data.max_history_length,
        "prior_correction": shift,
        "chunk_rows": chunk_rows,
        "evaluation_batch_size": opened.config.training.evaluation_batch_size,
        "device": "gpu" if tf.config.list_logical_devices("GPU") else "cpu",
        "versions": {name: version(name) for name in _LIBRARIES},
    }


def _score_chunks(
    file: RowFile, predictor: "Predictor", unfinished: "UnfinishedTable", chunk_rows: int
) -> "tuple[Summary, int]":
    """Every chunk finished, and how many there are."""
    from din_train.evaluation.predict import Summary

    total, number, finished = Summary(), 0, unfinished.count_chunks()
    try:
        with terminal.reading_progress(file.path.stat().st_size, "scoring") as progress:
            for number, chunk in enumerate(file.read_chunks(chunk_rows, progress), 1):
                kept = unfinished.read_summary(number - 1) if number <= finished else None
                if kept is not None:
                    total.add(Summary(**kept))
                    if number == finished:
                        terminal.say(f"{unfinished.folder}: going on after {total.rows:,} rows")
                    continue
                table, summary = predictor.predict(chunk)
                if number == 1 and not summary.scored and summary.rows >= 1000:
                    raise DataError(
                        f"{file.path}: none of its first {summary.rows:,} rows can be scored ({_show_bad(summary)}); "
                        "check --columns, and the file"
                    )
                unfinished.write_chunk(number - 1, table, summary.to_json())
                total.add(summary)
    except DataError:
        unfinished.remove_chunks()  # of a file that has to be another
        raise
    except KeyboardInterrupt:
        signal = received_signal()
        by = signal.name if signal and signal != SIGINT else "Ctrl-C"
        kept_rows = f"{total.rows:,} rows are kept in {unfinished.folder}" if total.rows else "no chunk finished yet"
        raise Interrupted(
            f"scoring stopped by {by}: {kept_rows}; run the same command again to go on",
            interrupted_exit_code(),
        ) from None
    return total, number


def _check_bad_rows(file: RowFile, summary: "Summary", config: Config, folder: Path) -> None:
    allowed = count_allowed(config.data.max_bad_share, summary.rows)
    if summary.num_bad > allowed:
        raise DataError(
            f"{file.path}: {summary.num_bad:,} of {summary.rows:,} rows cannot be scored ({_show_bad(summary)}), more "
            f"than the {allowed:,} that data.max_bad_share = {config.data.max_bad_share:g} allows; correct the file, "
            f"or give --set data.max_bad_share=... (the scored rows are kept in {folder})"
        )


def _show_bad(summary: "Summary") -> str:
    most_first = sorted(summary.bad.items(), key=lambda each: (-each[1][0], each[0]))
    return ", ".join(f"{reason}: {count:,}, the first is row {first:,}" for reason, (count, first) in most_first)


def _say_what_happens(
    opened: OpenedRun, columns: RequestColumns, training_share: float, positive_share: float | None
) -> None:
    if columns.history is not None:
        history = f"column '{columns.history}'"
    elif columns.timestamp is not None:
        history = f"the user's stored events before '{columns.timestamp}'"
    else:
        history = "all of the user's stored events"
    terminal.say(
        f"{opened.run.path}: {opened.config.model.name}, epoch {opened.checkpoint.epoch}; a row's history is {history}"
    )
    if positive_share is None:
        terminal.say(
            f"click_probability is calibrated to the training rows, of which {training_share:.4%} are positives; where "
            "the rows to be scored have another share of clicks, give it as --positive-share"
        )
    else:
        terminal.say(
            f"click_probability and logit are corrected from a share of positives of {training_share:.4%} (training "
            f"rows) to {positive_share:.4%}"
        )


def _say_summary(output: Path, summary: "Summary") -> None:
    for reason, (count, first) in sorted(summary.bad.items()):
        terminal.say(f"not scored: {reason}: {count:,} (the first is row {first:,})")
    mean = f", mean click_probability {summary.probabilities / summary.scored:.6f}" if summary.scored else ""
    terminal.say(
        f"{output}: {summary.rows:,} rows, {summary.scored:,} scored{mean}; {summary.unknown_users:,} of unknown "
        f"users, {summary.unknown_items:,} of unknown items, {summary.without_history:,} without a history"
    )
