"""What a log or ready-made samples come to, ready to be written."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from din_train.config import DataConfig
from din_train.logs import FileReport, field_column
from din_train.samples.build import Block
from din_train.samples.negatives import UnknownItems
from din_train.samples.vocabulary import FIRST_REAL_ID, number_buckets, number_values


@dataclass(frozen=True)
class StoreParts:
    """The store's columns, blocks and tables, and what the manifest says of them.

    blocks: built while they are drawn from; the `count_` functions are right afterwards.
    fields: `item`, `user` and `context` -> names.
    negatives: `sampled`, or `in the log`.
    """

    event_columns: Sequence[str]
    sample_columns: Sequence[str]
    blocks: Iterable[Block]
    tables: Mapping[str, pa.Table]
    rejected: Path
    reports: Sequence[FileReport]
    fields: Mapping[str, Sequence[str]]
    negatives: str
    unknown_items: UnknownItems
    items_with_several_categories: int
    count_short_histories: Callable[[], int]
    count_dropped: Callable[[], dict[str, int]]


def number_fields(
    table: pa.Table, names: Sequence[str], weights: Any, data: DataConfig
) -> tuple[pa.Table, dict[str, list[str]]]:
    """Replace the text columns of fields by their ids.

    Args:
        table: with a column `category` or `field_column(name)` a name.
        weights: [rows] how often each row's item or user occurs.
        data: says which fields are numbers, and how many buckets they are cut into.

    Returns:
        The table with `<name>_id` columns instead, and each field's values by id from `FIRST_REAL_ID`.
    """
    vocabularies = {}
    for name in names:
        column = name if name == "category" else field_column(name)
        place = table.column_names.index(column)
        values = table[column].combine_chunks()
        ids, vocabularies[name] = (
            number_buckets(values, data.num_buckets) if name in data.numeric_fields else number_values(values, weights)
        )
        if len(ids) and ids.max() >= FIRST_REAL_ID + len(vocabularies[name]):
            raise RuntimeError(f"{name}: an id is not in the vocabulary")
        table = table.set_column(place, f"{name}_id", pa.array(ids, pa.int32()))
    return table, vocabularies
