"""`din-train predict`: new rows scored with a finished run.

file -> chunks of rows -> samples (`input_rows.py`) -> logits -> kept chunks (`unfinished_table.py`) -> output
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from din_train import terminal
from din_train.config import Config, DataConfig, load_config
from din_train.dataset.names import read_names
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.training_rows import compute_positive_share
from din_train.errors import ConfigError, DamagedError, DataError, Interrupted
from din_train.evaluation.calibration import Calibration
from din_train.evaluation.metrics import compute_click_probabilities
from din_train.files import check_can_be_folder, follow_links
from din_train.logs.delta import hash_input, measure_input
from din_train.logs.items_file import read_items_file
from din_train.logs.rejects import count_allowed
from din_train.logs.row_files import Chunk, RowFile
from din_train.predict.input_columns import (
    SCORE_COLUMNS,
    SEPARATOR,
    SEQUENCE,
    InputColumns,
    doubt_header,
    find_input_columns,
    open_input,
    parse_columns,
)
from din_train.predict.input_rows import InputParser, Match
from din_train.predict.new_items import ItemsFile, describe_items_file
from din_train.predict.shared_histories import sort_by_history, unify_histories
from din_train.predict.unfinished_table import (
    MADE_FROM,
    UnfinishedTable,
    is_made_from,
    open_unfinished,
    unfinished_folder,
)
from din_train.remote_path import is_remote
from din_train.run_directory import open_run_directory
from din_train.scoring import OpenedRun, open_run, score_samples
from din_train.signals import interrupted_exit_code, name_signal

# If nothing is known of this many rows, the file is refused; a shorter file is judged at its end.
_ENOUGH_ROWS = 1000

_SCORING_LIBRARIES = ("din-train", "keras", "numpy", "pyarrow", "tensorflow")

_NO_VALUES: Match = (0, 0, None)
_UNMATCHED_WORDS = {
    "history": "ids in histories are unknown",
    SEPARATOR: "histories are joined by something else than the separator",
    "timestamp": "times are before every stored event, or no times of the log's kind",
}


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
    items: Path | None = None,
) -> None:
    """Score a file's rows; go on if the same request was stopped before.

    Args:
        columns: `role=column` (see `parse_columns`).
        positive_share: see `compute_prior_shift`; None leaves the probabilities as trained.
        overrides: see `open_run`; and keys of `data.format`, which say how the text of `source` is written.
        history_separator: see `find_input_columns`.
        allow_unmatched: roles of which no value needs to be known; `context` stands for every context field.
        items: a file that describes items that the data set does not know.

    Raises:
        ConfigError: see `find_input_columns` and `read_items_file`; if the output is there, or another request was
            begun for it.
        DataError: if a file cannot be read, the input changes meanwhile, has too many bad rows, or nothing of a role is
            known.
    """
    output = follow_links(output)
    was_begun = unfinished_folder(output).exists()
    _check_output_path(output, source, overwrite=overwrite or was_begun)
    given = parse_columns(columns)
    of_file = [each for each in overrides if each.startswith("data.format.")]
    overrides = [each for each in overrides if each not in of_file]
    run, trained_with = open_run_directory(run_dir, overrides)
    asked = load_config(run.config_file, [*overrides, *of_file]).data if of_file else trained_with.data
    file = open_input(source, asked.format)
    found = _find_columns(file, asked, given, history_separator)
    opened = open_run(run.path, overrides)
    shift, training_share = find_prior_shift(opened, positive_share)
    _say_how_rows_are_scored(opened, found, training_share, positive_share)
    doubt = doubt_header(file, asked, given)
    if doubt is not None:
        terminal.say(doubt)
    items_file = None if items is None else _read_items(items, opened)
    parser = InputParser(opened.data, found, opened.config.data.max_history_length, items_file)
    scorer = RowScorer(opened, file, parser, shift)
    request = _describe_request(opened, file, found, shift, chunk_rows)
    request |= {} if items is None else {"items": hash_input(items)}
    made_from = orjson.dumps({**request, "run": str(opened.run.path)}, option=orjson.OPT_SORT_KEYS)
    before = source.stat()
    with open_unfinished(output, request, overwrite=overwrite) as unfinished:
        if was_begun and is_made_from(output, made_from):
            unfinished.remove_chunks()
            terminal.say(f"{output}: finished before; the chunks that it was put together from are removed")
            return
        _check_output_path(output, source, overwrite=overwrite)  # another process may have written it meanwhile
        summary, chunks = _score_chunks(scorer, unfinished, chunk_rows, allow_unmatched)
        after = source.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            unfinished.remove_chunks()
            raise DataError(f"{source}: has changed while it was scored; run the command again")
        _check_bad_rows(file, summary, opened.config, unfinished.folder)
        schema = add_score_columns(pa.schema([file.schema.field(name) for name in found.taken], file.schema.metadata))
        schema = schema.with_metadata({**(schema.metadata or {}), MADE_FROM: made_from})
        unfinished.publish(output, schema, chunks)
    _say_summary(output, summary)


def _find_columns(
    file: RowFile, data: DataConfig, given: Mapping[str, str], history_separator: str | None
) -> InputColumns:
    """Find the input columns; if some are missing, name the run's dialect, by which the file was read."""
    try:
        return find_input_columns(file, data, given, history_separator)
    except ConfigError as error:
        said = {} if data.format is None else data.format.model_dump(exclude_none=True)
        if file.dialect is None or not said:
            raise
        shown = ", ".join(f"{key}: {value!r}" for key, value in said.items())
        raise ConfigError(
            [
                *error.problems,
                f"{file.path}: read as data.format says ({shown}); change that by --set data.format.KEY=...",
            ]
        ) from None


