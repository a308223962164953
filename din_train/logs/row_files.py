"""A file of rows with whatever columns it has, a number of rows at a time: text in any dialect, JSON, Parquet, Arrow.

Memory holds a chunk and a block of the file (of Parquet: what a row group takes), whatever the file's size.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from din_train.config.file_formats import FormatConfig
from din_train.errors import DataError
from din_train.logs.chunks import Chunk, regroup
from din_train.logs.columns import find_columns
from din_train.logs.delta import is_delta_table, measure_input, open_delta, read_delta_schema
from din_train.logs.dialect import Dialect, find_dialect, read_decoded_head
from din_train.logs.json_rows import JsonText, list_of
from din_train.logs.lines import Piece, find_packing, read_magic
from din_train.logs.log import Progress
from din_train.logs.text_columns import read_text_rows
from din_train.remote_path import is_remote

__all__ = ["Chunk", "RowFile", "find_partitions", "open_row_file", "parquet_source"]

_PARQUET_ROWS = 1 << 16  # read at once, at most
_ARROW_FILE, _ARROW_STREAM = b"ARROW1", b"\xff\xff\xff\xff"
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"

# Names of the wanted columns, a number of rows, progress, a piece of the file or None -> the rows.
_Read = Callable[[Sequence[str], int, Progress, Piece | None], Iterator[Chunk]]


@dataclass(frozen=True)
class RowFile:
    """A file whose columns are known and whose rows are still to be read.

    schema: of text and JSON, strings (or lists of them). Folders such as `day=2020-01-01` are columns, the last ones.
    form: what it was read as, for messages. has_header: whether its columns have names; else they are '1', '2', ...
    dialect: of delimited text, else None. encoding: of text. is_typed: whether columns have types, which text and JSON
        have not.
    """

    path: Path
    schema: pa.Schema
    form: str
    has_header: bool
    dialect: Dialect | None
    is_typed: bool
    _partitions: Mapping[str, str | None]
    _read: _Read = field(repr=False)
    encoding: str = "utf-8"

    @property
    def delimiter(self) -> str | None:
        """What separates the fields of text; None if the file is no delimited text."""
        return None if self.dialect is None else self.dialect.delimiter

    def resolve(self, column: str | int, key: str = "data.columns") -> str:
        """The name of a column that is given by its name, or by its position from 1.

        Args:
            key: the config key that gives it, for messages.

        Raises:
            DataError: if the file has no such column, or two of that name.
        """
        names = self.schema.names
        if isinstance(column, int):
            if column > len(names):
                raise DataError(f"{self.path}: {key}: no column {column}; it has {len(names)} (read as {self.form})")
            column = str(names[column - 1])
        elif not self.has_header and column not in names:
            raise DataError(
                f"{self.path}: {key}: no column '{column}', since its first line looks like the others, not like a "
                f"header; give positions from 1 to {len(names)}, or set data.format.header to true"
            )
        return str(names[find_columns({key: column}, names, self.path, self.form)[key]])

    def cut(self, size: int) -> list[Piece | None]:
        """The file in pieces of about so many bytes; None for a file that is only read as a whole.

        That is one that is packed, has quoted fields over several lines, or is a JSON array, an Arrow file, a Delta
        table or text in UTF-16.
        """
        if self.form == "Parquet":
            return list[Piece | None](_cut_parquet(self.path, size))
        is_lines = self.form == "JSON lines" if self.dialect is None else not self.dialect.is_multiline
        if not is_lines or self.encoding.startswith("utf-16") or find_packing(self.path) != "plain":
            return [None]
        end = self.path.stat().st_size
        starts = [end * place // count for count in [-(-end // size)] for place in range(count)]
        return [Piece(start, stop) for start, stop in zip(starts, [*starts[1:], end], strict=True)]

    def read_chunks(
        self, rows: int, progress: Progress, columns: Sequence[str] | None = None, piece: Piece | None = None
    ) -> Iterator[Chunk]:
        """Chunks of `rows` rows, the last one shorter; where they begin depends on the rows alone.

        Args:
            columns: the names of those that are wanted, in the order they come; if left out, all that are not inside a
                list of objects.
            piece: of `cut`; if given, only its rows are read, and `lines` are numbered from 1 in text.

        Raises:
            DataError: where the file cannot be read to its end, or has two columns of a name.
        """
        wanted = list(self.list_columns() if columns is None else columns)
        self.check_names_differ(wanted)
        own = [name for name in self.schema.names if name not in self._partitions]
        taken = [name for name in wanted if name in own] or own[:1]
        for chunk in regroup(self._read(taken, rows, progress, piece), rows):
            table = chunk.table
            for name in wanted:
                if name in self._partitions:
                    value = pa.repeat(pa.scalar(self._partitions[name], pa.string()), table.num_rows)
                    table = table.append_column(name, value)
            yield Chunk(table.select(wanted), chunk.lines, chunk.broken, chunk.texts)

    def list_columns(self, inside: str | None = None) -> list[str]:
        """The names of the columns of a row: those that are in no list of objects.

        Args:
            inside: a list of objects that are the rows, whose columns come too; lists beside it do not.
        """
        if inside is None:
            return [each.name for each in self.schema if list_of(each) is None]
        around = [each.name for each in self.schema if list_of(each) is None and not pa.types.is_list(each.type)]
        return [*around, *(each.name for each in self.schema if list_of(each) == inside)]

    @property
    def lists_of_objects(self) -> tuple[str, ...]:
        """The lists whose objects may be rows."""
        return tuple(dict.fromkeys(name for each in self.schema if (name := list_of(each)) is not None))

    def check_names_differ(self, columns: Sequence[str]) -> None:
        """Refuse a column that is there more than once.

        Raises:
            DataError: if one is.
        """
        for name in columns:
            if self.schema.names.count(name) > 1:
                raise DataError(
                    f"{self.path}: has the column '{name}' more than once (read as {self.form}); rename the others"
                )


def open_row_file(path: Path, format: FormatConfig | None = None) -> RowFile:
    """Read the names and types of the columns.

    Args:
        format: `data.format`: what it says is so, the rest is told by the file's content.

    Raises:
        DataError: where the file cannot be read, or is text without a first line that can be read.
    """
    given = FormatConfig() if format is None else format
    dialect = text = None
    is_delta = is_delta_table(path)
    magic = b"" if is_delta else read_magic(path)
    read: _Read
    if is_delta:
        schema, form, read = read_delta_schema(path), "a Delta table", partial(_read_delta, path)
    elif magic.startswith(b"PAR1"):
        schema, form, read = _read_parquet_schema(path), "Parquet", partial(_read_parquet, path)
    elif magic.startswith((_ARROW_FILE, _ARROW_STREAM)):
        schema, form, read = _read_arrow_schema(path), "Arrow", partial(_read_arrow, path)
    elif (text := _find_json(path, given)) is not None:
        schema, form = text.find_schema(), "a JSON array" if text.is_array else "JSON lines"
        read = partial(_read_json, text, schema)
    else:
        dialect, names = find_dialect(path, given)
        schema, form = pa.schema([(name, pa.string()) for name in names]), dialect.form
        read = partial(_read_text, path, dialect, names)
    partitions = {name: value for name, value in find_partitions(path).items() if name not in schema.names}
    for name in partitions:
        schema = schema.append(pa.field(name, pa.string()))
    is_typed = dialect is None and text is None
    encoding = dialect.encoding if dialect is not None else "utf-8" if text is None else text.encoding
    has_header = dialect is None or dialect.has_header
    return RowFile(path, schema, form, has_header, dialect, is_typed, partitions, read, encoding)


def find_partitions(path: Path) -> dict[str, str | None]:
    """What the folders right above a file say of its rows: `day=2020-01-01/country=DE/part-0.csv`."""
    partitions: dict[str, str | None] = {}
    for folder in path.parents:
        name, equals, value = folder.name.partition("=")
        if not equals or not name:
            break
        partitions = {unquote(name): None if value == _NO_PARTITION else unquote(value)} | partitions
    return partitions


def parquet_source(path: Path) -> Any:
    """What pyarrow reads a Parquet file from: its path, or an open file if it is remote."""
    return path.open("rb") if is_remote(path) else path


def _find_json(path: Path, given: FormatConfig) -> JsonText | None:
    if given.delimiter is not None:
        return None
    encoding, head = read_decoded_head(path, given)
    beginning = head.lstrip()
    is_array = beginning[:1] == b"[" and beginning[1:].lstrip()[:1] in (b"{", b"]", b"")
    return JsonText(path, encoding, is_array) if is_array or beginning.startswith(b"{") else None


def _read_json(
    text: JsonText, schema: pa.Schema, columns: Sequence[str], _rows: int, progress: Progress, piece: Piece | None
) -> Iterator[Chunk]:
    yield from text.read_rows(pa.schema([schema.field(name) for name in columns]), progress, piece)


def _read_text(
    path: Path,
    dialect: Dialect,
    names: Sequence[str],
    columns: Sequence[str],
    _rows: int,
    progress: Progress,
    piece: Piece | None,
) -> Iterator[Chunk]:
    places = {name: names.index(name) for name in columns}
    yield from read_text_rows(path, dialect, len(names), places, progress, piece)


def _read_parquet_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(parquet_source(path))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "Parquet", error) from None


def _cut_parquet(path: Path, size: int) -> list[Piece]:
    """Row groups next to each other that have about so many bytes together."""
    try:
        with pq.ParquetFile(parquet_source(path)) as file:
            bytes_of_groups = [file.metadata.row_group(g).total_byte_size for g in range(file.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "Parquet", error) from None
    pieces, start, waiting = [], 0, 0
    for group, num_bytes in enumerate(bytes_of_groups, 1):
        waiting += num_bytes
        if waiting >= size or group == len(bytes_of_groups):
            pieces.append(Piece(start, group))
            start, waiting = group, 0
    return pieces or [Piece(0, 0)]


def _read_parquet(
    path: Path, columns: Sequence[str], rows: int, progress: Progress, piece: Piece | None
) -> Iterator[Chunk]:
    try:
        with pq.ParquetFile(parquet_source(path)) as file:
            groups = range(file.num_row_groups) if piece is None else range(piece.start, piece.end)
            total = sum(file.metadata.row_group(group).num_rows for group in groups)
            if piece is not None:
                piece.lines = total
            batches = file.iter_batches(min(rows, _PARQUET_ROWS), row_groups=list(groups), columns=list(columns))
            yield from _number_rows(batches, columns, total, path, progress)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "Parquet", error) from None


@contextmanager
def _open_arrow(path: Path) -> Iterator[Any]:
    """An Arrow file or stream."""
    try:
        with path.open("rb") as disk:
            is_file = disk.read(len(_ARROW_FILE)) == _ARROW_FILE
            disk.seek(0)
            yield pa.ipc.open_file(disk) if is_file else pa.ipc.open_stream(disk)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "Arrow", error) from None


def _read_arrow_schema(path: Path) -> pa.Schema:
    with _open_arrow(path) as source:
        return source.schema


def _read_arrow(
    path: Path, columns: Sequence[str], rows: int, progress: Progress, _piece: Piece | None
) -> Iterator[Chunk]:
    with _open_arrow(path) as source:
        if isinstance(source, pa.ipc.RecordBatchFileReader):
            batches = (source.get_batch(place) for place in range(source.num_record_batches))
            total = source.count_rows()
        else:
            batches, total = iter(source), None
        pieces = (batch.slice(start, rows) for batch in batches for start in range(0, len(batch), rows))
        yield from _number_rows(pieces, columns, total, path, progress)


def _read_delta(
    path: Path, columns: Sequence[str], rows: int, progress: Progress, _piece: Piece | None
) -> Iterator[Chunk]:
    with open_delta(path, columns) as (_, batches, total):
        pieces = (batch.slice(start, rows) for batch in batches for start in range(0, len(batch), rows))
        yield from _number_rows(pieces, columns, total, path, progress)


def _number_rows(
    batches: Iterator[Any], columns: Sequence[str], total: int | None, path: Path, progress: Progress
) -> Iterator[Chunk]:
    """Batches as chunks; progress is that of the rows, of which there are `total`, if that is known."""
    size = measure_input(path)
    done = reported = 0
    for batch in batches:
        table = pa.Table.from_batches([batch]).select(list(columns))
        table.validate()
        yield Chunk(table, np.arange(done + 1, done + len(batch) + 1, dtype=np.int64), {})
        done += len(batch)
        if total:
            progress(size * done // total - reported)
            reported = size * done // total
    progress(size - reported)


def _unreadable(path: Path, form: str, error: Exception) -> DataError:
    what = (str(error).splitlines() or ["no reason given"])[0]
    return DataError(f"{path}: cannot be read as {form} ({what}); fetch or write the file again")
