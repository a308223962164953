"""Columns of any type -> typed values, and where a row has none, with the reason.

These are plain pyarrow: a chunk lies in memory as Arrow, every value carries a reason beside it, and a query of an
engine per chunk and column would cost more than the work itself.

An id is one text wherever it stands (a log, a table of items, a history, the rows of `predict`): text as it is, whole
numbers in decimals, whether their type is an integer, a decimal or a double that is whole (as a join with missing rows
makes them), and bytes that are UTF-8.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.logs.records import NullValues, drop_null_values, find_null_values, view_texts
from din_train.logs.rejects import INVALID_UTF8

Mask = NDArray[np.bool_]
Reasons = dict[str, Mask]  # reason -> [n] the rows that cannot be used; of several reasons a row has the first

NUL = "NUL character"

_STRING = (pa.types.is_string, pa.types.is_large_string)
_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
_NUMBER = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
_TIME = (
    (*_STRING, *_BINARY, *_NUMBER, pa.types.is_timestamp, pa.types.is_date),
    "numbers, timestamps, dates, or text",
)
# What a column is read as -> checks of which one must hold, and what to tell.
_KINDS: Mapping[str, tuple[tuple[Callable[[Any], bool], ...], str]] = {
    "id": ((*_STRING, *_BINARY, *_NUMBER), "text or whole numbers"),
    "time": _TIME,
    "times": _TIME,
    "label": ((*_STRING, *_BINARY, *_NUMBER, pa.types.is_boolean), "numbers, true and false, or text"),
    "field": ((*_STRING, *_BINARY, *_NUMBER, pa.types.is_boolean), "text, numbers, or true and false"),
    "weight": ((*_STRING, *_NUMBER), "numbers"),
    "history": ((*_STRING, *_BINARY, *_NUMBER), "ids joined by a separator, or a list of them"),
}
# Whole numbers up to here are exact in a float of so many bits.
EXACT_IN_FLOAT = {16: 2**11, 32: 2**24, 64: 2**53}
_PLAIN_NUMBER = r"^ *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})? *$"


def describe_type_problem(kind: str, column: pa.Field) -> str | None:
    """What is wrong with a column's type; None if it can be read.

    Args:
        kind: `id`, `time`, `label`, `weight`, `field`, `list` (a field of several values), `times` or `history`.
    """
    found = column.type
    if kind in ("list", "times", "history") and is_list(found):
        found = found.value_type
    found = found.value_type if pa.types.is_dictionary(found) else found
    checks, expected = _KINDS["field" if kind == "list" else kind]
    if any(check(found) for check in checks):
        return None
    return f"column '{column.name}' is of type {column.type}, expected {expected}; convert the column, or name another"


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def flatten(column: Any) -> Any:
    """A column in one piece, without a dictionary."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def to_mask(column: Any) -> Mask:
    """A boolean column as an array of its own; nulls are False."""
    return np.array(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)


def find_nulls(column: Any) -> Mask:
    """[n] where a column is null."""
    return to_mask(pc.is_null(column)) if column.null_count else np.zeros(len(column), bool)


def _find_nul_characters(texts: Any) -> Mask:
    content = view_texts(texts)[1]
    if not content.size or content.min():
        return np.zeros(len(texts), bool)
    return to_mask(pc.match_substring(texts, "\0"))


def take_text(column: Any) -> tuple[Any, Mask]:
    """A column as strings (a float that is whole as a whole number, NaN as null), and where bytes are not UTF-8.

    A float that may be the rounding of several whole numbers keeps a point or an exponent: it is no id.
    """
    column = flatten(column)
    if pa.types.is_floating(column.type):
        column = _write_floats(column)
    if any(check(column.type) for check in _BINARY):
        column = column.cast(pa.binary())
        texts = pa.Array.from_buffers(pa.string(), len(column), column.buffers(), column.null_count, column.offset)
    else:
        texts = column.cast(pa.string())
    lengths, content = view_texts(texts)
    if not content.size or (lengths.min() >= 0 and content.max() < 0x80):
        return texts, np.zeros(len(texts), bool)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        values = texts.cast(pa.binary()).to_pylist()
        decoded = [None if value is None else value.decode(errors="replace") for value in values]
        broken = [text is not None and text.encode() != value for text, value in zip(decoded, values, strict=True)]
        return pa.array(decoded, pa.string()), np.array(broken, bool)
    return texts, np.zeros(len(texts), bool)