def _read_items(path: Path, opened: OpenedRun) -> ItemsFile:
    """Read a file of items, and say what of it can be used."""
    names = read_names(opened.data)
    table, report = read_items_file(opened.config.data, path, set(names.items.to_pylist()))
    described = describe_items_file(opened.data, names, table)
    terminal.say(
        f"{path}: the data set does not know {table.num_rows:,} of its items, of which {len(described.names):,} can be "
        "described"
    )
    for reason, count in sorted(report.rejected.items()):
        terminal.say(f"{path}: {count:,} of {report.lines:,} lines cannot be read: {reason}")
    for name, (given, unknown) in described.counted.items():
        if unknown:
            terminal.say(f"{path}: {unknown:,} of {given:,} values of '{name}' are unknown")
    return described


def _check_output_path(output: Path, source: Path, *, overwrite: bool) -> None:
    if output.suffix != ".parquet":
        raise ConfigError(f"--output: received {output}, expected a name that ends in .parquet")
    if not is_remote(source) and output.exists() and source.exists() and output.samefile(source):
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
        "input": hash_input(file.path),
        "weights": opened.checkpoint.sha256,
        "data_set": opened.data.fingerprint,
        "columns": [
            *(columns.user, columns.item, columns.history, columns.timestamp, columns.event),
            *columns.history_reader.columns["item"][1:],
            *(name for each in columns.sequences for name in each.columns["item"]),
        ],
        "dialect": None if file.dialect is None else asdict(file.dialect),
        "item_fields": dict(columns.item_fields),
        "history_lag": opened.config.data.history_lag,
        "history_separator": columns.history_reader.form.separator,
        "max_history_length": opened.config.data.max_history_length,
        "prior_correction": shift,
        "calibration": opened.calibration.digest,
        "chunk_rows": chunk_rows,
        "evaluation_batch_size": opened.config.training.evaluation_batch_size,
        "device": "gpu" if tf.config.list_logical_devices("GPU") else "cpu",
        "versions": {name: version(name) for name in _SCORING_LIBRARIES},
    }


