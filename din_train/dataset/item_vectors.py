"""Given vectors of items (text or image embeddings), from files of lists to columns of the table of items."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.config import DataConfig
from din_train.config.field_kinds import ItemVectorsConfig
from din_train.dataset.matching import Account, Join
from din_train.dataset.vocabulary import FIRST_REAL_ID, RawIds
from din_train.errors import DataError
from din_train.logs.columns import resolve_columns
from din_train.logs.expressions import flatten, is_list, shorten_decimals, take_text
from din_train.logs.row_files import open_row_file

_ROWS_AT_ONCE = 10_000


def add_vectors(items: pa.Table, data: DataConfig, account: Account) -> pa.Table:
    """The table of items with a column `<name>_vector` of each of `data.item_vectors`: null if an item has none.

    Args:
        items: with a column `item` of raw ids, by item id.
        account: counts the items that have a vector, and ids that a file has twice (the first one is kept).

    Raises:
        DataError: if a file cannot be read, lacks a column, has vectors of several widths or with something else
            than finite numbers, or matches no item while `data.unmatched` is not `allow`.
    """
    ids = RawIds([None] * FIRST_REAL_ID + items["item"].to_pylist())
    default = "item" if data.columns is None or data.columns.item is None else data.columns.item
    for name, given in (data.item_vectors or {}).items():
        found = _VectorReader(f"data.item_vectors.{name}", given, default).read(ids, items.num_rows, data, account)
        items = items.append_column(f"{name}_vector", found)
    return items


class _VectorReader:
    """Reads one file.

    Args:
        key: of the config, for messages.
        default_key: the column of item ids if `given` names none.
    """

    def __init__(self, key: str, given: ItemVectorsConfig, default_key: str | int) -> None:
        self._key, self._path = key, given.path
        self._file = open_row_file(self._path)
        wanted = {f"{key}.key": default_key if given.key is None else given.key, f"{key}.column": given.column}
        self._item_column, self._vector_column = resolve_columns(wanted, self._file).values()
        self._width: int | None = None

    def read(self, ids: RawIds, num_items: int, data: DataConfig, account: Account) -> Any:
        """[num_items] lists of fixed size, null for an item that the file does not have."""
        vectors, has_vector, repeated, first_row = np.zeros((num_items, 0), np.float32), np.zeros(num_items, bool), 0, 1
        example: str | None = None
        columns = [self._item_column, self._vector_column]
        for chunk in self._file.read_chunks(_ROWS_AT_ONCE, lambda _: None, columns):
            raw, _ = take_text(shorten_decimals(flatten(chunk.table[self._item_column])))
            values = self._take_vectors(flatten(chunk.table[self._vector_column]), first_row)
            if first_row == 1:
                vectors, example = np.zeros((num_items, values.shape[1]), np.float32), raw[0].as_py()
            first_row += len(raw)
            places = ids.find(raw) - FIRST_REAL_ID
            known = np.flatnonzero(places >= 0)
            _, firsts = np.unique(places[known], return_index=True)
            new = known[firsts][~has_vector[places[known[firsts]]]]
            repeated += len(known) - len(new)
            vectors[places[new]], has_vector[places[new]] = values[new], True
        found = int(has_vector.sum())
        if not found and data.unmatched == "refuse":
            raise DataError(
                f"{self._key}: {self._path}: of {num_items:,} items, 0 have a vector in it; the log has {ids.first!r}, "
                f"the file {example!r}; ids are compared as text: write them alike, or set data.unmatched to allow"
            )
        account.joins.append(Join("items", self._path.name, num_items, found))
        if repeated:
            account.remarks.append(f"{self._path.name}: {repeated:,} rows have an item's second vector; it is left out")
        flat = pa.array(vectors.ravel(), pa.float32())
        kind = pa.list_(pa.float32(), vectors.shape[1] or 1)
        if not vectors.shape[1]:
            return pa.nulls(num_items, kind)
        return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=pa.array(~has_vector))

    def _take_vectors(self, column: Any, first_row: int) -> NDArray[np.float32]:
        kind = column.type
        if not is_list(kind) or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
            raise DataError(
                f"{self._path}: {self._key}.column: column '{self._vector_column}' is of type {kind} (read as "
                f"{self._file.form}), expected lists of floats; write the vectors as Parquet or Arrow"
            )
        lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        self._width = int(lengths[0]) if self._width is None else self._width
        wrong = np.flatnonzero((lengths != self._width) | (lengths < 1))
        if len(wrong):
            size = "no vector" if lengths[wrong[0]] < 1 else f"{lengths[wrong[0]]:,} numbers"
            raise DataError(
                f"{self._path}: row {first_row + int(wrong[0]):,}: column '{self._vector_column}' has {size}, expected "
                f"{max(self._width, 1):,} as in row 1; write vectors of one width, and leave out items without one"
            )
        values: NDArray[np.float32] = (
            column.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False).reshape(-1, self._width)
        )
        odd = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(odd):
            raise DataError(
                f"{self._path}: row {first_row + int(odd[0]):,}: column '{self._vector_column}' has a value that is "
                "no finite number; write numbers, or leave the row out"
            )
        return values
