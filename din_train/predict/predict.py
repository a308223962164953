"""`din-train predict`: new rows scored with a finished run."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Any

import orjson

from din_train import terminal
from din_train.config import Config
from din_train.errors import ConfigError, DamagedError, DataError, Interrupted
from din_train.files import check_can_be_folder, compute_sha256, follow_links
from din_train.logs.rejects import count_allowed
from din_train.logs.row_files import RowFile, open_row_file
from din_train.predict.input_columns import SEPARATOR, InputColumns, find_input_columns, parse_columns
from din_train.run_directory import open_run_directory
from din_train.scoring import OpenedRun, open_run, read_training_samples
from din_train.signals import interrupted_exit_code, received_signal

if TYPE_CHECKING:
    from din_train.predict.input_rows import InputParser
    from din_train.predict.predictor import ChunkSummary, Predictor
    from din_train.predict.unfinished_table import UnfinishedTable

_UNMATCHED_WORDS = {
    "history": "ids in histories are unknown",
    SEPARATOR: "histories are joined by something else than the separator",
    "timestamp": "times are before every stored event, or no times of the log's kind",
}

# So many rows without anything known are taken for a mistake; fewer only if the file has no more.
_ENOUGH_ROWS = 1000

_SCORING_LIBRARIES = ("din-train", "keras", "numpy", "pyarrow", "tensorflow")


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
    history_separator: str | None = None,
    allow_unmatched: Collection[str] = (),
) -> None:
    """Score a file's rows; go on if the same request was stopped before.

    Args:
        columns: `role=column` (see `parse_columns`).
        positive_share: see `compute_prior_shift`; None leaves the probabilities as trained.
        overrides: see `open_run`.
        history_separator: see `find_input_columns`.
        allow_unmatched: roles of which no value needs to be known; `context` stands for every context field.

    Raises:
        ConfigError: see `find_input_columns`; if the output is there, or another request was begun for it.
        DataError: if the input cannot be read, changes meanwhile, has too many bad rows, or nothing of a role is known.
    """
    from din_train.predict.unfinished_table import MADE_FROM, is_made_from, open_unfinished, unfinished_folder

    output = follow_links(output)
    was_begun = unfinished_folder(output).exists()
    _check_output_path(output, source, overwrite=overwrite or was_begun)
    given = parse_columns(columns)
    file = open_row_file(source)
    run, trained_with = open_run_directory(run_dir, overrides)
    found = find_input_columns(file, trained_with.data, given, history_separator)
    opened = open_run(run.path, overrides)
    from din_train.predict.input_rows import InputParser
    from din_train.predict.predictor import Predictor, add_score_columns, compute_prior_shift

    config = opened.config
    training_share = float(read_training_samples(config, opened.data, refit=opened.checkpoint.refit).labels.mean())
    shift = 0.0
    if positive_share is not None:
        shift = compute_prior_shift(share=positive_share, training_share=training_share)
    _say_how_rows_are_scored(opened, found, training_share, positive_share)
    parser = InputParser(opened.data, found, config.data.max_history_length)
    predictor = Predictor(opened.model, parser, config.training.evaluation_batch_size, shift)
    request = _describe_request(opened, file, found, shift, chunk_rows)
    made_from = orjson.dumps({**request, "run": str(opened.run.path)}, option=orjson.OPT_SORT_KEYS)
    before = source.stat()
    with open_unfinished(output, request, overwrite=overwrite) as unfinished:
        if was_begun and is_made_from(output, made_from):
            unfinished.remove_chunks()
            terminal.say(f"{output}: finished before; the chunks that it was put together from are removed")
            return
        _check_output_path(output, source, overwrite=overwrite)  # another process may have written it meanwhile
        summary, chunks = _score_chunks(file, predictor, unfinished, chunk_rows, config, allow_unmatched)
        after = source.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            unfinished.remove_chunks()
            raise DataError(f"{source}: has changed while it was scored; run the command again")
        _check_bad_rows(file, summary, config, unfinished.folder)
        schema = add_score_columns(file.schema)
        schema = schema.with_metadata({**(schema.metadata or {}), MADE_FROM: made_from})
        unfinished.publish(output, schema, chunks)
    _say_summary(output, summary)


def _check_output_path(output: Path, source: Path, *, overwrite: bool) -> None:
    if output.suffix != ".parquet":
        raise ConfigError(f"--output: received {output}, expected a name that ends in .parquet")
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"--output: {output} is the input itself; choose another name")
    if output.is_dir():
        raise ConfigError(f"--output: {output}: is a folder; choose another name")
    if output.exists() and not overwrite:
        raise ConfigError(f"--output: {output}: already there; give --overwrite to replace it")
    check_can_be_folder(output.parent)


def _describe_request(
    opened: OpenedRun, file: RowFile, columns: InputColumns, shift: float, chunk_rows: int
) -> dict[str, Any]:
    """Everything that decides the output's bytes."""
    import tensorflow as tf

    return {
        "input": compute_sha256(file.path),
        "weights": opened.checkpoint.sha256,
        "data_set": opened.data.fingerprint,
        "columns": [columns.user, columns.item, columns.history, columns.timestamp, columns.event],
        "history_lag": opened.config.data.history_lag,
        "history_separator": columns.history_format.separator,
        "max_history_length": opened.config.data.max_history_length,
        "prior_correction": shift,
        "chunk_rows": chunk_rows,
        "evaluation_batch_size": opened.config.training.evaluation_batch_size,
        "device": "gpu" if tf.config.list_logical_devices("GPU") else "cpu",
        "versions": {name: version(name) for name in _SCORING_LIBRARIES},
    }


