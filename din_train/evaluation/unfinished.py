"""Finished chunks of a table that is not yet whole, kept so that a stopped command can go on.

<output>.unfinished/
    request.json         what the chunks were made from; another request does not go on with them
    lock                 held by the process at work
    chunk-0000000.arrow  one a chunk, whole or not there
    whole.parquet        the chunks put together, until it takes the output's name
"""

import contextlib
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from din_train.errors import ConfigError, RunError
from din_train.files import atomic_file, make_folder

REQUEST, LOCK, WHOLE = "request.json", "lock", "whole.parquet"
_SUMMARY = b"din-train summary"

Request = dict[str, Any]


@dataclass(frozen=True)
class UnfinishedTable:
    """The folder of chunks."""

    folder: Path

    def count_chunks(self) -> int:
        """Chunks that follow on one another from the first; what comes after a damaged one is made again."""
        count = 0
        while self.read_summary(count) is not None:
            count += 1
        return count

    def write_chunk(self, number: int, table: pa.Table, summary: dict[str, Any]) -> None:
        """Keep a chunk, and what is to be remembered of it."""
        metadata = {**(table.schema.metadata or {}), _SUMMARY: orjson.dumps(summary)}
        table = table.replace_schema_metadata(metadata)
        with atomic_file(self._chunk_file(number)) as temporary, pa.OSFile(str(temporary), "wb") as file:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.ipc.new_file(file, table.schema, options=options) as writer:
                writer.write_table(table)

    def read_summary(self, number: int) -> dict[str, Any] | None:
        """What was to be remembered of a chunk; None where it is missing or damaged."""
        try:
            with pa.memory_map(str(self._chunk_file(number))) as file:
                metadata = pa.ipc.open_file(file).schema.metadata or {}
            summary: dict[str, Any] = orjson.loads(metadata[_SUMMARY])
        except (OSError, pa.ArrowInvalid, KeyError, orjson.JSONDecodeError):
            return None
        return summary

    def publish(self, output: Path, schema: pa.Schema, chunks: int) -> None:
        """Put the chunks together as a Parquet file, one row group each, whole or not at all; remove them."""
        whole = self.folder / WHOLE
        with pq.ParquetWriter(whole, schema, compression="zstd") as writer:
            for number in range(chunks):
                with pa.memory_map(str(self._chunk_file(number))) as file:
                    table = pa.ipc.open_file(file).read_all().replace_schema_metadata(schema.metadata)
                    writer.write_table(table, row_group_size=max(table.num_rows, 1))
        whole.replace(output)
        self.remove_chunks()

    def remove_chunks(self) -> None:
        """Also those that a killed process left half-written."""
        for pattern in ("chunk-*.arrow", ".*-chunk-*.arrow", f".*-{REQUEST}", WHOLE):
            for path in self.folder.glob(pattern):
                path.unlink()

    def _chunk_file(self, number: int) -> Path:
        return self.folder / f"chunk-{number:07}.arrow"


@contextmanager
def open_unfinished(output: Path, request: Request, *, overwrite: bool) -> Iterator[UnfinishedTable]:
    """The folder beside `output`, new or as the same request left it, held against other processes.

    It is gone afterwards if it holds no chunk.

    Args:
        request: everything that decides what the chunks hold, as JSON has it.
        overwrite: whether chunks of another request may be removed.

    Raises:
        ConfigError: if it holds another request's chunks.
        RunError: if another process is at work in it, or it cannot be made.
    """
    folder = output.with_name(f"{output.name}.unfinished")
    make_folder(folder)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder}: another din-train is at work on {output}; wait for it, or stop it") from None
        unfinished = UnfinishedTable(folder)
        _start_or_go_on(unfinished, request, overwrite=overwrite)
        try:
            yield unfinished
        finally:
            if not unfinished.count_chunks():
                _remove(folder)


def _start_or_go_on(unfinished: UnfinishedTable, request: Request, *, overwrite: bool) -> None:
    folder = unfinished.folder
    before = _read_request(folder)
    if before == request:
        return
    if any(folder.glob("chunk-*.arrow")) and not overwrite:
        changed = next(key for key in request if before is None or before.get(key) != request[key])
        raise ConfigError(
            f"{folder}: begun with another {changed.replace('_', ' ')}, so it cannot go on; run that command again, "
            "remove the folder, or give --overwrite to begin anew"
        )
    unfinished.remove_chunks()
    with atomic_file(folder / REQUEST) as temporary:
        temporary.write_bytes(orjson.dumps(request, option=orjson.OPT_INDENT_2) + b"\n")


def _remove(folder: Path) -> None:
    for name in (REQUEST, LOCK):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else is in it
        folder.rmdir()


def _read_request(folder: Path) -> Request | None:
    try:
        request: Request = orjson.loads((folder / REQUEST).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return request
