"""A new log, prepared with the ids of a run's data set: its rows after the last event that the run knows.

Every event of the log is made a row, also a user's first one, with the history before it: all users are test users of
protocol `user`. So unknown users and items are counted where they occur. The rows up to the run's last event are then
left out, and are history alone. A run of protocol `time` was tested with histories that end at its cut; if the log has
earlier events, the new rows' histories end at the run's last event likewise.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train import terminal
from din_train.config import Config
from din_train.config.data import AMAZON_SOURCES, UserSplitConfig
from din_train.dataset.histories import find_history_ends, find_rows
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import PreparedData, Samples, open_store
from din_train.dataset.time_fields import compute_time_field
from din_train.dataset.time_range import Moments
from din_train.errors import ConfigError, DataError
from din_train.files import make_folder
from din_train.logs import find_missing, input_files

_ALL_USERS = 1e15
_SINCE_LAST = "days_since_last"


@dataclass(frozen=True)
class NewLog:
    """The prepared log.

    data: of which the test split holds the new rows. moments: [S] of these, in seconds. first, last: of the run's data
    set. times: of the whole log. is_frozen: whether histories end at `last`. changed: what is not as in the run's
    config.
    """

    data: PreparedData
    moments: NDArray[np.int64]
    first: int
    last: int
    times: Moments
    is_frozen: bool
    changed: tuple[str, ...] = ()

    @property
    def has_history(self) -> bool:
        """Whether the log has events up to the run's last one, so that histories begin before its new rows."""
        return self.times.first <= self.last

    @property
    def span(self) -> int:
        """Seconds from the first to the last new row."""
        return int(self.moments.max() - self.moments.min()) if len(self.moments) else 0

    @cached_property
    def is_new_event(self) -> NDArray[np.bool_]:
        """[events] whether it is after the run's last one."""
        times = self.data.event_times
        return np.zeros(0, np.bool_) if times is None else np.asarray(times > self.last)

    def take(self, rows: NDArray[np.bool_]) -> "NewLog":
        """These rows alone."""
        return replace(self, data=keep_test_rows(self.data, rows), moments=self.moments[rows])

    def describe(self) -> list[str]:
        """Sentences on how its rows were made."""
        show = self.times.show
        lines = [
            f"The run's data set ends at {show(self.last)}; the new rows go from {show(int(self.moments.min()))} to "
            f"{show(int(self.moments.max()))}."
        ]
        if not self.has_history:
            lines.append(
                "The input has no event up to the run's last one, so histories hold only what is in the input: a new "
                "row may have a shorter history than its user has. Give a log that also holds earlier events."
            )
        elif self.times.first > self.first:
            lines.append(
                f"The input begins at {show(self.times.first)}, and the run's data set at {show(self.first)}. So a new "
                "row may have a shorter history than its user has."
            )
        if self.is_frozen:
            lines.append("Histories end at the run's last event, as those of its test rows end at their cut.")
        if dropped := self.data.manifest.dropped.get("positives_without_a_negative"):
            lines.append(f"{dropped:,} clicks of the log are left out, since their user has chosen all other items.")
        return [*lines, *self.changed]


def check_source(config: Config) -> None:
    """Refuse a run whose rows cannot be told to be new.

    Raises:
        ConfigError: if its rows came with their histories, or its log has no times.
    """
    data = config.data
    if data.holds_histories:
        raise ConfigError(
            f"drift: the run's data.source is '{data.source}', whose rows come with their histories; drift reads logs "
            "of events, so that it can tell what is new"
        )
    if data.columns is not None and data.columns.timestamp == "file-order":
        raise ConfigError(
            "drift: the run's log has no times (data.columns.timestamp: file-order), so no event can be told to be "
            "after its last one"
        )


