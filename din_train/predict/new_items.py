"""Items that came after training: what the columns of a file say of them takes the place of what the data set knows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from din_train.dataset.fields import NewItems, standardize
from din_train.dataset.names import Names, build_id_finder
from din_train.dataset.numbers import parse_numbers
from din_train.dataset.store import PreparedData
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID, hash_values


class NewItemReader:
    """Reads the category and the other fields of items that are unknown by their ids.

    Args:
        names: of the data set.
        fields: item fields, the category among them, that the file has a column of.
    """

    def __init__(self, data: PreparedData, names: Names, fields: Sequence[str]) -> None:
        self._data = data
        self._item_buckets = data.num_values.get("item")
        numbers = {name for name in data.item_fields if data.item_fields[name].dtype != np.int32}
        bucketed = {name for name in fields if name in data.manifest.recipe["data.numeric_fields"]}
        self._finders = {name: build_id_finder(data, names, name) for name in {*fields} - numbers - bucketed}
        self._edges = {name: _read_edges(names.values(name)) for name in bucketed}
        self._numbers = numbers & {*fields}
        self.has_facts = bool(fields) or self._item_buckets is not None

    def read(self, items: Any, columns: dict[str, Any]) -> tuple[NewItems, NDArray[np.bool_]]:
        """The items of K rows, one a row, and of which of them anything is known.

        Args:
            items: [K] raw ids. columns: field -> [K] texts, or lists.
        """
        count = len(items)
        values = {name: self._read_field(name, columns.get(name), count) for name in self._data.item_fields}
        is_known = np.zeros(count, np.bool_)
        for each in values.values():
            known = each[:, 1] == 0 if each.dtype != np.int32 else each.reshape(count, -1)[:, 0] != UNKNOWN_ID
            is_known |= known
        rows = np.full(count, UNKNOWN_ID, np.int32)
        if self._item_buckets is not None:
            rows = hash_values(items, self._item_buckets - FIRST_REAL_ID)
            is_known[:] = True
        others = {name: each for name, each in values.items() if name != "category"}
        return NewItems(values["category"], rows, others), is_known

    def _read_field(self, name: str, column: Any, count: int) -> NDArray[Any]:
        """[K] ids, [K, V] ids or [K, 2] numbers; unknown if the file has no such column."""
        if column is None:
            nothing = np.zeros((count, *self._data.item_fields[name].shape[1:]), self._data.item_fields[name].dtype)
            if nothing.dtype != np.int32:
                nothing[:, 1] = 1.0
            elif nothing.ndim > 1:
                nothing[:, 0] = UNKNOWN_ID
            else:
                nothing[:] = UNKNOWN_ID
            return nothing
        if name in self._finders:
            return self._finders[name].find(column)
        if name in self._numbers:
            scale = self._data.manifest.field_values[name]
            return standardize(column, scale.mean or 0.0, scale.standard_deviation or 1.0)
        numbers = parse_numbers(column.to_pylist())
        ids = FIRST_REAL_ID + np.searchsorted(self._edges[name], numbers, side="right")
        return np.where(np.isnan(numbers), UNKNOWN_ID, ids).astype(np.int32)


def _read_edges(buckets: Sequence[str | None]) -> NDArray[np.float64]:
    """Where the buckets of a numeric field begin, but for the first, from names such as `[5, 9.5)`."""
    return np.array([float(each[1:].partition(",")[0]) for each in buckets[FIRST_REAL_ID + 1 :] if each], np.float64)


def take_rows(column: Any, rows: NDArray[np.int64]) -> Any:
    """These rows of an Arrow column."""
    return column.take(pa.array(rows))
