"""Arrow IPC files of one record batch, so that a column is one piece of memory to map, written a block at a time."""

import io
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa

from din_train.dataset.content_hash import find_dtype
from din_train.files import check_space

_PIECE_BYTES = 1 << 26


class ColumnWriter:
    """Appends blocks of columns to plain files, and puts them into one Arrow file at the end.

    Memory does not grow with the rows: a record batch must be whole when it is written, and is mapped from those files.

    Args:
        path: of the Arrow file.
        schema: fixed-width columns, or lists of fixed size, without nulls.
        scratch: an existing folder for the plain files.
    """

    def __init__(self, path: Path, schema: pa.Schema, scratch: Path) -> None:
        self._path = path
        self._schema = schema
        self._parts = [scratch / f"{path.name}.{name}" for name in schema.names]
        self._files: list[BinaryIO] = []
        self.rows = 0

    def __enter__(self) -> Self:
        self._files = [part.open("wb") for part in self._parts]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        if kind is None:
            self._write()
        for part in self._parts:
            part.unlink(missing_ok=True)

    def append(self, columns: Mapping[str, Any]) -> None:
        """Add rows: an array a column of the schema, cast to its type."""
        rows = {len(columns[name]) for name in self._schema.names}
        if len(rows) != 1:
            raise ValueError(f"columns of different lengths: {rows}")
        for file, field in zip(self._files, self._schema, strict=True):
            # not `tofile`, which does not say why it has failed
            file.write(np.ascontiguousarray(columns[field.name], find_dtype(field.type)).data)
        self.rows += rows.pop()

    def _write(self) -> None:
        check_space(self._path, sum(part.stat().st_size for part in self._parts))
        with ExitStack() as stack:
            maps = [_map_file(stack, part) for part in self._parts if self.rows]
            buffers = [pa.py_buffer(mapped) for mapped in maps] or [pa.py_buffer(b"")] * len(self._schema)
            arrays = [
                _build_array(field.type, self.rows, buffer) for field, buffer in zip(self._schema, buffers, strict=True)
            ]
            sink = stack.enter_context(_Sink(self._path, maps))
            with pa.ipc.new_file(pa.PythonFile(sink, "w"), self._schema) as writer:
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
            del buffers, arrays, writer  # a map that is still looked at cannot be closed


def _build_array(kind: Any, rows: int, buffer: Any) -> Any:
    if not pa.types.is_fixed_size_list(kind):
        return pa.Array.from_buffers(kind, rows, [None, buffer])
    values = pa.Array.from_buffers(kind.value_type, rows * kind.list_size, [None, buffer])
    return pa.FixedSizeListArray.from_arrays(values, type=kind)


class _Sink(io.FileIO):
    """Writes a file, and lets go of the mapped memory that has been written."""

    def __init__(self, path: Path, maps: Sequence[mmap.mmap]) -> None:
        super().__init__(path, "w")
        self._maps = maps

    def write(self, data: Any) -> int:
        view = memoryview(data)
        for start in range(0, len(view), _PIECE_BYTES):
            rest = view[start : start + _PIECE_BYTES]
            while rest:
                rest = rest[super().write(rest) :]
            for mapped in self._maps:
                mapped.madvise(mmap.MADV_DONTNEED)
        return len(view)


def _map_file(stack: ExitStack, path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    stack.callback(close_map, mapped)
    return mapped


def close_map(mapped: mmap.mmap) -> None:
    """Close it, unless an error is on its way out."""
    with suppress(BufferError):  # an error on its way out still looks at it, and is the one to be told
        mapped.close()


class MappedColumns(dict[str, Any]):
    """The columns of a file as `map_columns` gives them, read some rows at a time.

    Args:
        path: of the Arrow file.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        super().__init__(read_columns(pa.BufferReader(pa.py_buffer(self._mapped))))

    def read_blocks(self, rows: int, *names: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The first row, and the named columns (all if none is named) of so many rows; memory does not keep them."""
        for first in range(0, len(next(iter(self.values()))), rows):
            yield first, {name: self[name][first : first + rows] for name in names or self}
            self._mapped.madvise(mmap.MADV_DONTNEED)


def map_columns(path: Path) -> dict[str, Any]:
    """The columns as read-only NumPy arrays over the mapped file; nothing is read until it is used.

    A column of lists is [rows, V].
    """
    return read_columns(pa.memory_map(str(path)))


def read_columns(source: Any) -> dict[str, Any]:
    """The columns as read-only NumPy arrays over a file of Arrow's that is in memory, or mapped there."""
    with pa.ipc.open_file(source) as file:
        batch = file.get_batch(0)
    return {name: _to_numpy(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}


def _to_numpy(column: Any) -> Any:
    if pa.types.is_fixed_size_list(column.type):
        return column.values.to_numpy().reshape(-1, column.type.list_size)
    return column.to_numpy()
