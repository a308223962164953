"""The data set that a run will train on: the prepared one, or one of the lengths that a part of the log suggests."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from din_train.config import Config
from din_train.dataset.manifest import Manifest
from din_train.dataset.prepare import prepare_data, read_matching_manifest
from din_train.dataset.store import PreparedData, open_store
from din_train.dataset.vocabulary import FIRST_REAL_ID
from din_train.errors import DataError
from din_train.plan.log_sample import LogSample, write_log_sample

SAMPLE_BYTES = 1 << 24  # of the log
_LOOK_EVERY = 0.02  # seconds between two looks at what preparation has on disk


@dataclass(frozen=True)
class PlannedData:
    """What a run will train on.

    data: of an estimate all arrays but those of the sample have the lengths and no memory of their own.
    probed: a data set of this run or of a part of the log, on disk.
    is_prepared: whether it is where the config says. is_exact: whether its figures are; basis: why, in words.
    scratch_bytes, preparation_seconds: temporary files and time of what is still to prepare.
    """

    data: PreparedData
    probed: PreparedData
    is_prepared: bool
    is_exact: bool
    basis: str
    scratch_bytes: int
    preparation_seconds: float

    @property
    def manifest(self) -> Manifest:
        return self.data.manifest


def plan_data(config: Config, folder: Path) -> PlannedData:
    """The prepared data set if it matches the config and the logs, else an estimate from a part of the log.

    Args:
        folder: an existing one, for the part of the log and what is prepared of it.

    Raises:
        DataError: if the log is missing, or its part cannot be prepared.
    """
    manifest = read_matching_manifest(config)
    if manifest is not None:
        data = open_store(config.data.prepared, checked=manifest, temp_folder=config.data.temp_folder)
        return PlannedData(data, data, True, True, "exact, from the prepared data set", 0, 0.0)
    whole, share, scratch_bytes, seconds = _prepare_part(config, folder / "part", SAMPLE_BYTES)
    if share == 1.0:
        basis = "exact: the whole log was prepared in a temporary folder"
        return PlannedData(whole, whole, False, True, basis, scratch_bytes, seconds)
    half, half_share, _, half_seconds = _prepare_part(config, folder / "half", SAMPLE_BYTES // 2)
    slope = max(0.0, seconds - half_seconds) / (share - half_share)
    return PlannedData(
        estimate_data(config, half, whole, half_share, share),
        whole,
        False,
        False,
        f"estimated from {share:.2%} of the log, by how much more all of that part has than a half of it",
        round(scratch_bytes / share),
        seconds + slope * (1 - share),
    )


def _prepare_part(config: Config, folder: Path, most_bytes: int) -> tuple[PreparedData, float, int, float]:
    """A part of the log, prepared here: the data set, the share of the log, the most bytes on disk, and seconds."""
    folder.mkdir()
    sample: LogSample = write_log_sample(config.data, folder / "log", most_bytes)
    work = folder / "work"
    work.mkdir()
    prepared = work / "prepared"
    here = {"prepared": prepared, "temp_folder": None, "engine": "duckdb", "spark": None}
    data = sample.data.model_copy(update=here)
    with _watched_size(work) as read_most:
        try:
            made = prepare_data(config.model_copy(update={"data": data}), force=False, progress=lambda _: None).manifest
        except DataError as error:
            raise DataError(
                f"{config.data.prepared}: not prepared yet, and {sample.share:.2%} of the log, from which a plan would "
                f"be made, cannot be prepared ({error.problems[0]}); run `din-train prepare` first, and then plan with "
                "exact figures"
            ) from error
    seconds = made.made.seconds if made.made else 0.0
    return open_store(prepared, checked=made), sample.share, max(0, read_most() - made.bytes), seconds


@contextmanager
def _watched_size(folder: Path) -> Iterator[Callable[[], int]]:
    """Watch the bytes of a folder's files; the function gives the most there were."""
    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(_LOOK_EVERY):
            size = 0
            for path in folder.rglob("*"):
                with suppress(OSError):  # removed meanwhile
                    size += path.stat().st_blocks * 512
            most = max(most, size)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: most
    finally:
        done.set()
        watcher.join()


def estimate_data(
    config: Config, half: PreparedData, part: PreparedData, half_share: float, share: float
) -> PreparedData:
    """A data set of the lengths that the whole log may have; its arrays but the part's events take no memory.

    Rows may grow faster than the log, as users do whose first events make no row, but there are at most as many as
    events and their negatives. The ids of `vocabulary.base` are all there from the beginning, and do not grow.
    """

    def grow(before: int, now: int, steepest: float = 1.0) -> int:
        return extrapolate(before, now, half_share, share, steepest)

    def grow_ids(name: str, before: int, now: int) -> int:
        of_base, of_base_now = (0 if each.base is None else each.base["ids"].get(name, 0) for each in (old, new))
        return int(of_base_now + grow(before - of_base, now - of_base_now))

    old, new = half.manifest, part.manifest
    events = grow(old.counts["events"], new.counts["events"])
    drawn = new.negatives == "sampled"
    most = {
        split: events * (1 + (of_split if drawn else 0))
        for split, of_split in (
            ("train", config.negatives.per_positive),
            ("validation", config.negatives.evaluation_per_positive),
            ("test", config.negatives.evaluation_per_positive),
        )
    }
    samples = {split: min(grow(old.samples[split], count, 1.5), most[split]) for split, count in new.samples.items()}
    counts = {name: grow(old.counts.get(name, 0), count) for name, count in new.counts.items()} | {"events": events}
    counts["items"] = grow_ids("item", old.counts["items"], new.counts["items"])
    manifest = replace(
        new,
        samples=samples,
        counts=counts,
        bytes=round(new.bytes * sum(samples.values()) / max(1, sum(new.samples.values()))),
    )
    items = FIRST_REAL_ID + counts["items"]
    users = FIRST_REAL_ID + counts["users"]
    return replace(
        part,
        manifest=manifest,
        item_fields={name: _lengthen(values, items) for name, values in part.item_fields.items()},
        user_fields={name: _lengthen(values, users) for name, values in part.user_fields.items()},
        num_values={name: grow_ids(name, half.num_values[name], count) for name, count in part.num_values.items()},
        training_events=_lengthen(part.training_events, items),
        user_starts=_lengthen(part.user_starts, users),
        item_vectors={name: _lengthen(values, items) for name, values in part.item_vectors.items()},
        item_rows=None if part.item_rows is None else _lengthen(part.item_rows, items),
    )


def extrapolate(before: int, now: int, half_share: float, share: float, steepest: float = 1.0) -> int:
    """A count of the whole log, from those in two parts of it.

    It grows as share ^ e, with e as between the two: 0 if all values have been seen, 1 if every event brings a new one.
    """
    if not before or now <= before:
        return now
    exponent = min(math.log(now / before) / math.log(share / half_share), steepest)
    return round(now * math.pow(share, -exponent))


def _lengthen(values: Any, rows: int) -> Any:
    """An array of so many rows, all of which are one row in memory; ids are the unknown one's."""
    return np.broadcast_to(np.ones(values.shape[1:], values.dtype), (rows, *values.shape[1:]))
