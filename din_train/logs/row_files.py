"""A file of rows with whatever columns it has, a number of rows at a time: CSV, TSV (plain or gzip) or Parquet.

Memory holds a chunk and a block of the file (of Parquet: what a row group takes), whatever the file's size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from din_train.errors import DataError
from din_train.logs.delimited import FORMS, is_blank, parse_names, read_body, split_columns, split_row
from din_train.logs.lines import read_magic, split_lines
from din_train.logs.log import Progress
from din_train.logs.rejects import BadLine

_PARQUET_ROWS = 1 << 16  # read at once, at most


@dataclass(frozen=True)
class Chunk:
    """Rows of a file in their order.

    table: every column of the file. broken: place in the table -> why the line could not be cut into the columns;
    such a row is null in all of them.
    """

    table: pa.Table
    broken: dict[int, str]


@dataclass(frozen=True)
class RowFile:
    """A file whose columns are known and whose rows are still to be read.

    form: what it was read as, for messages. delimiter: of text; None for Parquet.
    """

    path: Path
    schema: pa.Schema
    form: str
    delimiter: str | None

    def read_chunks(self, rows: int, progress: Progress) -> Iterator[Chunk]:
        """Chunks of `rows` rows, the last one shorter; where they begin depends on the rows alone.

        Raises:
            DataError: where the file cannot be read to its end.
        """
        if self.delimiter is None:
            return _regroup(_read_parquet(self.path, min(rows, _PARQUET_ROWS), progress), rows)
        return _regroup(_read_text(self, progress), rows)


def open_row_file(path: Path) -> RowFile:
    """Read the names and types of the columns; those of text are strings.

    Raises:
        DataError: where the file cannot be read, has no header, or names a column twice.
    """
    magic = read_magic(path)
    if magic.startswith(b"{"):
        raise DataError(f"{path}: looks like JSON, expected CSV, TSV (plain or gzip) or Parquet; convert it")
    if magic.startswith(b"PAR1"):
        try:
            file = RowFile(path, pq.read_schema(path), "Parquet", None)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
    else:
        header = next(
            (names for names, _, _ in read_body(path, lambda line: (parse_names(line, path), True), lambda _: None)),
            None,
        )
        if header is None:
            raise DataError(f"{path}: is empty, expected a header and rows; check the path")
        delimiter, names = header
        file = RowFile(path, pa.schema([(name, pa.string()) for name in names]), FORMS[delimiter], delimiter)
    twice = [name for name in dict.fromkeys(file.schema.names) if file.schema.names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: has the column '{twice[0]}' more than once (read as {file.form}); rename the others")
    return file


def _read_text(file: RowFile, progress: Progress) -> Iterator[Chunk]:
    delimiter, width = str(file.delimiter), len(file.schema)
    for _, _, block in read_body(file.path, lambda line: (parse_names(line, file.path), True), progress):
        columns = split_columns(block, delimiter, width, range(width))
        if columns is not None:
            yield Chunk(pa.table(columns, schema=file.schema), {})
            continue
        rows: list[list[str] | list[None]] = []
        broken = {}
        for line in split_lines(block):
            if is_blank(line, delimiter):
                continue
            try:
                rows.append(split_row(line, delimiter, width))
            except BadLine as bad:
                broken[len(rows)] = bad.reason
                rows.append([None] * width)
        texts = [pa.array([row[place] for row in rows], pa.string()) for place in range(width)]
        yield Chunk(pa.table(texts, schema=file.schema), broken)


def _read_parquet(path: Path, rows: int, progress: Progress) -> Iterator[Chunk]:
    try:
        with pq.ParquetFile(path) as file:
            size, total, done, reported = path.stat().st_size, file.metadata.num_rows, 0, 0
            for batch in file.iter_batches(rows):
                yield Chunk(pa.Table.from_batches([batch], schema=file.schema_arrow), {})
                done += len(batch)
                progress(size * done // total - reported)
                reported = size * done // total
            progress(size - reported)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _regroup(chunks: Iterator[Chunk], rows: int) -> Iterator[Chunk]:
    tables: list[pa.Table] = []
    broken: dict[int, str] = {}
    held = 0
    for chunk in chunks:
        tables.append(chunk.table)
        broken |= {held + place: reason for place, reason in chunk.broken.items()}
        held += chunk.table.num_rows
        while held >= rows:
            table = pa.concat_tables(tables)
            yield Chunk(table.slice(0, rows), {place: reason for place, reason in broken.items() if place < rows})
            tables = [table.slice(rows)]
            broken = {place - rows: reason for place, reason in broken.items() if place >= rows}
            held -= rows
    if held:
        yield Chunk(pa.concat_tables(tables), broken)


def _unreadable(path: Path, error: Exception) -> DataError:
    what = (str(error).splitlines() or ["no reason given"])[0]
    return DataError(f"{path}: cannot be read as Parquet ({what}); fetch or write the file again")
