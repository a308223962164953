"""One line of a log -> an object, an id, a timestamp; each says why it cannot."""

import ast
import json
import warnings
from collections.abc import Sequence, Set
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.logs.rejects import BadLine

MAX_TIMESTAMP = 2**63 - 1

# `data.null_values`: texts that stand for no value.
NullValues = Set[str]


def parse_json_object(line: bytes, keys: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON object.

    Args:
        keys: those that are needed; one that is given twice leaves no telling which value is meant.

    Raises:
        BadLine: where the line is not one, or has one of `keys` twice.
    """
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        decode_line(line)
        raise BadLine("not JSON") from None
    if not isinstance(record, dict):
        raise BadLine("not a JSON object")
    if any(line.count(b'"%b"' % key.encode()) != 1 for key in keys):  # in a text, missing, or given twice
        _check_keys([key for key, _ in _load_pairs(line)], keys)
    return record


class _Pairs(list[tuple[str, Any]]):
    """An object's keys with their values, those given twice as well."""


def _load_pairs(line: bytes) -> _Pairs:
    try:
        pairs: _Pairs = json.loads(line, object_pairs_hook=_Pairs)
    except RecursionError:  # orjson goes deeper
        raise BadLine("nested too deeply") from None
    return pairs


def _check_keys(found: Sequence[object], keys: Sequence[str]) -> None:
    for key in keys:
        if found.count(key) > 1:
            raise BadLine(f"{key} given twice")


def parse_literal_object(line: bytes, keys: Sequence[str] = ()) -> dict[Any, Any]:
    """A Python dict literal, as `repr` writes it.

    Args:
        keys: those that are needed; one that is given twice leaves no telling which value is meant.

    Raises:
        BadLine: where the line is not one, or has one of `keys` twice.
    """
    text = decode_line(line)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" and the like: the text's own, nothing to do about it
            expression = ast.parse(text.strip(), mode="eval").body
            record = ast.literal_eval(expression)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise BadLine("not a Python literal") from None
    if not isinstance(record, dict) or not isinstance(expression, ast.Dict):
        raise BadLine("not a Python dict")
    _check_keys([key.value for key in expression.keys if isinstance(key, ast.Constant)], keys)
    return record


def decode_line(line: bytes) -> str:
    """The text of a line.

    Raises:
        BadLine: where it is not UTF-8.
    """
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise BadLine("invalid UTF-8") from None


def take_id(record: dict[Any, Any], key: str, nulls: NullValues = frozenset()) -> str:
    """A non-empty string, kept exactly: `007` is not `7`.

    Args:
        nulls: texts that stand for no value.

    Raises:
        BadLine: where it is missing, empty or no string.
    """
    value = record.get(key)
    if type(value) is str and value and "\0" not in value and value not in nulls:
        return value
    if value is None or (isinstance(value, str) and value in nulls):
        raise BadLine(f"no {key}")
    if not isinstance(value, str):
        raise BadLine(f"{key} not a string")
    raise BadLine("NUL character" if value else f"empty {key}")


def check_timestamp(value: int) -> int:
    """The value itself.

    Raises:
        BadLine: where it is negative or beyond 64 bits.
    """
    if value < 0:
        raise BadLine("negative timestamp")
    if value > MAX_TIMESTAMP:
        raise BadLine("timestamp too large")
    return value


def view_texts(column: Any) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The bytes of a string column's values, without a copy: [n] how many each has, and [N] those of all.

    A null may have bytes too.
    """
    if not len(column):
        return np.zeros(0, np.int32), np.zeros(0, np.uint8)
    _, offsets, content = column.buffers()
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset)
    of_all = np.frombuffer(content, np.uint8)[ends[0] : ends[-1]] if content else np.zeros(0, np.uint8)
    return np.diff(ends), of_all


def find_null_values(column: Any, nulls: NullValues) -> NDArray[np.bool_]:
    """[n] where a string column holds one of the texts; False where it is null."""
    lengths, content = view_texts(column)
    low, high = (int(content.min()), int(content.max())) if content.size else (0, -1)
    possible = [text for text in sorted(nulls) if all(low <= sign <= high for sign in text.encode())]
    found = np.zeros(len(column), bool)
    rows = np.flatnonzero(lengths <= max((len(text.encode()) for text in possible), default=-1))
    if rows.size:
        texts = column if rows.size == len(column) else column.take(pa.array(rows))
        found[rows] = pc.is_in(texts, value_set=pa.array(possible, pa.string())).to_numpy(zero_copy_only=False)
    return found


def drop_null_values(column: Any, nulls: NullValues) -> Any:
    """A string column with null for an empty text and for each of the texts."""
    nothing = (view_texts(column)[0] == 0) | find_null_values(column, nulls)
    return pc.if_else(pa.array(nothing), pa.scalar(None, pa.string()), column) if nothing.any() else column