def _write_floats(column: Any) -> Any:
    bits = column.type.bit_width
    column = column.cast(pa.float32()) if bits == 16 else column
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), EXACT_IN_FLOAT[bits]))
    numbers = pc.if_else(whole, column, pa.scalar(0, column.type)).cast(pa.int64()).cast(pa.string())
    others = pc.replace_substring_regex(column.cast(pa.string()), r"^(-?[0-9]+)$", r"\1.0")
    return pc.if_else(whole, numbers, others)


def shorten_decimals(column: Any) -> Any:
    """A column of ids, in which decimals that are whole are written as whole numbers."""
    if pa.types.is_decimal(column.type) and column.type.scale > 0:
        return pc.replace_substring_regex(column.cast(pa.string()), r"\.0*$", "")
    return column


def take_ids(column: Any, role: str, nulls: NullValues) -> tuple[Any, Reasons]:
    """Ids as text, and where a row has none.

    Args:
        role: for the reasons: `user`, `item`.
        nulls: `data.null_values`.
    """
    column = flatten(column)
    is_inexact = pa.types.is_floating(column.type) or (pa.types.is_decimal(column.type) and column.type.scale > 0)
    texts, broken = take_text(shorten_decimals(column))
    reasons = {
        f"no {role}": find_null_values(texts, nulls) | find_nulls(texts),
        f"empty {role}": (view_texts(texts)[0] == 0) & ~find_nulls(texts),
        INVALID_UTF8: broken,
        NUL: _find_nul_characters(texts),
    }
    if is_inexact:
        whole = to_mask(pc.match_substring_regex(texts, "^-?[0-9]+$"))
        reasons[f"{role} not a whole number"] = ~whole & ~reasons[f"no {role}"]
    return texts, reasons


def take_field(column: Any, nulls: NullValues) -> tuple[Any, Reasons]:
    """A field's values as text, null where there is none, and where bytes are no text."""
    texts, broken = take_text(column)
    texts = drop_null_values(texts, nulls)
    return texts, {INVALID_UTF8: broken, NUL: _find_nul_characters(texts)}


def take_list(column: Any, separator: str, nulls: NullValues) -> tuple[Any, Reasons]:
    """A field of several values as lists of texts without nulls; no list (null) where there is no value.

    Args:
        separator: of values in a text; text in brackets is read as a list in JSON, Python and NumPy writing.
        nulls: `data.null_values`: neither a list nor a value of one.
    """
    from din_train.logs.history_text import HistoryFormat

    column, broken = flatten(column), np.zeros(len(column), bool)
    reasons: Reasons = {}
    if not is_list(column.type):
        texts, reasons = take_field(column, nulls)
        column, broken = HistoryFormat(separator, nulls).split_column(texts)
        reasons["field in brackets that is no list"] = broken
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False), np.int64)
    values, of_values = take_field(pc.list_flatten(column), nulls)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    for reason, mask in of_values.items():
        reasons[reason] = reasons.get(reason, broken) | (np.bincount(rows[mask], minlength=len(lengths)) > 0)
    kept = to_mask(values.is_valid())
    counts = np.bincount(rows[kept], minlength=len(lengths))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32(), mask=np.append(counts == 0, False))
    return pa.ListArray.from_arrays(offsets, values.filter(pa.array(kept))), reasons


def take_weights(column: Any, nulls: NullValues) -> tuple[Any, Reasons]:
    """float32 weights, and where a row has none: a number of at least 0."""
    texts = drop_null_values(pc.utf8_trim(take_text(column)[0], " "), nulls)
    is_number = to_mask(pc.match_substring_regex(texts, _PLAIN_NUMBER))
    numbers = pc.if_else(pa.array(is_number), texts, "0").cast(pa.float64()).cast(pa.float32(), safe=False)
    values = numbers.to_numpy()
    missing = to_mask(pc.is_null(texts))
    reasons = {
        "no weight": missing,
        "weight not a number": ~is_number & ~missing,
        "negative weight": values < 0,
        "weight too large": ~np.isfinite(values),
    }
    return numbers, reasons
