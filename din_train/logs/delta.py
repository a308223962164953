"""Delta tables: folders of Parquet files and of a log that says which of them count, read by `deltalake`."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from din_train.errors import DataError
from din_train.files import compute_sha256
from din_train.remote_path import RemotePath, hide_credentials

_LOG = "_delta_log"


def is_delta_table(path: Path) -> bool:
    """Whether a folder is a Delta table."""
    if isinstance(path, RemotePath) and path.is_listed:
        return False
    try:
        return (path / _LOG).is_dir()
    except (OSError, ValueError):
        return False


def list_log(path: Path) -> list[Path]:
    """The files of a table's log: one a version. They name the table's files, none of which ever changes.

    Raises:
        DataError: if there is none.
    """
    try:
        found = sorted(each for each in (path / _LOG).iterdir() if each.name.endswith(".json"))
    except OSError as error:
        raise DataError(f"{path}: its Delta log cannot be read ({error.strerror or error}); check the path") from None
    if not found:
        raise DataError(f"{path}: a Delta table without a version in {_LOG}; check the path")
    return found


def measure_input(path: Path) -> int:
    """The bytes of a file, or of a table's log."""
    return sum(each.stat().st_size for each in list_log(path)) if is_delta_table(path) else path.stat().st_size


def hash_input(path: Path) -> str:
    """Hex SHA-256 of a file, or of those of a table's log."""
    if not is_delta_table(path):
        return compute_sha256(path)
    return hashlib.sha256("".join(map(compute_sha256, list_log(path))).encode()).hexdigest()


def read_delta_schema(path: Path) -> pa.Schema:
    """The columns of the newest version.

    Raises:
        DataError: if `deltalake` is missing, or cannot read it.
    """
    with open_delta(path, None) as (schema, _, _):
        return schema


@contextmanager
def open_delta(path: Path, columns: Sequence[str] | None) -> Iterator[tuple[pa.Schema, Iterator[Any], int]]:
    """The schema, record batches and number of rows of the newest version.

    Raises:
        DataError: as `read_delta_schema`.
    """
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise DataError(f"{path}: is a Delta table, which needs deltalake; install din-train[cloud]") from None
    try:
        rows = DeltaTable(str(path)).to_pyarrow_dataset()
        names = rows.schema.names if columns is None else list(columns)
        yield rows.schema, rows.to_batches(columns=names), rows.count_rows()
    except (DeltaError, OSError, pa.ArrowException) as error:
        what = hide_credentials((str(error).splitlines() or ["no reason given"])[0])
        raise DataError(f"{path}: cannot be read as a Delta table ({what}); check it, or write it again") from None
