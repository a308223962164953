"""Finished chunks of a table that is not yet whole are kept, so that a stopped command can go on.

<output>.unfinished/
    .din-train           says that the folder is ours
    checksums.json       SHA-256 of the chunks, and the request that they were made from: another one does not go on
    chunk-0000000.arrow  one for each chunk, whole or not there; one that is not as it was written is scored again
    whole.parquet        the chunks put together, until it takes the output's name
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from din_train.checksums import INDEX, begin_index, indexed_file, read_index, read_indexed
from din_train.errors import ConfigError, DamagedError
from din_train.files import hold, make_marked_folder, named_errors, remove_empty, sync

WHOLE = "whole.parquet"
MADE_FROM = b"din-train"  # in the output's metadata
_SUMMARY = b"din-train summary"


@dataclass(frozen=True)
class UnfinishedTable:
    """The folder of chunks."""

    folder: Path

    def has_chunks(self) -> bool:
        """Whether there is any chunk, whole or not."""
        return any(self.folder.glob("chunk-*.arrow"))

    def write_chunk(self, number: int, table: pa.Table, summary: dict[str, Any]) -> None:
        """Keep a chunk and its summary."""
        metadata = {**(table.schema.metadata or {}), _SUMMARY: orjson.dumps(summary)}
        table = table.replace_schema_metadata(metadata)
        with indexed_file(self._chunk_file(number)) as temporary, pa.OSFile(str(temporary), "wb") as file:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.ipc.new_file(file, table.schema, options=options) as writer:
                writer.write_table(table)

    def read_summary(self, number: int) -> dict[str, Any] | None:
        """The summary of a chunk; None if there is no such chunk.

        Raises:
            DamagedError: if it is not as it was written.
        """
        try:
            summary: dict[str, Any] = orjson.loads(self._read_chunk(number).schema.metadata[_SUMMARY])
        except FileNotFoundError:
            return None
        return summary

    def publish(self, output: Path, schema: pa.Schema, chunks: int) -> None:
        """Put the chunks together as a Parquet file, one row group each, whole or not at all; remove them.

        Raises:
            DamagedError: if a chunk is not as it was written.
        """
        whole = self.folder / WHOLE
        with named_errors(output, whole), pq.ParquetWriter(whole, schema, compression="zstd") as writer:
            for number in range(chunks):
                table = self._read_chunk(number).read_all().replace_schema_metadata(schema.metadata)
                writer.write_table(table, row_group_size=max(table.num_rows, 1))
        sync(whole)
        whole.replace(output)
        sync(output.parent)
        self.remove_chunks()

    def remove_chunks(self) -> None:
        """Remove all chunks, also those that a killed process left half-written."""
        for pattern in ("chunk-*.arrow", ".*-chunk-*.arrow", f".*-{INDEX}", WHOLE):
            for path in self.folder.glob(pattern):
                path.unlink()

    def _read_chunk(self, number: int) -> pa.ipc.RecordBatchFileReader:
        return pa.ipc.open_file(pa.BufferReader(read_indexed(self._chunk_file(number), "run the command again")))

    def _chunk_file(self, number: int) -> Path:
        return self.folder / f"chunk-{number:07}.arrow"


@contextmanager
def open_unfinished(output: Path, request: dict[str, Any], *, overwrite: bool) -> Iterator[UnfinishedTable]:
    """Open the folder beside `output`, new or as the same request left it, and keep other processes from it.

    It is removed afterwards if it holds no chunk.

    Args:
        request: everything that decides what the chunks hold, as JSON has it.
        overwrite: whether chunks of another request may be removed.

    Raises:
        ConfigError: if it holds another request's chunks, or another process is at work on the output.
        RunError: if it cannot be made, or something else has its name.
    """
    folder = unfinished_folder(output)
    with hold(output):
        make_marked_folder(folder)
        unfinished = UnfinishedTable(folder)
        _start_or_go_on(unfinished, request, overwrite=overwrite)
        try:
            yield unfinished
        finally:
            if not unfinished.has_chunks():
                unfinished.remove_chunks()
                (folder / INDEX).unlink(missing_ok=True)
                remove_empty(folder)


def unfinished_folder(output: Path) -> Path:
    """Where the chunks of an output are kept."""
    return output.with_name(f"{output.name}.unfinished")


def is_made_from(output: Path, made_from: bytes) -> bool:
    """Whether the output is whole and its metadata say that it was made from this."""
    try:
        return (pq.read_schema(output).metadata or {}).get(MADE_FROM) == made_from
    except (OSError, pa.ArrowInvalid):
        return False


def _start_or_go_on(unfinished: UnfinishedTable, request: dict[str, Any], *, overwrite: bool) -> None:
    folder = unfinished.folder
    try:
        before = read_index(folder, "").get("request")
    except DamagedError:
        before = None
    if before == request:
        return
    if unfinished.has_chunks() and not overwrite:
        changed = [key.replace("_", " ") for key in request if before is not None and before.get(key) != request[key]]
        why = f"begun with another {changed[0]}" if changed else f"without the {INDEX} that it was begun with"
        raise ConfigError(
            f"{folder}: {why}, so it cannot go on; run that command again, remove the folder, or give --overwrite to "
            "begin anew"
        )
    unfinished.remove_chunks()
    begin_index(folder, request=request)
