"""Writes kept events to `events.parquet`, a fixed number of rows a row group."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from din_train.logs.log import Measures
from din_train.logs.row_files import parquet_source

ROW_GROUP_ROWS = 100_000
_STEADY = ("timestamp", "ordinal")

# The column of a part of a log that a cluster reads, which says which part it is.
PIECE = "piece"

EventRow = tuple[Any, ...]
EventColumns = Sequence[Any]


def list_numbers(schema: pa.Schema) -> list[str]:
    """The columns of numbers: of those a file says the range (see `measure_events`)."""
    return [each.name for each in schema if pa.types.is_primitive(each.type)]


def measure_events(path: Path) -> Measures:
    """How many events a Parquet file has, and the range of each column of numbers but their places, by its
    metadata alone.
    """
    metadata = pq.read_metadata(parquet_source(path))
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    ranges = {}
    for place, name in enumerate(metadata.schema.names):
        found = [group.column(place).statistics for group in groups]
        known = [each for each in found if each is not None and each.has_min_max]
        if known and name not in ("ordinal", PIECE):
            ranges[name] = (min(each.min for each in known), max(each.max for each in known))
    return Measures(metadata.num_rows, ranges)


class EventWriter:
    """Numbers events 0, 1, ... as they come and writes them; the bytes depend on the events only.

    Args:
        path: of the Parquet file.
        columns: what events have beside user, item and timestamp, in their order.
    """

    def __init__(self, path: Path, columns: Sequence[pa.Field] = ()) -> None:
        self._fields = [
            pa.field("user", pa.string()),
            pa.field("item", pa.string()),
            pa.field("timestamp", pa.int64()),
            *columns,
        ]
        self._schema = pa.schema([*self._fields, pa.field("ordinal", pa.int64())])
        # Dictionaries pay for columns of few values; for the others they cost half of the time of writing.
        texts = [each.name for each in columns if pa.types.is_string(each.type)]
        # Statistics of texts cost as much as writing them. Times and ordinals grow in small steps.
        self._file = pq.ParquetWriter(
            path,
            self._schema,
            use_dictionary=texts,
            write_statistics=list_numbers(self._schema),
            column_encoding=dict.fromkeys(_STEADY, "DELTA_BINARY_PACKED"),
        )
        self._batches: list[Any] = []
        self._waiting = 0  # rows in _batches
        self._written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write(self._waiting)
        finally:
            self._file.close()

    def add_rows(self, rows: Iterable[EventRow]) -> None:
        """Append events; no more than a row group of them is held at a time."""
        rows = iter(rows)
        while some := list(islice(rows, ROW_GROUP_ROWS)):
            columns = zip(*some, strict=True)
            self.add_columns(
                [pa.array(column, field.type) for column, field in zip(columns, self._fields, strict=True)]
            )

    def add_columns(self, events: EventColumns) -> None:
        """Append events, a column each."""
        columns = [column.cast(field.type) for column, field in zip(events, self._fields, strict=True)]
        self._batches.append(pa.RecordBatch.from_arrays(columns, schema=pa.schema(self._fields)))
        self._waiting += len(columns[0])
        self._write(self._waiting - self._waiting % ROW_GROUP_ROWS)

    def _write(self, rows: int) -> None:
        """Write the first `rows` waiting rows."""
        if not rows:
            return
        waiting = pa.Table.from_batches(self._batches).combine_chunks()
        ordinals = pa.array(np.arange(self._written, self._written + rows, dtype=np.int64))
        table = waiting.slice(0, rows).append_column("ordinal", ordinals)
        self._file.write_table(table.cast(self._schema), row_group_size=ROW_GROUP_ROWS)
        self._batches = waiting.slice(rows).to_batches()
        self._waiting -= rows
        self._written += rows