def _score_chunks(
    file: RowFile,
    predictor: "Predictor",
    unfinished: "UnfinishedTable",
    chunk_rows: int,
    config: Config,
    allowed: Collection[str],
) -> "tuple[ChunkSummary, int]":
    """Finish every chunk; return what became of all rows, and how many chunks there are."""
    from din_train.predict.predictor import ChunkSummary

    total, chunks, going_on = ChunkSummary(), 0, False
    try:
        with terminal.reading_progress(file.path.stat().st_size, "scoring") as progress:
            for chunk in file.read_chunks(chunk_rows, progress):
                kept = _read_kept(unfinished, chunks)
                if kept is None:
                    if going_on:
                        terminal.say(f"{unfinished.folder}: going on after {total.rows:,} rows")
                    table, summary = predictor.predict(chunk)
                    if not chunks and not summary.scored and summary.rows >= _ENOUGH_ROWS:
                        raise DataError(
                            f"{file.path}: none of its first {summary.rows:,} rows can be scored "
                            f"({_list_bad(summary)}); check --columns, and the file"
                        )
                    total.add(summary)
                    if total.scored >= _ENOUGH_ROWS:
                        _check_matches(file, total, predictor.parser, config, allowed)
                    unfinished.write_chunk(chunks, table, asdict(summary))
                else:
                    total.add(kept)
                going_on = kept is not None
                chunks += 1
            _check_matches(file, total, predictor.parser, config, allowed)
    except DataError:
        unfinished.remove_chunks()  # the file has to be corrected, which makes it another request
        raise
    except KeyboardInterrupt:
        signal = received_signal()
        by = signal.name if signal and signal != SIGINT else "Ctrl-C"
        how_many = f"{total.rows:,} rows are kept in {unfinished.folder}" if total.rows else "no chunk finished yet"
        raise Interrupted(
            f"scoring stopped by {by}: {how_many}; run the same command again to go on", interrupted_exit_code()
        ) from None
    return total, chunks


def _read_kept(unfinished: "UnfinishedTable", number: int) -> "ChunkSummary | None":
    """The summary of a chunk that an earlier process finished; None if the chunk is to be scored."""
    from din_train.predict.predictor import ChunkSummary

    try:
        kept = unfinished.read_summary(number)
    except DamagedError as error:
        terminal.say(f"{error.problems[0].partition(';')[0]}; it is scored again")
        return None
    return None if kept is None else ChunkSummary(**kept)


def _check_matches(
    file: RowFile, summary: "ChunkSummary", parser: "InputParser", config: Config, allowed: Collection[str]
) -> None:
    """Refuse rows of which no user, item, history id, time or context value is known, or histories joined otherwise.

    Raises:
        DataError: unless that role is allowed to be unknown.
    """
    for role, (given, unknown, example) in summary.matches.items():
        option = "history" if role == SEPARATOR else "context" if role in parser.columns.context else role
        most = count_allowed(config.data.max_bad_share, given) if role == SEPARATOR else given - 1
        if not given or unknown <= most or option in allowed:
            continue
        what, advice = parser.describe_unmatched(role, given, unknown, example)
        raise DataError(
            f"{file.path}: {what}; {advice}, or give --allow-unmatched {option} to score such rows all the same"
        )


def _check_bad_rows(file: RowFile, summary: "ChunkSummary", config: Config, folder: Path) -> None:
    num_bad, allowed = summary.rows - summary.scored, count_allowed(config.data.max_bad_share, summary.rows)
    if num_bad > allowed:
        raise DataError(
            f"{file.path}: {num_bad:,} of {summary.rows:,} rows cannot be scored ({_list_bad(summary)}), more than the "
            f"{allowed:,} that data.max_bad_share = {config.data.max_bad_share:g} allows; correct the file, or give "
            f"--set data.max_bad_share=... (the scored rows are kept in {folder})"
        )


def _list_bad(summary: "ChunkSummary") -> str:
    most_first = sorted(summary.bad.items(), key=lambda each: (-each[1][0], each[0]))
    return ", ".join(f"{reason}: {count:,}, the first is row {first:,}" for reason, (count, first) in most_first)


def _say_how_rows_are_scored(
    opened: OpenedRun, columns: InputColumns, training_share: float, positive_share: float | None
) -> None:
    if columns.event is not None:
        history = f"that of the log's row in '{columns.event}'"
    elif columns.history is not None:
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
            f"click_probability is calibrated to the training rows, of which {training_share:.4%} are positives; if "
            "the rows to be scored have another share of clicks, give it as --positive-share"
        )
    else:
        terminal.say(
            f"click_probability and logit are corrected from a share of positives of {training_share:.4%} (training "
            f"rows) to {positive_share:.4%}"
        )


def _say_summary(output: Path, summary: "ChunkSummary") -> None:
    for reason, (count, first) in sorted(summary.bad.items()):
        terminal.say(f"not scored: {reason}: {count:,} (the first is row {first:,})")
    mean = f", mean click_probability {summary.probabilities / summary.scored:.6f}" if summary.scored else ""
    terminal.say(
        f"{output}: {summary.rows:,} rows, {summary.scored:,} scored{mean}; {summary.count_unknown('user'):,} of "
        f"unknown users, {summary.count_unknown('item'):,} of unknown items, {summary.without_history:,} without a "
        "history"
    )
    if summary.at_stored_time:
        terminal.say(
            f"{summary.at_stored_time:,} rows have stored events of their user at their own time; a history ends "
            "before it, so those are not in it (rows of the log itself: --columns event=..., see docs/predict.md)"
        )
    for role, (given, unknown, _) in summary.matches.items():
        if role not in ("user", "item") and unknown:
            what = _UNMATCHED_WORDS.get(role, f"values of '{role}' are unknown")
            terminal.say(f"{unknown:,} of {given:,} {what}")
