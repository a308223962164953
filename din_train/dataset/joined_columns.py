"""The columns of several Arrow files as one array each, in a file without a name that is mapped.

So they are page cache, as those of one file are, and their room on the disk is free again when nothing looks at them,
however the process ends.
"""

import hashlib
import mmap
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from din_train.dataset.column_file import read_columns
from din_train.dataset.manifest import ShardFile, build_damage_error
from din_train.files import check_space
from din_train.remote_path import is_remote

_ALIGNMENT = 64


@dataclass(frozen=True)
class _Place:
    """Where a column lies in the joined file. width: values a row, None of one that is not of lists."""

    offset: int
    dtype: Any
    width: int | None

    @property
    def row_bytes(self) -> int:
        return int(self.dtype.itemsize) * (1 if self.width is None else self.width)


def join_columns(folder: Path, files: Sequence[ShardFile], scratch: Path) -> dict[str, Any]:
    """The columns of files with the same columns, as `map_columns` gives those of one.

    Args:
        folder: of the files; it may be remote.
        files: one after another. They are checked while they are read.
        scratch: a folder on a disk with room for all rows and, if `folder` is remote, the largest file.

    Raises:
        DataError: if a file is not as it was written.
    """
    rows = sum(each.rows for each in files)
    places: dict[str, _Place] = {}
    first = size = 0
    with tempfile.TemporaryFile(dir=scratch) as joined:
        for each in files:
            with _map_checked(folder / each.file, each.sha256, scratch) as mapped:
                columns = read_columns(mapped)
                if not places:
                    places, size = _lay_out(columns, rows)
                    check_space(scratch / "joined shards", size)
                found = {name: (len(column), column.dtype, _find_width(column)) for name, column in columns.items()}
                if found != {name: (each.rows, place.dtype, place.width) for name, place in places.items()}:
                    raise build_damage_error(folder / each.file)
                for name, place in places.items():
                    joined.seek(place.offset + first * place.row_bytes)
                    joined.write(np.ascontiguousarray(columns[name]).data)
                del columns  # a map that is still looked at cannot be closed
            first += each.rows
        joined.truncate(max(size, 1))  # nothing of no bytes can be mapped
        joined.flush()
        whole = mmap.mmap(joined.fileno(), 0, access=mmap.ACCESS_READ)
    return {
        name: np.frombuffer(whole, place.dtype, rows * place.row_bytes // place.dtype.itemsize, place.offset).reshape(
            (rows,) if place.width is None else (rows, place.width)
        )
        for name, place in places.items()
    }


def _lay_out(columns: dict[str, Any], rows: int) -> tuple[dict[str, _Place], int]:
    """Where each column begins, and how many bytes there are."""
    places, end = {}, 0
    for name, column in columns.items():
        places[name] = _Place(end, column.dtype, _find_width(column))
        end += -(-rows * places[name].row_bytes // _ALIGNMENT) * _ALIGNMENT
    return places, end


def _find_width(column: Any) -> int | None:
    return column.shape[1] if column.ndim > 1 else None


@contextmanager
def _map_checked(path: Path, sha256: str, scratch: Path) -> Iterator[mmap.mmap]:
    """A file's bytes, of a remote one those of a copy.

    Raises:
        DataError: if they are others than those that were written.
    """
    try:
        with path.open("rb") as file:
            mapped = _map_copy(file, scratch) if is_remote(path) else _map(file)
    except (FileNotFoundError, ValueError):  # an empty file cannot be mapped
        raise build_damage_error(path) from None
    with mapped:
        if hashlib.sha256(mapped).hexdigest() != sha256:
            raise build_damage_error(path)
        yield mapped


def _map_copy(file: BinaryIO, scratch: Path) -> mmap.mmap:
    with tempfile.TemporaryFile(dir=scratch) as copy:
        shutil.copyfileobj(file, copy, 1 << 22)
        copy.flush()
        return _map(copy)


def _map(file: Any) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
