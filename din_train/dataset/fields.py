"""Fields of items, users and contexts: their texts become ids, lists of ids, or standardised numbers.

A column of the store says what it is by its name and type:

    <field>_id      int32        one id
    <field>_ids     list<int32>  the ids of several values; a list of one unknown id if there is no known value
    <field>_number  float        (number - mean) / standard deviation, null if there is no number
    <field>_vector  list<float>  a given vector of an item, null if it has none
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.config import Config
from din_train.config.field_kinds import ListFieldConfig
from din_train.dataset.base_vocabulary import NO_BASE, BaseVocabulary
from din_train.dataset.matching import Account, FieldValues
from din_train.dataset.numbers import NumberStyle, find_style, parse_numbers
from din_train.dataset.vocabulary import (
    FIRST_REAL_ID,
    PAD_ID,
    UNKNOWN_ID,
    find_codes,
    hash_values,
    number_buckets,
    number_codes,
    number_values,
    read_edges,
)
from din_train.logs import field_column
from din_train.logs.expressions import is_list
from din_train.logs.history_text import HistoryFormat
from din_train.logs.records import drop_null_values

_EXAMPLE_LENGTH = 40

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """What the rows of a table are, and how much each counts.

    kind: `items`, `users` or `events`. weights: [n] how often each occurs. training: [n] how often in training.
    """

    kind: str
    weights: NDArray[np.int64]
    training: NDArray[np.int64]


@dataclass(frozen=True)
class NewItems:
    """K items that came after training; their ids follow those of the known ones.

    category_ids, rows: [K] ids of their categories, and their rows in a table of items. fields: other field -> values
    in the forms that `read_field` gives.
    """

    category_ids: NDArray[np.int32]
    rows: NDArray[np.int32]
    fields: Mapping[str, NDArray[Any]]


class IdFinder(Protocol):
    """Finds the ids of texts.

    `RawIds` finds them in a vocabulary, `HashedIds` by their hash, `BucketIds` of numbers, `ListIds` of several values.
    """

    @property
    def first(self) -> str | None:
        """A text that is known, as an example."""

    def find(self, raw: Any) -> Ids:
        """[n] strings or nulls (of several values also lists) -> [n] ids, or [n, V] padded with 0."""


class ListIds:
    """Finds the ids of texts with several values each, or of lists.

    Args:
        ids: of one value.
        spec: how a text is cut, and how many values are kept.
        nulls: texts that stand for no value.
    """

    def __init__(self, ids: IdFinder, spec: ListFieldConfig, nulls: Sequence[str]) -> None:
        self._ids, self._spec, self._nulls = ids, spec, nulls

    @property
    def first(self) -> str | None:
        """A value that is known, as an example."""
        return self._ids.first

    def find(self, raw: Any) -> Ids:
        """[n] texts or lists -> [n, V] ids, padded with 0."""
        lists, _ = split_values(raw, self._spec, self._nulls)
        return pad_lists(lists.value_lengths().to_numpy(), self._ids.find(lists.flatten()))


class BucketIds:
    """Finds the buckets of numbers.

    Args:
        buckets: by id from `FIRST_REAL_ID`, such as `[5, 9.5)`, as `number_buckets` names them.
        style: how the data set's numbers are written; None: as most of the texts are.
    """

    def __init__(self, buckets: Sequence[str], style: NumberStyle | None = None) -> None:
        self._buckets, self._style = buckets, style
        self.edges = read_edges(buckets)

    @property
    def first(self) -> str | None:
        """A bucket, as an example."""
        return self._buckets[0] if self._buckets else None

    def find(self, raw: Any) -> Ids:
        """[n] strings or nulls -> [n] ids; unknown if there is no number."""
        numbers = parse_numbers(raw.cast(pa.string()).to_pylist(), self._style)
        ids = FIRST_REAL_ID + np.searchsorted(self.edges, numbers, side="right")
        return np.where(np.isnan(numbers) | (not self._buckets), UNKNOWN_ID, ids).astype(np.int32)


def split_values(column: Any, spec: ListFieldConfig, nulls: Sequence[str]) -> tuple[Any, NDArray[np.bool_]]:
    """The first `spec.max_values` values of every row as lists of strings, and where brackets hold no list.

    Args:
        column: [n] strings, or lists, or nulls.
        nulls: texts that stand for no value; they are left out, and so are empty ones.
    """
    broken = np.zeros(len(column), np.bool_)
    if not is_list(column.type):
        column, broken = HistoryFormat(spec.separator, frozenset(nulls)).split_column(column)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = drop_null_values(column.flatten().cast(pa.string()), frozenset(nulls))
    kept = values.is_valid().to_numpy(zero_copy_only=False) & pc.fill_null(pc.not_equal(values, ""), False).to_numpy(
        zero_copy_only=False
    )
    rows = np.repeat(np.arange(len(lengths)), lengths)[kept]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    first = places < spec.max_values
    counts = np.bincount(rows[first], minlength=len(lengths))
    return _to_lists(counts, values.filter(pa.array(kept)).filter(pa.array(first))), broken


def pad_lists(lengths: NDArray[Any], ids: Ids) -> Ids:
    """[n] lengths and the [sum] ids -> [n, V] ids, padded with 0.

    Unknown ids are left out; a row that has no other is the unknown id alone.
    """
    rows = np.repeat(np.arange(len(lengths)), lengths)
    rows, ids = rows[ids != UNKNOWN_ID], ids[ids != UNKNOWN_ID]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    padded = np.full((len(lengths), int(places.max(initial=0)) + 1), PAD_ID, np.int32)
    padded[rows, places] = ids
    padded[padded[:, 0] == PAD_ID, 0] = UNKNOWN_ID
    return padded


def number_lists(
    lists: Any, rows: Rows, *, min_count: int, buckets: int | None, base: Sequence[str] = ()
) -> tuple[Ids, list[str] | None]:
    """[n, V] ids of lists of strings, and the values by id from 2: the heaviest first, then the one that comes first.

    Args:
        min_count: the least weight in training of a value for an id of its own.
        buckets: how many ids the values are hashed to; None numbers them. Hashed values are not listed.
        base: the values, by id from 2, of an earlier vocabulary, which keep their ids.
    """
    lengths, values = lists.value_lengths().to_numpy(), lists.flatten()
    if buckets is not None:
        return pad_lists(lengths, hash_values(values, buckets)), None
    encoded = values.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    total, training = (
        np.bincount(codes, np.repeat(each, lengths), minlength=len(encoded.dictionary)).astype(np.int64)
        for each in (rows.weights, rows.training)
    )
    numbering = number_codes(total, training, min_count, find_codes(base, encoded.dictionary))
    return pad_lists(lengths, numbering.ids[codes]), numbering.take_values(encoded.dictionary, base)


def number_fields(
    table: pa.Table,
    names: Sequence[str],
    rows: Rows,
    config: Config,
    account: Account,
    base: BaseVocabulary = NO_BASE,
) -> tuple[pa.Table, dict[str, list[str]]]:
    """Replace the columns of fields by what the store has of them: see this module's docstring.

    Args:
        table: with a column `category` or `field_column(name)` a name.
        config: says what the fields are.
        account: counts what is missing, and what cannot be read.
        base: what keeps its ids, buckets and scales.

    Returns:
        The table, and each numbered field's values by id from `FIRST_REAL_ID`.

    Raises:
        DataError: see `Account.add_field`.
    """
    vocabularies: dict[str, list[str]] = {}
    for name in names:
        column = name if name == "category" else field_column(name)
        place = table.column_names.index(column)
        stored, encoded, values = _encode(name, table[column].combine_chunks(), rows, config, base)
        account.add_field(name, values, config.data)
        vocabularies |= {} if encoded is None else {name: encoded}
        table = table.set_column(place, *stored)
    return table, vocabularies


def _encode(
    name: str, column: Any, rows: Rows, config: Config, base: BaseVocabulary
) -> tuple[tuple[str, Any], list[str] | None, FieldValues]:
    """A field's stored column with its name, its values by id from 2, and the account of them."""
    data, buckets = config.data, config.vocabulary.hash_buckets.get(name)
    lists, before = data.list_fields or {}, base.values(name)
    vocabulary: list[str] | None
    if name in lists:
        values, broken = split_values(column, lists[name], data.null_values)
        ids, vocabulary = number_lists(values, rows, min_count=0, buckets=buckets, base=before)
        empty = values.value_lengths().to_numpy() == 0
        account = _account(rows.kind, column, int((empty & ~broken).sum()), broken)
        return (f"{name}_ids", strip_padding(ids)), vocabulary, account
    if name in data.standardized_fields:
        numbers, account = _read_numbers(column, rows.kind, base.find_style(name))
        mean, deviation = base.find_scale(name) or measure_numbers(numbers, rows.training)
        scaled = ((numbers - mean) / deviation).astype(np.float32)
        stored = pa.array(scaled, mask=np.isnan(scaled))
        account = replace(account, mean=mean, standard_deviation=deviation)
        return (f"{name}_number", stored), None, account
    account = FieldValues(rows.kind, len(column), column.null_count)
    if name in data.numeric_fields:
        numbers, account = _read_numbers(column, rows.kind, base.find_style(name))
        ids, vocabulary = number_buckets(numbers, data.num_buckets, base=before)
    elif buckets is not None:
        ids, vocabulary = hash_values(column, buckets), None
    else:
        ids, vocabulary = number_values(column, rows.weights, before)
    if vocabulary is not None and len(ids) and ids.max() >= FIRST_REAL_ID + len(vocabulary):
        raise RuntimeError(f"{name}: an id is not in the vocabulary")
    return (f"{name}_id", pa.array(ids, pa.int32())), vocabulary, account


