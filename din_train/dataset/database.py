"""The DuckDB that preparation works in, through Ibis."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
from ibis import Table

from din_train.config import DataConfig
from din_train.errors import RunError


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


def load_table(connection: ibis.BaseBackend, name: str, table: pa.Table) -> Table:
    """An Arrow table as a table of the database, without a copy."""
    connection.con.register(name, table)
    return connection.table(name)


def count_rows(table: Table) -> int:
    """The number of rows."""
    return int(table.count().to_pyarrow().as_py())
