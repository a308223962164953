"""The Spark session that prepares a log: the one there is, or one of our own."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from din_train.config.data import SparkConfig
from din_train.errors import DinTrainError, RunError

try:
    from py4j.protocol import Py4JError
    from pyspark import cloudpickle
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession
except ImportError as error:
    raise RunError(f"data.engine: spark needs PySpark ({error}); install din-train[spark], or set duckdb") from None

# Of a session of our own, where the config does not say otherwise.
_QUIET = {"spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
# What the results depend on. Names of fields may differ in case alone; an overflow is an error and no other number; a
# partition of users is one file.
_NEEDED = {
    "spark.sql.caseSensitive": "true",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.files.maxRecordsPerFile": "0",
    "spark.sql.parquet.compression.codec": "zstd",
}
_TIME_ZONE = "spark.sql.session.timeZone"  # which Ibis sets


@contextmanager
def open_session(config: SparkConfig) -> Iterator[SparkSession]:
    """The active session of this process (as in a notebook), else a new one that is stopped at the end.

    Raises:
        RunError: if there is no Spark, or it fails inside.
    """
    session = SparkSession.getActiveSession()
    is_ours = session is None
    try:
        session = session or _start(config)
        before = {name: session.conf.get(name, None) for name in (*_NEEDED, _TIME_ZONE)}
        for name, value in _NEEDED.items():
            session.conf.set(name, value)
        try:
            yield session
        finally:
            if is_ours:
                session.stop()
            else:
                _restore(session, before)
    except (PySparkException, Py4JError) as error:
        raise RunError(f"preparing on Spark: {_find_reason(error)}; see Spark's log") from error


def run_tasks(session: SparkSession, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
    """The function's result for each argument, each in a task of its own.

    A task may be started several times, also at the same time as another attempt.

    Raises:
        DinTrainError: what the function raises.
    """
    if not arguments:
        return []
    given = list(arguments)

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for place in batch.column(0).to_pylist():
                try:
                    result: Any = function(given[place])
                except DinTrainError as error:  # of the data: another attempt would end alike
                    result = error
                columns = [pa.array([place], pa.int64()), pa.array([cloudpickle.dumps(result)], pa.binary())]
                yield pa.RecordBatch.from_arrays(columns, ["place", "result"])

    numbers = session.range(0, len(given), 1, len(given))  # one in each partition
    rows = numbers.mapInArrow(work, "place long, result binary").collect()
    results = [cloudpickle.loads(bytes(row["result"])) for row in sorted(rows, key=lambda row: row["place"])]
    for result in results:
        if isinstance(result, DinTrainError):
            raise result
    return results


def _start(config: SparkConfig) -> SparkSession:
    settings = {**_QUIET, **{name: str(value) for name, value in config.settings.items()}}
    if config.master is not None and config.master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("din-train prepare")
    if config.master is not None:
        builder = builder.master(config.master)
    for name, value in settings.items():
        builder = builder.config(name, value.lower() if value in ("True", "False") else value)
    try:
        return builder.getOrCreate()
    except Exception as error:
        raise RunError(
            f"data.engine: Spark does not start ({_find_reason(error)}); it needs Java 17 (JAVA_HOME), and a master in "
            "data.spark.master or from spark-submit"
        ) from error


def _restore(session: SparkSession, settings: dict[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            session.conf.unset(name)
        else:
            session.conf.set(name, value)


def _find_reason(error: Exception) -> str:
    """One line of many; of a failed task, what Python said last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "No module named 'din_train'" in str(error):
        return "the executors have no din-train (install it there, or ship it: see docs/scaling.md)"
    of_python = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception")) and ": " in line]
    return ([*of_python[-1:], *lines[:1]] or [type(error).__name__])[0]