@dataclass(frozen=True)
class CodedField:
    """A field of samples or behaviours, of which each distinct value has a code.

    ids: [codes], or [codes, V] of a list field. values: by id from `FIRST_REAL_ID`; None if they are hashed.
    """

    ids: Ids
    values: list[str] | None
    account: FieldValues


def number_coded(
    values: Any, name: str, rows: Rows, size: int, config: Config, base: BaseVocabulary = NO_BASE
) -> CodedField:
    """The ids of a field's distinct values.

    Args:
        values: [codes] what each code stands for.
        rows: how often each code occurs; a numeric field's buckets hold about equally many in training.
        size: how many samples or behaviours there are, with a value or without.
        base: what keeps its ids and buckets.
    """
    data, buckets = config.data, config.vocabulary.hash_buckets.get(name)
    min_count, lists, before = config.vocabulary.min_count, data.list_fields or {}, base.values(name)
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    missing = size - int(rows.weights.sum())
    account = FieldValues(rows.kind, size, missing)
    if name in lists:
        value_lists, _ = split_values(values, lists[name], data.null_values)
        return CodedField(*number_lists(value_lists, rows, min_count=min_count, buckets=buckets, base=before), account)
    if name in data.numeric_fields:
        numbers, of_codes = _read_numbers(values, rows.kind, base.find_style(name))
        unread = int(rows.weights[np.isnan(numbers)].sum())
        account = FieldValues(rows.kind, size, missing, unread, of_codes.example, style=of_codes.style)
        return CodedField(*number_buckets(numbers, data.num_buckets, rows.training, before), account)
    if buckets is not None:
        return CodedField(hash_values(values, buckets), None, account)
    numbering = number_codes(rows.weights, rows.training, min_count, find_codes(before, values))
    return CodedField(numbering.ids, numbering.take_values(values, before), account)


