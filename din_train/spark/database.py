"""The relational work on Spark: tables are Parquet in a folder that all executors see, and views of it."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import ibis
import pyarrow as pa
from ibis import Table
from ibis.expr import operations
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everywhere

from din_train.dataset.database import Database
from din_train.files import published
from din_train.logs import RawLog
from din_train.remote_path import is_remote, remove_folder

_PREFIX = "din_train_"  # of views, in a session that may have others
_PLACE = "din_train_place"
_ROW_BITS = 33  # of `monotonically_increasing_id`: the row in its partition, whose number is above


class SparkDatabase(Database):
    """Ibis on Spark; what a step makes is written out, so that no plan grows and no lost executor takes it along.

    Args:
        folder: an empty one, for the tables.
        shards: how many files a table that is sorted by users gets at most.
    """

    def __init__(self, session: SparkSession, folder: Path, shards: int) -> None:
        super().__init__(ibis.pyspark.connect(session))
        self._session, self._folder, self._shards = session, folder, shards
        self._paths: dict[str, Path] = {}  # view -> where `create` has put it
        self._views: set[str] = set()

    def close(self) -> None:
        """Leave no view behind."""
        for name in self._views:
            self._session.catalog.dropTempView(name)

    def table(self, name: str) -> Table:
        return self.connection.table(_PREFIX + name)

    def read_parquet(self, path: Path, name: str) -> Table:
        return self._register(name, self._read(path))

    def read_events(self, log: RawLog, name: str) -> Table:
        events = self._read(log.events)
        events = events.withColumn(
            "ordinal", F.col("ordinal") + _look_up([each.events for each in log.offsets], "piece")
        )
        if log.in_file_order:
            of_rows = _look_up([each.rows for each in log.offsets], "piece")
            events = events.withColumn("timestamp", F.col("timestamp") + of_rows)
        return self._register(name, events.drop("piece"))

    def create(self, name: str, table: Table) -> Table:
        if isinstance(table.op(), operations.DatabaseTable):  # made by `number`
            return self._register(name, self._session.table(table.op().name))
        return self._keep(name, self._query(table))

    def load(self, name: str, table: pa.Table) -> Table:
        import pyarrow.parquet as pq

        path = self._folder / f"loaded_{name}.parquet"
        with published(path) as local:
            pq.write_table(table, local)
        return self.read_parquet(path, name)

    def drop(self, table: Table) -> None:
        name = table.op().name
        self._session.catalog.dropTempView(name)
        self._views.discard(name)
        remove(self._paths[name])

    def number(self, table: Table, by: Sequence[str], name: str, kind: str) -> Table:
        """Sorted by all machines; each partition counts from the rows of those before, which are counted first."""
        placed = self._query(table.order_by(*by)).withColumn(_PLACE, F.monotonically_increasing_id())
        kept = f"numbered_{len(self._paths)}"
        rows = self._session.table(self._keep(kept, placed).op().name)
        partition, row = F.shiftright(_PLACE, _ROW_BITS), F.col(_PLACE).bitwiseAND(F.lit((1 << _ROW_BITS) - 1))
        counts = {
            each["partition"]: each["count"] for each in rows.groupBy(partition.alias("partition")).count().collect()
        }
        firsts = [sum(counts.get(other, 0) for other in range(place)) for place in range(max(counts, default=0) + 1)]
        number = (_look_up(firsts, "partition") + row).cast({"int32": "int", "int64": "long"}[kind])
        numbered = rows.withColumn("partition", partition).withColumn(name, number)
        return self._register(f"{kept}_{name}", numbered.drop("partition", _PLACE))

    def fetch(self, table: Table) -> pa.Table:
        return self._query(table).toArrow().cast(table.schema().to_pyarrow())

    def write_sorted(self, table: Table, by: Sequence[str], path: Path) -> Path:  # noqa: ARG002 - on this machine
        """In files of whole users, by their codes."""
        folder = self._folder / "ordered"
        users = self._query(table).repartitionByRange(self._shards, by[0])
        users.sortWithinPartitions(*(_column(name).asc_nulls_last() for name in by)).write.parquet(_to_url(folder))
        return folder

    def _query(self, table: Table) -> DataFrame:
        return self._session.sql(self.connection.compile(table))

    def _keep(self, name: str, rows: DataFrame) -> Table:
        path = self._folder / name
        rows.write.mode("overwrite").parquet(_to_url(path))
        self._paths[_PREFIX + name] = path
        return self._register(name, self._session.read.schema(rows.schema).parquet(to_pattern(path)))

    def _read(self, path: Path) -> DataFrame:
        return self._session.read.parquet(to_pattern(path))

    def _register(self, name: str, rows: DataFrame) -> Table:
        rows.createOrReplaceTempView(_PREFIX + name)
        self._views.add(_PREFIX + name)
        return self.table(name)


def remove(path: Path) -> None:
    """Remove a folder, on this machine or where its URL says."""
    if is_remote(path):
        remove_folder(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _look_up(numbers: Sequence[int], column: str) -> F.Column:
    """The numbers by the places that a column has, as one literal: a join would be a task of its own."""
    return F.expr(f"array({', '.join(f'{number}L' for number in numbers)})[{column}]")


def _column(name: str) -> F.Column:
    return F.col("`" + name.replace("`", "``") + "`")


def _to_url(path: Path) -> str:
    """What Spark writes to; unlike `Path.as_uri` with no character quoted, as Hadoop wants it."""
    return str(path) if is_remote(path) else f"file://{path.resolve()}"


def to_pattern(path: Path) -> str:
    """What Spark reads, which may be a glob."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", _to_url(path))
