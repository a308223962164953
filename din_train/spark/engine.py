"""`data.engine: spark`: tasks read pieces of the log, Spark orders the events, and tasks build a shard each."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from din_train.config import Config, DataConfig
from din_train.config.data import SparkConfig
from din_train.dataset.database import Database
from din_train.dataset.event_log import Engine
from din_train.dataset.events import OrderedLog
from din_train.dataset.negatives import ItemDistribution
from din_train.dataset.samples import BuildReport, EventCounts, SampleBuilder
from din_train.dataset.shard import Shard
from din_train.dataset.vocabulary import FIRST_REAL_ID, Numbering
from din_train.errors import RunError
from din_train.files import compute_sha256, published
from din_train.logs import Progress, RawLog, read_log
from din_train.remote_path import is_remote, upload
from din_train.spark.database import SparkDatabase, remove, to_pattern
from din_train.spark.session import open_session, run_tasks

_MOST_PIECE_BYTES, _LEAST_PIECE_BYTES = 1 << 27, 1 << 20
_SHARDS_A_CORE = 2
_TABLES = "spark"  # the folder of what tasks and Spark write, in the scratch folder


@contextmanager
def open_spark(data: DataConfig) -> Iterator["SparkEngine"]:
    """The engine, on the session there is or one of its own.

    Raises:
        RunError: see `open_session`; also if `data.spark.folder` is a URL where files cannot be written or read.
    """
    config = data.spark or SparkConfig(settings={})
    with open_session(config) as session:
        shards = config.shards or _SHARDS_A_CORE * session.sparkContext.defaultParallelism
        folder = config.folder if config.folder is None or is_remote(config.folder) else config.folder.resolve()
        engine = SparkEngine(session, shards, folder)
        try:
            yield engine
        except OSError as error:
            if not is_remote(folder) or error.filename is not None:  # of a file on this machine
                raise
            raise RunError(
                f"data.spark.folder: {folder}: {error.strerror or error}; check the URL, and the credentials in the "
                "environment"
            ) from error
        finally:
            if engine.is_elsewhere:
                with suppress(OSError):  # the result is whole; what stays has a name of its own
                    remove(engine.folder)


class SparkEngine(Engine):
    """Spark for what is large. The driver has what the vocabularies are made from: see docs/scaling.md.

    is_elsewhere: whether tasks cannot write beside the data set.

    Args:
        folder: one that all machines see; None: the scratch folder is one.
    """

    def __init__(self, session: SparkSession, shards: int, folder: Path | None = None) -> None:
        self._session, self._shards = session, shards
        self.is_elsewhere = folder is not None
        self.folder = Path() if folder is None else folder / f"din-train-{uuid.uuid4().hex}"

    def choose_piece_bytes(self, total: int) -> int:
        """Of a log of so many bytes; about one piece for each shard, if that is neither too little nor too much."""
        return min(max(total // self._shards + 1, _LEAST_PIECE_BYTES), _MOST_PIECE_BYTES)

    def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """See `run_tasks`."""
        return run_tasks(self._session, function, arguments)

    def read_log(self, data: DataConfig, scratch: Path, progress: Progress) -> RawLog:
        if not self.is_elsewhere:
            self.folder = scratch.resolve() / _TABLES
        log = read_log(data, scratch, progress, self)
        return replace(log, items=self._show(log.items), users=self._show(log.users))

    def _show(self, table: Path | None) -> Path | None:
        """A table of the driver where the executors see it."""
        if table is None or not self.is_elsewhere:
            return table
        with published(self.folder / table.name) as copy:
            shutil.copyfile(table, copy)
        return self.folder / table.name

    @contextmanager
    def connect(self, data: DataConfig, scratch: Path) -> Iterator[Database]:  # noqa: ARG002 - as of any engine
        database = SparkDatabase(self._session, self.folder, self._shards)
        try:
            yield database
        finally:
            database.close()

    def make_builder(self, ordered: OrderedLog, config: Config, log: RawLog) -> SampleBuilder:
        shards = tuple(sorted(path for path in ordered.path.iterdir() if path.name.startswith("part-")))
        return SparkBuilder(ordered, config.data, config.negatives, log.ticks, log.labelled, engine=self, paths=shards)

    def sum_counts(self, folder: Path) -> pa.Table:
        """The rows of `_count_shard` of all shards, those of one counter and code summed."""
        counts = self._session.read.parquet(to_pattern(folder))
        return counts.groupBy("counter", "code").sum("count").withColumnRenamed("sum(count)", "count").toArrow()

    def find_latest(self, folder: Path) -> pa.Table:
        """The rows of `_write_last_events` of all shards, of those of one code the latest."""
        moments = self._session.read.parquet(to_pattern(folder))
        return moments.groupBy("code").max("last").withColumnRenamed("max(last)", "last").toArrow()


@dataclass(frozen=True)
class _ShardTask:
    """number: None if there is no other shard. users, clicks: how many. first_user, first_event: see `write_shard`."""

    number: int | None
    path: Path
    users: int
    first_user: int
    first_event: int


@dataclass(kw_only=True)
class SparkBuilder(SampleBuilder):
    """A `SampleBuilder` in each task, for a file of whole users.

    Args:
        paths: the files, by their users.
    """

    engine: SparkEngine
    paths: tuple[Path, ...]
    _tasks: list[_ShardTask] = field(default_factory=list)

    def read_user_codes(self) -> NDArray[np.int64]:
        codes = self.engine.run(partial(_read_user_codes, self._make_local()), self.paths)
        return np.concatenate(codes).astype(np.int64)

    def find_last_events(self) -> NDArray[np.int64]:
        folder = self.engine.folder / "last"
        write = partial(_write_last_events, self._make_local(), folder)
        self.engine.run(write, list(enumerate(self.paths)))
        latest = self.engine.find_latest(folder)
        last = np.zeros(self.ordered.num_items, np.int64)
        last[latest["code"].to_numpy()] = latest["last"].to_numpy()
        return last

    def count(self) -> EventCounts:
        folder = self.engine.folder / "counts"
        counts = EventCounts.of(self.ordered)
        arrays = counts.by_name()
        count = partial(_count_shard, self._make_local(), list(arrays), folder)
        sizes = self.engine.run(count, list(enumerate(self.paths)))
        first_user, first_event = FIRST_REAL_ID, 0
        for place, (path, (users, clicks)) in enumerate(zip(self.paths, sizes, strict=True)):
            number = place if len(self.paths) > 1 else None
            self._tasks.append(_ShardTask(number, path, users, first_user, first_event))
            first_user, first_event = first_user + users, first_event + clicks
        summed = self.engine.sum_counts(folder)
        counters, codes, numbers = (summed[name].to_numpy() for name in ("counter", "code", "count"))
        for place, array in enumerate(arrays.values()):
            of_counter = counters == place
            array[codes[of_counter]] = numbers[of_counter]
        return counts

    def plan_shards(
        self, items: Numbering, context: Mapping[str, NDArray[np.int32]], distribution: ItemDistribution
    ) -> Any:
        return partial(self._write_shards, items, context, distribution)

    def _write_shards(
        self,
        items: Numbering,
        context: Mapping[str, NDArray[np.int32]],
        distribution: ItemDistribution,
        folder: Path,
        write: Callable[..., Shard],
    ) -> list[Shard]:
        parts = (items, context, distribution)
        target = self.engine.folder / "shards" if self.engine.is_elsewhere else folder.resolve()
        written = self.engine.run(partial(_write_shard, self._make_local(), parts, target, write), self._tasks)
        for shard, report in written:
            self.report.add(report)
            if self.engine.is_elsewhere:
                for each in shard.stored.tables.values():
                    _fetch(target / each.file, folder / each.file, each.sha256)
        return [shard for shard, _report in written]

    def _make_local(self) -> SampleBuilder:
        """What a task needs, without the values of fields."""
        ordered = replace(self.ordered, context=dict.fromkeys(self.ordered.context, pa.table({})))
        settings = (self.data, self.negatives, self.ticks, self.labelled, self.user_splits, self.train_after)
        return SampleBuilder(ordered, *settings)


def _open_shard(builder: SampleBuilder, path: Path) -> SampleBuilder:
    return replace(builder, ordered=replace(builder.ordered, path=path), report=BuildReport())


def _read_user_codes(builder: SampleBuilder, path: Path) -> NDArray[np.int32]:
    return _open_shard(builder, path).read_user_codes().astype(np.int32)


def _write_last_events(builder: SampleBuilder, folder: Path, task: tuple[int, Path]) -> None:
    """Write when each item of a shard had its last event there; the driver has no room for all items of each shard."""
    number, path = task
    last = _open_shard(builder, path).find_last_events()
    codes = np.flatnonzero(last)
    with published(folder / f"{number:05}.parquet") as local:
        pq.write_table(pa.table({"code": codes.astype(np.int32), "last": last[codes]}), local)


def _count_shard(builder: SampleBuilder, names: Sequence[str], folder: Path, task: tuple[int, Path]) -> tuple[int, int]:
    """Write how often each code is counted (counter: its place among the names); returns users and clicks."""
    number, path = task
    users = clicks = 0
    schema = pa.schema([("counter", pa.int16()), ("code", pa.int32()), ("count", pa.int64())])
    with published(folder / f"{number:05}.parquet") as local, pq.ParquetWriter(local, schema) as file:
        for _rows, events, counted in _open_shard(builder, path).read_counted():
            users += len(events.num_clicks)
            clicks += len(events.click_rows)
            for name, codes in counted.items():
                distinct, counts = np.unique(codes, return_counts=True)
                columns = [
                    np.full(len(distinct), names.index(name), np.int16),
                    distinct.astype(np.int32),
                    counts.astype(np.int64),
                ]
                file.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema))
    return users, clicks


def _write_shard(
    builder: SampleBuilder, parts: Any, folder: Path, write: Callable[..., Shard], task: _ShardTask
) -> tuple[Shard, BuildReport]:
    """Write a shard in a folder of this attempt, and give its files their names when all are whole."""
    builder = _open_shard(builder, task.path)
    blocks = builder.build(*parts, first_user=task.first_user, first_event=task.first_event)
    with _attempt_folder(folder) as attempt:
        shard = write(
            attempt,
            task.number,
            blocks,
            users=task.users,
            first_user=task.first_user,
            first_event=task.first_event,
            scratch=attempt / "scratch",
        )
        for each in shard.stored.tables.values():
            if is_remote(folder):
                upload(attempt / each.file, folder / each.file, f".{uuid.uuid4().hex}-{each.file}")
            else:
                os.replace(attempt / each.file, folder / each.file)  # noqa: PTH105
    return shard, builder.report


@contextmanager
def _attempt_folder(folder: Path) -> Iterator[Path]:
    """A folder of this attempt: beside the shards' own, or on the executor's disk if that is remote."""
    if is_remote(folder):
        attempt = Path(tempfile.mkdtemp())
    else:
        folder.mkdir(exist_ok=True)
        attempt = folder.parent / "attempts" / uuid.uuid4().hex
    try:
        (attempt / "scratch").mkdir(parents=True)
        yield attempt
    finally:
        shutil.rmtree(attempt, ignore_errors=True)


def _fetch(path: Path, copy: Path, sha256: str) -> None:
    """Copy a shard's file to where the data set is.

    Raises:
        RunError: if it is not what the task has written.
    """
    with path.open("rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 22)
    if compute_sha256(copy) != sha256:
        raise RunError(f"{path}: has changed since a task wrote it; run the command again")
