"""What preparation's relational work is done in, through Ibis: an embedded DuckDB, or Spark (`din_train.spark`)."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
from ibis import Table

from din_train.config import DataConfig
from din_train.errors import RunError
from din_train.logs import RawLog


@contextmanager
def connect(data: DataConfig, scratch: Path) -> Iterator[ibis.BaseBackend]:
    """A DuckDB of our own in `scratch`, of bounded memory.

    Raises:
        RunError: if memory or disk run out inside.
    """
    threads = {} if data.threads is None else {"threads": data.threads}
    try:
        connection = ibis.duckdb.connect(
            scratch / "relations.duckdb",
            memory_limit=data.memory_limit,
            temp_directory=str(scratch / "spill"),
            **threads,
        )
        try:
            yield connection
        finally:
            connection.disconnect()
    except duckdb.Error as error:
        reason, free = str(error).splitlines()[0], shutil.disk_usage(scratch.parent).free
        raise RunError(
            f"preparing in {scratch.parent} ({free:,} bytes free): {reason}; raise data.memory_limit or free disk space"
        ) from error


class Database:
    """What the engines do each in their own way; all else are Ibis expressions, which are the same for both.

    Args:
        connection: of `connect`.
    """

    def __init__(self, connection: ibis.BaseBackend) -> None:
        self.connection = connection

    def table(self, name: str) -> Table:
        """A table that there is."""
        return self.connection.table(name)

    def read_parquet(self, path: Path, name: str) -> Table:
        """A Parquet file, or those of a folder."""
        return self.connection.read_parquet(path, table_name=name)

    def read_events(self, log: RawLog, name: str) -> Table:
        """The events of a log."""
        return self.read_parquet(log.events, name)

    def create(self, name: str, table: Table) -> Table:
        """Work out a table and keep it."""
        return self.connection.create_table(name, table)

    def load(self, name: str, table: pa.Table) -> Table:
        """An Arrow table as a table of the engine."""
        return load_table(self.connection, name, table)

    def drop(self, table: Table) -> None:
        """Free a table that `create` has kept."""
        self.connection.con.execute(f'DROP TABLE "{table.op().name}"')  # Ibis 12 leaves the name out

    def number(self, table: Table, by: Sequence[str], name: str, kind: str) -> Table:
        """The table with a column of 0, 1, ... in the order of the columns `by`, of which no two rows agree in all."""
        return table.mutate(**{name: ibis.row_number().over(order_by=list(by)).cast(kind)})

    def fetch(self, table: Table) -> pa.Table:
        """The rows in their order, as Arrow."""
        return table.to_pyarrow()

    def write_sorted(self, table: Table, by: Sequence[str], path: Path) -> Path:
        """Write a table to Parquet in the order of the columns `by`, of which the first is `user_code`."""
        table.order_by(*by).to_parquet(path)
        return path


def load_table(connection: ibis.BaseBackend, name: str, table: pa.Table) -> Table:
    """An Arrow table as a table of the database, without a copy."""
    connection.con.register(name, table)
    return connection.table(name)


def count_rows(table: Table) -> int:
    """The number of rows."""
    return int(table.count().to_pyarrow().as_py())