def standardize(texts: Any, mean: float, deviation: float, style: NumberStyle | None = None) -> NDArray[np.float32]:
    """[n] texts -> [n, 2] as `read_field` has them: the scaled number (0 if there is none), and 1 if there is none.

    Args:
        style: how the data set's numbers are written; None: as most of the texts are.
    """
    numbers = (parse_numbers(texts.to_pylist(), style) - mean) / deviation
    missing = np.isnan(numbers)
    return np.stack([np.where(missing, 0.0, numbers), missing], axis=1).astype(np.float32)


def add_hashed_rows(items: pa.Table, config: Config) -> pa.Table:
    """The table of items with a column `item_row`, the hash of the raw id, if `vocabulary.hash_buckets` has `item`."""
    buckets = config.vocabulary.hash_buckets.get("item")
    if buckets is None:
        return items
    return items.append_column("item_row", pa.array(hash_values(items["item"].combine_chunks(), buckets)))


def add_counts(items: pa.Table, training_events: NDArray[np.int64], base: BaseVocabulary) -> pa.Table:
    """The table of items with each item's training events, and with a base also the most that it had before."""
    items = items.append_column("training_events", pa.array(training_events))
    if base.items is None:
        return items
    return items.append_column("training_events_before", pa.array(base.count_events(items.num_rows)))