@dataclass
class ChunkSummary:
    """How many rows were scored, and why others were not; summaries of chunks add up.

    at_stored_time: rows whose user has a stored event at the row's own time, which is not in the history.
    described_items, described_behaviours, item_values: see `InputRows`.
    bad: reason -> how many, and the number of the first one, from 1. matches: see `InputRows`.
    """

    rows: int = 0
    scored: int = 0
    without_history: int = 0
    at_stored_time: int = 0
    described_items: int = 0
    described_behaviours: int = 0
    probabilities: float = 0.0
    bad: dict[str, list[int]] = field(default_factory=dict)
    matches: dict[str, Match] = field(default_factory=dict)
    item_values: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, other: Self) -> None:
        """Count the rows that follow."""
        for reason, (count, first) in other.bad.items():
            self.bad.setdefault(reason, [0, self.rows + first])[0] += count
        for role, match in other.matches.items():
            (given, unknown, example), before = match, self.matches.get(role, _NO_VALUES)
            self.matches[role] = (before[0] + given, before[1] + unknown, before[2] or example)
        for name, (given, unknown) in other.item_values.items():
            given_before, unknown_before = self.item_values.get(name, (0, 0))
            self.item_values[name] = (given_before + given, unknown_before + unknown)
        for each in fields(self):
            if each.type in (int, float):
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def count_unknown(self, role: str) -> int:
        """How many values of a role are not in the data set."""
        return self.matches.get(role, _NO_VALUES)[1]

    def list_bad(self) -> str:
        """The reasons with their counts, the most frequent first."""
        most_first = sorted(self.bad.items(), key=lambda each: (-each[1][0], each[0]))
        return ", ".join(f"{reason}: {count:,}, the first is row {first:,}" for reason, (count, first) in most_first)


@dataclass(frozen=True)
class RowScorer:
    """Scores chunks of one file with one run.

    prior_shift: added to every logit, or to the log odds of a calibrated run (see `compute_prior_shift`).
    """

    opened: OpenedRun
    file: RowFile
    parser: InputParser
    prior_shift: float

    def score(self, chunk: Chunk) -> tuple[pa.Table, ChunkSummary]:
        """The chunk with `add_score_columns`, in its order.

        Raises:
            RunError: see `score_samples`.
        """
        parsed = self.parser.parse(chunk)
        data = self.opened.data
        if parsed.event_item_ids is not data.event_item_ids:
            data = data.with_events(parsed.event_item_ids)
        if parsed.new_items is not None:
            self.opened.model.add_items(parsed.new_items)
            data = data.with_items(parsed.new_items.category_ids)
        logits = self._score_rows(data, parsed.samples)
        logits, probabilities = correct_scores(logits, self.opened.calibration, self.prior_shift)
        size = chunk.table.num_rows
        summary = ChunkSummary(
            rows=size,
            scored=len(parsed.rows),
            without_history=int(np.sum(parsed.samples.history_length == 0)),
            at_stored_time=parsed.at_stored_time,
            described_items=parsed.described_items,
            described_behaviours=parsed.described_behaviours,
            item_values=parsed.item_values,
            probabilities=float(probabilities.sum()),
            matches=parsed.matches,
        )
        for place, reason in parsed.bad.items():
            summary.bad.setdefault(reason, [0, place + 1])[0] += 1
        columns = [*chunk.table.columns, *(_spread(each, parsed.rows, size) for each in (probabilities, logits))]
        return pa.table(columns, schema=add_score_columns(chunk.table.schema)), summary

    def _score_rows(self, data: PreparedData, samples: Samples) -> NDArray[np.float32]:
        """[S] logits. Rows with equal histories stand in any order, and are scored together."""
        if data.event_item_ids is not self.opened.data.event_item_ids:  # nothing but items is known of these behaviours
            samples = unify_histories(samples, data.event_item_ids)
        order = sort_by_history(samples)
        logits = np.empty(len(samples), np.float32)
        logits[order] = score_samples(self.opened.model, self.opened.config, data, samples.take(order))
        return logits


