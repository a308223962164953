"""What a log or ready-made samples come to, ready to be written."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from din_train.config import DataConfig
from din_train.logs import FileReport, field_column
from din_train.samples.account import Account, FieldValues
from din_train.samples.build import Block
from din_train.samples.negatives import UnknownItems
from din_train.samples.numbers import parse_numbers
from din_train.samples.vocabulary import FIRST_REAL_ID, number_buckets, number_values

_EXAMPLE_LENGTH = 40


@dataclass(frozen=True)
class StoreParts:
    """The store's columns, blocks and tables, and what the manifest says of them.

    blocks: built while they are drawn from; the functions are right afterwards.
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
    describe_histories: Callable[[], dict[str, Any]]
    account: Account


def number_fields(
    table: pa.Table, names: Sequence[str], weights: Any, data: DataConfig, account: Account, kind: str
) -> tuple[pa.Table, dict[str, list[str]]]:
    """Replace the text columns of fields by their ids.

    Args:
        table: with a column `category` or `field_column(name)` a name.
        weights: [rows] how often each row's item or user occurs.
        data: says which fields are numbers, and how many buckets they are cut into.
        account: counts what is missing, and what is no number.
        kind: what the rows are: `items` or `users`.

    Returns:
        The table with `<name>_id` columns instead, and each field's values by id from `FIRST_REAL_ID`.

    Raises:
        DataError: see `Account.add_field`.
    """
    vocabularies = {}
    for name in names:
        column = name if name == "category" else field_column(name)
        place = table.column_names.index(column)
        values = table[column].combine_chunks()
        unread, example = 0, None
        if name in data.numeric_fields:
            texts = values.to_pylist()
            numbers = parse_numbers(texts)
            no_number = np.flatnonzero(np.isnan(numbers) & values.is_valid().to_numpy(zero_copy_only=False))
            unread, example = len(no_number), texts[no_number[0]][:_EXAMPLE_LENGTH] if len(no_number) else None
            ids, vocabularies[name] = number_buckets(numbers, data.num_buckets)
        else:
            ids, vocabularies[name] = number_values(values, weights)
        account.add_field(name, FieldValues(kind, len(values), values.null_count, unread, example), data)
        if len(ids) and ids.max() >= FIRST_REAL_ID + len(vocabularies[name]):
            raise RuntimeError(f"{name}: an id is not in the vocabulary")
        table = table.set_column(place, f"{name}_id", pa.array(ids, pa.int32()))
    return table, vocabularies