def measure_numbers(numbers: NDArray[np.float64], training: NDArray[np.int64]) -> tuple[float, float]:
    """Mean and standard deviation of the numbers of training rows, each once; of all rows if training has none.

    The deviation is 1 if all are equal.
    """
    present = np.isfinite(numbers)
    known = numbers[present & (training > 0)]
    known = known if len(known) else numbers[present]
    if not len(known):
        return 0.0, 1.0
    return float(known.mean()), float(known.std()) or 1.0


def strip_padding(ids: Ids) -> Any:
    """[n, V] ids, padded on the right -> lists."""
    is_value = ids != PAD_ID
    return _to_lists(is_value.sum(axis=1), pa.array(ids[is_value], pa.int32()))


def read_field(table: pa.Table, name: str, hidden: int) -> NDArray[Any]:
    """A field by item or user id, `hidden` reserved ids first.

    Returns:
        [n] int32 ids, [n, V] int32 ids padded with 0, or [n, 2] float32: a number (0 if there is none) and 1 if there
        is none. Padding has padding's or zeros, the unknown item or user the unknown value or no number.
    """
    if f"{name}_id" in table.column_names:
        return np.concatenate([np.arange(hidden, dtype=np.int32), table[f"{name}_id"].to_numpy()])
    if f"{name}_ids" in table.column_names:
        lists = table[f"{name}_ids"].combine_chunks()
        ids = pad_lists(lists.value_lengths().to_numpy(), lists.flatten().to_numpy())
        reserved = np.zeros((hidden, ids.shape[1]), np.int32)
        reserved[:, 0] = np.arange(hidden)
        return np.concatenate([reserved, ids])
    numbers = table[f"{name}_number"].combine_chunks()
    missing = numbers.is_null().to_numpy(zero_copy_only=False)
    columns = [pc.fill_null(numbers, 0.0).to_numpy(), missing]
    reserved = np.array([[0, place == UNKNOWN_ID] for place in range(hidden)])
    return np.concatenate([reserved, np.stack(columns, axis=1)]).astype(np.float32)


def read_vectors(table: pa.Table, name: str, hidden: int) -> NDArray[np.float32]:
    """[n, D] given vectors by item id; zeros for the reserved ids and for an item that has none."""
    column = table[f"{name}_vector"].combine_chunks()
    width = column.type.list_size
    vectors = np.zeros((hidden + len(column), width), np.float32)
    has_vector = column.is_valid().to_numpy(zero_copy_only=False)
    vectors[hidden:][has_vector] = column.flatten().to_numpy().reshape(-1, width)
    return vectors


def _read_numbers(column: Any, kind: str, style: NumberStyle | None = None) -> tuple[NDArray[np.float64], FieldValues]:
    texts = column.to_pylist()
    style = find_style(texts) if style is None else style
    numbers = parse_numbers(texts, style)
    unread = np.isnan(numbers) & column.is_valid().to_numpy(zero_copy_only=False)
    return numbers, replace(_account(kind, column, column.null_count, unread), style=style)


def _account(kind: str, column: Any, missing: int, unread: NDArray[np.bool_]) -> FieldValues:
    places = np.flatnonzero(unread)
    example = str(column[int(places[0])].as_py())[:_EXAMPLE_LENGTH] if len(places) else None
    return FieldValues(kind, len(column), missing, len(places), example)


def _to_lists(lengths: NDArray[Any], values: Any) -> Any:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