def correct_scores(
    logits: NDArray[np.float32], calibration: Calibration, prior_shift: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """[S] logits and click probabilities, as they are put out, from [S] scores of the model."""
    if calibration.method != "none":
        return logits, compute_click_probabilities(calibration.compute_log_odds(logits) + prior_shift)
    if prior_shift:
        logits = (logits.astype(np.float64) + prior_shift).astype(np.float32)
    return logits, compute_click_probabilities(logits)


def add_score_columns(schema: pa.Schema) -> pa.Schema:
    """The output's columns: the file's own, then the probability and the logit, null in a bad row."""
    return pa.schema([*schema, *(pa.field(name, pa.float32()) for name in SCORE_COLUMNS)], schema.metadata)


def _spread(values: Any, rows: Any, size: int) -> pa.Array:
    """[G] values -> [size] float32, null in other rows."""
    spread, missing = np.zeros(size, np.float32), np.ones(size, bool)
    spread[rows], missing[rows] = values, False
    return pa.array(spread, mask=missing)


def _score_chunks(
    scorer: RowScorer, unfinished: UnfinishedTable, chunk_rows: int, allowed: Collection[str]
) -> tuple[ChunkSummary, int]:
    """Finish every chunk; return the summary of all rows, and the number of chunks."""
    file, total, chunks, going_on = scorer.file, ChunkSummary(), 0, False
    try:
        with terminal.reading_progress(measure_input(file.path), "scoring") as progress:
            for chunk in file.read_chunks(chunk_rows, progress, scorer.parser.columns.taken):
                kept = _read_kept(unfinished, chunks)
                if kept is not None:
                    total.add(kept)
                else:
                    if going_on:
                        terminal.say(f"{unfinished.folder}: going on after {total.rows:,} rows")
                    table, summary = scorer.score(chunk)
                    if not chunks and not summary.scored and summary.rows >= _ENOUGH_ROWS:
                        raise DataError(
                            f"{file.path}: none of its first {summary.rows:,} rows can be scored "
                            f"({summary.list_bad()}); check --columns, and the file"
                        )
                    total.add(summary)
                    if total.scored >= _ENOUGH_ROWS:
                        _check_matches(scorer, total, allowed)
                    unfinished.write_chunk(chunks, table, asdict(summary))
                going_on = kept is not None
                chunks += 1
            _check_matches(scorer, total, allowed)
    except DataError:
        unfinished.remove_chunks()  # the file has to be corrected, which makes it another request
        raise
    except KeyboardInterrupt:
        how_many = f"{total.rows:,} rows are kept in {unfinished.folder}" if total.rows else "no chunk finished yet"
        raise Interrupted(
            f"scoring stopped by {name_signal()}: {how_many}; run the same command again to go on",
            interrupted_exit_code(),
        ) from None
    return total, chunks


def _read_kept(unfinished: UnfinishedTable, number: int) -> ChunkSummary | None:
    """The summary of a chunk that an earlier process finished; None if the chunk is to be scored."""
    try:
        kept = unfinished.read_summary(number)
    except DamagedError as error:
        terminal.say(f"{error.problems[0].partition(';')[0]}; it is scored again")
        return None
    return None if kept is None else ChunkSummary(**kept)


def _check_matches(scorer: RowScorer, summary: ChunkSummary, allowed: Collection[str]) -> None:
    """Refuse a file of which no user, item, history id, time or context value is known, or of another separator.

    Raises:
        DataError: unless that role is allowed to be unknown.
    """
    for role, (given, unknown, example) in summary.matches.items():
        parser, share = scorer.parser, scorer.opened.config.data.max_bad_share
        in_history = role == SEPARATOR or role.startswith(SEQUENCE)
        option = "history" if in_history else "context" if role in parser.columns.context else role
        most = count_allowed(share, given) if role == SEPARATOR else given - 1
        if not given or unknown <= most or option in allowed:
            continue
        what, advice = parser.describe_unmatched(role, given, unknown, example)
        raise DataError(
            f"{scorer.file.path}: {what}; {advice}, or give --allow-unmatched {option} to score such rows all the same"
        )


def _check_bad_rows(file: RowFile, summary: ChunkSummary, config: Config, folder: Path) -> None:
    num_bad, allowed = summary.rows - summary.scored, count_allowed(config.data.max_bad_share, summary.rows)
    if num_bad > allowed:
        raise DataError(
            f"{file.path}: {num_bad:,} of {summary.rows:,} rows cannot be scored ({summary.list_bad()}), more than the "
            f"{allowed:,} that data.max_bad_share = {config.data.max_bad_share:g} allows; correct the file, or give "
            f"--set data.max_bad_share=... (the scored rows are kept in {folder})"
        )


def find_prior_shift(opened: OpenedRun, positive_share: float | None) -> tuple[float, float]:
    """What is added to the run's logits, and the share of positives among the rows that they were fitted to.

    Args:
        positive_share: see `compute_prior_shift`; None adds nothing.
    """
    training_share = opened.calibration.positive_share
    if training_share is None:
        training_share = compute_positive_share(opened.data, opened.config, refit=opened.checkpoint.refit)
    if positive_share is None:
        return 0.0, training_share
    _check_probabilities(opened)
    return compute_prior_shift(share=positive_share, training_share=training_share), training_share


def compute_prior_shift(*, share: float, training_share: float) -> float:
    """What is added to a logit: log(P / (1 - P)) - log(S / (1 - S)).

    The prior correction of logistic regression on a sample chosen by its outcome (King & Zeng, Logistic Regression in
    Rare Events Data, Political Analysis 9(2), 2001, section 4.1), in logits. With every click and a share w of the
    others kept, it is log(w): the re-calibration p / (p + (1 - p) / w) of He et al., Practical Lessons from Predicting
    Clicks on Ads at Facebook, ADKDD 2014, section 6.3.

    Args:
        share: P, of clicks among the rows to be scored. training_share: S, of positives among the training rows.

    Raises:
        ConfigError: if all training rows are of one class, or P is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"--positive-share: received {share:g}, expected a share between 0 and 1, such as 0.02")
    if not 0 < training_share < 1:
        raise ConfigError(
            f"--positive-share: the run's training rows have a share of positives of {training_share:g}, and no "
            "probabilities come from one class; leave the option out"
        )
    return math.log(share) - math.log1p(-share) - math.log(training_share) + math.log1p(-training_share)


def _check_probabilities(opened: OpenedRun) -> None:
    loss = opened.config.training.loss
    if loss.is_of_lists and opened.calibration.method == "none":
        raise ConfigError(
            f"--positive-share: {opened.run.path} was trained with loss '{loss.name}' and not calibrated, so it has no "
            "probabilities to correct; leave the option out, or train with training.calibration=platt"
        )


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
    history += "".join(f", its {each.name} those of '{each.columns['item'][0]}'" for each in columns.sequences)
    terminal.say(
        f"{opened.run.path}: {opened.config.model.name}, epoch {opened.checkpoint.epoch}; a row's history is {history}"
    )
    terminal.say(_describe_probabilities(opened, training_share, positive_share))


def _describe_probabilities(opened: OpenedRun, training_share: float, positive_share: float | None) -> str:
    method, loss = opened.calibration.method, opened.config.training.loss
    if method == "none" and loss.is_of_lists:
        return (
            f"logit ranks the rows; click_probability is its sigmoid and no probability, since loss '{loss.name}' was "
            "not calibrated (training.calibration)"
        )
    by, rows = ("", "training rows") if method == "none" else (f" by {method}", "validation rows")
    corrected = "click_probability and logit are" if method == "none" else "click_probability is"
    if positive_share is None:
        return (
            f"click_probability is calibrated{by} to the {rows}, of which {training_share:.4%} are positives; if the "
            "rows to be scored have another share of clicks, give it as --positive-share"
        )
    return f"{corrected} corrected from a share of positives of {training_share:.4%} ({rows}) to {positive_share:.4%}"


def _say_summary(output: Path, summary: ChunkSummary) -> None:
    for reason, (count, first) in sorted(summary.bad.items()):
        terminal.say(f"not scored: {reason}: {count:,} (the first is row {first:,})")
    mean = f", mean click_probability {summary.probabilities / summary.scored:.6f}" if summary.scored else ""
    terminal.say(
        f"{output}: {summary.rows:,} rows, {summary.scored:,} scored{mean}; {summary.count_unknown('user'):,} of "
        f"unknown users, {summary.count_unknown('item'):,} of unknown items, {summary.without_history:,} without a "
        "history"
    )
    if summary.described_items:
        terminal.say(
            f"{summary.described_items:,} rows are of items that came after training; they are scored by the category "
            "and fields that the file gives them"
        )
    if summary.described_behaviours:
        terminal.say(
            f"{summary.described_behaviours:,} ids in histories are of such items; they stand for the category and "
            "fields that --items gives them"
        )
    for name, (given, unknown) in summary.item_values.items():
        if unknown:
            terminal.say(f"{unknown:,} of {given:,} values of '{name}' of such items are unknown")
    if summary.at_stored_time:
        terminal.say(
            f"{summary.at_stored_time:,} rows have stored events of their user at their own time; a history ends "
            "before it, so those are not in it (rows of the log itself: --columns event=..., see docs/predict.md)"
        )
    for role, (given, unknown, _) in summary.matches.items():
        if role not in ("user", "item") and unknown:
            what = _UNMATCHED_WORDS.get(role, f"values of '{role}' are unknown")
            terminal.say(f"{unknown:,} of {given:,} {what}")