@contextmanager
def open_new_log(config: Config, run_data: PreparedData, places: Mapping[str, Path]) -> Iterator[NewLog]:
    """Prepare a log in a temporary folder, which is removed at the end.

    Args:
        config: the run's, see `check_source`.
        run_data: the data set that the run was trained on.
        places: `input` and, if they are not as the run has them, `items` and `users`.

    Raises:
        ConfigError: if the log has no new event, or the run's data set does not say when its own were.
        DataError: if the log cannot be read, or its times are of another kind than the run's.
    """
    base = run_data.manifest
    until = base.recipe.get("filters.until")
    if base.time is None:
        raise ConfigError(f"{run_data.folder}: does not say when its events were; prepare it and train the run again")
    last = base.time.last if until is None else min(base.time.last, int(until) - 1)
    if config.data.temp_folder is not None:
        make_folder(config.data.temp_folder)
    with tempfile.TemporaryDirectory(prefix="din-train-drift-", dir=config.data.temp_folder) as folder:
        new_config = _build_config(config, run_data.folder, places, Path(folder) / "prepared")
        missing = find_missing(new_config.data)
        total = 0 if missing else sum(path.stat().st_size for path in input_files(new_config.data))
        with terminal.reading_progress(total) as progress:
            manifest = prepare_data(new_config, force=False, progress=progress, say=terminal.say).manifest
        times = manifest.time
        if times is None or times.is_unix != base.time.is_unix:
            raise DataError(
                f"{places['input']}: its times go {times or 'unsaid'}, those of the run's data set {base.time}: one of "
                "the two has no unix times, so what is new cannot be told; write times as in the run's log"
            )
        data = open_store(new_config.data.prepared, checked=manifest, temp_folder=config.data.temp_folder)
        log = NewLog(data, _find_moments(data), base.time.first, last, times, False, tuple(_describe_changes(config)))
        log = log.take(log.moments > last)
        if not len(log.moments):
            raise ConfigError(
                f"{places['input']}: no event is after {times.show(last)}, the last one of the run's data set: its "
                f"times go {times}; give the log of a later day"
            )
        yield _freeze_histories(log, config) if config.data.protocol == "time" and log.has_history else log


def _build_config(config: Config, base: Path, places: Mapping[str, Path], prepared: Path) -> Config:
    key = "reviews" if config.data.source in AMAZON_SOURCES else "events"
    data = config.data.at({key if name == "input" else name: path for name, path in places.items()})
    changes = {
        "prepared": prepared,
        "protocol": "user",
        "user_split": UserSplitConfig(validation=0, test=_ALL_USERS),
        "time_split": None,
        "since_base": False,
        "min_history": 0,
        # What training refuses is measured here.
        "unmatched": "allow",
        "max_unread_share": 1.0,
    }
    return config.model_copy(
        update={
            "data": data.model_copy(update=changes),
            "filters": config.filters.model_copy(update={"until": None, "k_core": 1}),
            "vocabulary": config.vocabulary.model_copy(update={"base": base, "min_count": 0, "expire_after": None}),
        }
    )


def _describe_changes(config: Config) -> Iterator[str]:
    if config.filters.k_core > 1:
        yield (
            f"The run's log was cut to users and items of at least {config.filters.k_core} events (filters.k_core); "
            "the new log was not, since a model that is in use sees all of them."
        )


def _find_moments(data: PreparedData) -> NDArray[np.int64]:
    """[S] of the test rows, in seconds."""
    columns = data.sample_columns(Split.TEST)
    if "timestamp" in columns:
        moments: NDArray[np.int64] = columns["timestamp"]
        return moments
    times: NDArray[np.int64] = data.event_columns["timestamp"]
    return times[find_rows(data.event_columns["ordinal"], columns["event"])]


def keep_test_rows(data: PreparedData, rows: NDArray[Any], **changed: NDArray[Any]) -> PreparedData:
    """The data set with these test rows alone, some of whose columns are others."""
    columns = {**data.sample_columns(Split.TEST), **changed}
    of_split = {split: data.sample_columns(split) for split in SPLITS}
    return replace(data, _samples={**of_split, Split.TEST: {name: each[rows] for name, each in columns.items()}})


def _freeze_histories(log: NewLog, config: Config) -> NewLog:
    """The same rows with histories up to the run's last event."""
    data, times = log.data, log.data.event_times
    if times is None:
        return log
    samples = data.samples(Split.TEST, np.iinfo(np.int32).max)
    first = samples.history_start
    cut = np.full(len(samples), log.last + 1 - config.data.history_lag)
    length = np.minimum(samples.history_length, find_history_ends(times, first, samples.history_ends, cut) - first)
    changed: dict[str, NDArray[Any]] = {"history_length": length.astype(np.int32)}
    if _SINCE_LAST in data.context_fields:
        newest = np.where(length > 0, times[np.maximum(first + length - 1, 0)], -1)
        changed[_SINCE_LAST] = compute_time_field(_SINCE_LAST, log.moments, newest)
    return replace(log, data=keep_test_rows(data, np.ones(len(length), np.bool_), **changed), is_frozen=True)


def choose_scored(log: NewLog, config: Config) -> NewLog:
    """The rows that the run's config would take: with enough behaviours in their history."""
    lengths = log.data.sample_columns(Split.TEST)["history_length"]
    return log.take(lengths >= config.data.min_history)


def drop_negatives(samples: Samples, *, sampled: bool) -> Samples:
    """What was clicked or shown: without sampled negatives."""
    return samples.take(np.flatnonzero(samples.labels == 1)) if sampled else samples
