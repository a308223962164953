"""Items that came after training: what files say of them takes the place of what the data set knows.

The rows to score may say it in columns of their own, and a file of items (`--items`) of any item.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from din_train.dataset.fields import NewItems, standardize
from din_train.dataset.names import Names, build_id_finder
from din_train.dataset.store import PreparedData
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID, hash_values
from din_train.logs import field_column
from din_train.logs.expressions import flatten, to_mask

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class DescribedItems:
    """What is said of K items.

    is_known: [K] whether anything is said that the data set knows. counted: field -> [K] whether it has a value, and
    [K] whether it has one that the data set does not know.
    """

    items: NewItems
    is_known: Mask
    counted: Mapping[str, tuple[Mask, Mask]]


@dataclass(frozen=True)
class ItemsFile:
    """The items of a file that the data set does not know, and of which the file says something that it does.

    names: [K] raw ids. counted: field -> how many values all unknown items have in it, and how many of these are
    unknown.
    """

    names: Sequence[str]
    items: NewItems
    counted: Mapping[str, tuple[int, int]]


class NewItemReader:
    """Reads the category and the other fields of items that are unknown by their ids.

    Args:
        names: of the data set.
        fields: item fields, the category among them, that the file has a column of.
    """

    def __init__(self, data: PreparedData, names: Names, fields: Sequence[str]) -> None:
        self._data = data
        self._item_buckets = data.num_values.get("item")
        self._numbers = {name for name in fields if data.item_fields[name].dtype != np.int32}
        self._finders = {name: build_id_finder(data, names, name) for name in {*fields} - self._numbers}
        self.has_facts = bool(fields) or self._item_buckets is not None

    def read(self, items: Any, columns: Mapping[str, Any]) -> DescribedItems:
        """The items of K rows, one a row.

        Args:
            items: [K] raw ids. columns: field -> [K] texts, or lists.
        """
        count = len(items)
        values = {name: self._read_field(name, columns.get(name), count) for name in self._data.item_fields}
        known = {name: _is_known(each) for name, each in values.items()}
        rows = np.full(count, UNKNOWN_ID, np.int32)
        is_known = np.logical_or.reduce(list(known.values()))
        if self._item_buckets is not None:
            rows = hash_values(items, self._item_buckets - FIRST_REAL_ID)
            is_known = np.ones(count, np.bool_)
        given = {name: to_mask(column.is_valid()) for name, column in columns.items()}
        others = {name: each for name, each in values.items() if name != "category"}
        return DescribedItems(
            items=NewItems(values["category"], rows, others),
            is_known=is_known,
            counted={name: (each, each & ~known[name]) for name, each in given.items()},
        )

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
        scale = self._data.manifest.field_values[name]
        return standardize(column, scale.mean or 0.0, scale.standard_deviation or 1.0, scale.style)


def describe_items_file(data: PreparedData, names: Names, table: pa.Table) -> ItemsFile:
    """What the table of `read_items_file` says of its items."""
    columns = {"category": "category"} | {name: field_column(name) for name in data.item_fields if name != "category"}
    found = {name: flatten(table[column]) for name, column in columns.items() if column in table.column_names}
    raw_ids = flatten(table["item"])
    described = NewItemReader(data, names, tuple(found)).read(raw_ids, found)
    kept = np.flatnonzero(described.is_known)
    return ItemsFile(
        names=take_rows(raw_ids, kept).to_pylist(),
        items=_map_items(lambda values: values[kept], described.items),
        counted={name: (int(given.sum()), int(lost.sum())) for name, (given, lost) in described.counted.items()},
    )


def fill_in(items: NewItems, others: NewItems, places: NDArray[np.int64]) -> NewItems:
    """K items, each with what is unknown of it taken from that one of `others` at its place; -1 is none."""
    has_other = places >= 0

    def fill(values: NDArray[Any], filling: NDArray[Any]) -> NDArray[Any]:
        values, filling = _to_one_width(values, filling)
        keeps = _is_known(values) | ~has_other
        return np.where(keeps.reshape(-1, *[1] * (values.ndim - 1)), values, filling[np.maximum(places, 0)])

    return _map_items(fill, items, others)


def join_items(first: NewItems, second: NewItems) -> NewItems:
    """The items of both, one after the other."""
    return _map_items(lambda *values: np.concatenate(_to_one_width(*values)), first, second)


def take_rows(column: Any, rows: NDArray[np.int64]) -> Any:
    """These rows of an Arrow column."""
    return column.take(pa.array(rows))


def _map_items(change: Callable[..., NDArray[Any]], *items: NewItems) -> NewItems:
    """What `change` makes of each part of the items."""
    return NewItems(
        category_ids=change(*(each.category_ids for each in items)),
        rows=change(*(each.rows for each in items)),
        fields={name: change(*(each.fields[name] for each in items)) for name in items[0].fields},
    )


def _to_one_width(*values: NDArray[Any]) -> list[NDArray[Any]]:
    """[K, V] ids of several values, padded to the longest of all; others as they are."""
    if values[0].ndim == 1:
        return list(values)
    width = max(each.shape[1] for each in values)
    return [np.pad(each, [(0, 0), (0, width - each.shape[1])]) for each in values]


def _is_known(values: NDArray[Any]) -> Mask:
    """[K] whether there is a number, or an id but the unknown one."""
    known: Mask = values[:, 1] == 0 if values.dtype != np.int32 else values.reshape(len(values), -1)[:, 0] != UNKNOWN_ID
    return known
