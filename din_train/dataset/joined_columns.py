"""The columns of several Arrow files as one array each, in a file without a name that is mapped.

So they are page cache, as those of one file are, and their room on the disk is free again when nothing looks at them,
however the process ends.
"""

import hashlib
import math
import mmap
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from din_train.dataset.column_file import close_map, read_columns
from din_train.dataset.manifest import ShardFile, build_damage_error
from din_train.files import check_space
from din_train.remote_path import is_remote

_ALIGNMENT = 64


@dataclass(frozen=True)
class _Place:
    """Where a column lies in the joined file. shape: of a row, `()` or `(V,)`."""

    offset: int
    dtype: Any
    shape: tuple[int, ...]

    def count_values(self, rows: int) -> int:
        return rows * math.prod(self.shape)

    def count_bytes(self, rows: int) -> int:
        return self.count_values(rows) * int(self.dtype.itemsize)


def join_columns(folder: Path, files: Sequence[ShardFile], scratch: Path, *, is_checked: bool) -> dict[str, Any]:
    """The columns of files with the same columns, as `map_columns` gives those of one.

    Args:
        folder: of the files; it may be remote.
        files: one after another.
        scratch: a folder on a disk with room for all rows and, if `folder` is remote, the largest file.
        is_checked: whether the files' SHA-256 have just been checked, so that reading them need not.

    Raises:
        DataError: if a file is not as it was written.
    """
    rows = sum(each.rows for each in files)
    places: dict[str, _Place] = {}
    first = size = 0
    with tempfile.TemporaryFile(dir=scratch) as joined:
        for each in files:
            with _open(folder / each.file, None if is_checked else each.sha256, scratch) as mapped:
                columns = read_columns(pa.BufferReader(pa.py_buffer(mapped)))
                if not places:
                    places, size = _lay_out(columns, rows)
                    check_space(scratch / "joined shards", size)
                kinds = {name: (len(column), column.dtype, column.shape[1:]) for name, column in columns.items()}
                if kinds != {name: (each.rows, place.dtype, place.shape) for name, place in places.items()}:
                    raise build_damage_error(folder / each.file)
                for name, place in places.items():
                    joined.seek(place.offset + place.count_bytes(first))
                    joined.write(np.ascontiguousarray(columns[name]).data)
                del columns  # a map that is still looked at cannot be closed
            first += each.rows
        joined.truncate(max(size, 1))  # nothing of no bytes can be mapped
        joined.flush()
        whole = mmap.mmap(joined.fileno(), 0, access=mmap.ACCESS_READ)
    return {
        name: np.frombuffer(whole, place.dtype, place.count_values(rows), place.offset).reshape(rows, *place.shape)
        for name, place in places.items()
    }


def _lay_out(columns: dict[str, Any], rows: int) -> tuple[dict[str, _Place], int]:
    """Where each column begins, and how many bytes there are."""
    places, end = {}, 0
    for name, column in columns.items():
        places[name] = _Place(end, column.dtype, column.shape[1:])
        end += -(-places[name].count_bytes(rows) // _ALIGNMENT) * _ALIGNMENT
    return places, end


@contextmanager
def _open(path: Path, sha256: str | None, scratch: Path) -> Iterator[mmap.mmap]:
    """A file's bytes, of a remote one those of a copy.

    Raises:
        DataError: if there are none, or their SHA-256 is another.
    """
    try:
        with path.open("rb") as file:
            mapped = _map_copy(file, scratch) if is_remote(path) else _map(file)
    except (FileNotFoundError, ValueError):  # an empty file cannot be mapped
        raise build_damage_error(path) from None
    try:
        if sha256 is not None and hashlib.sha256(mapped).hexdigest() != sha256:
            raise build_damage_error(path)
        yield mapped
    finally:
        close_map(mapped)


def _map_copy(file: BinaryIO, scratch: Path) -> mmap.mmap:
    with tempfile.TemporaryFile(dir=scratch) as copy:
        shutil.copyfileobj(file, copy, 1 << 22)
        copy.flush()
        return _map(copy)


def _map(file: Any) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
