"""JSON as rows: an object a line, or one array of objects.

A value becomes its text (5 and 5.0 are the same one, and a whole number keeps all its digits), a list a list of texts,
an object its JSON; null is no value. What an object holds is a column too, such as `user.id`. If columns of a list of
objects are wanted (`events.ts`), each of these objects is a row, with the values of the object around it.
"""

import codecs
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from din_train.errors import DataError
from din_train.logs.chunks import Chunk
from din_train.logs.lines import HEAD_BYTES, MAX_LINE_BYTES, Piece, read_blocks, split_lines
from din_train.logs.log import Progress
from din_train.logs.records import parse_json_object
from din_train.logs.rejects import BadLine
from din_train.printable import make_printable

_CHUNK_ROWS = 5000
_EXACT_IN_FLOAT = 2.0**53
_MOST_DIGITS = 60  # of a number with an exponent that is written out
_MOST_INSIDE, _DEEPEST = 50, 4  # columns inside an object, and objects in each other
_INSIDE, _LIST = b"inside", b"list"  # of a field's metadata: the key that it is inside of

# Line in which an object begins, and its bytes.
Record = tuple[int, bytes]


@dataclass(frozen=True)
class JsonText:
    """A file of JSON objects.

    is_array: whether they stand in one array; else there is one a line.
    """

    path: Path
    encoding: str
    is_array: bool

    def find_schema(self) -> pa.Schema:
        """Every key of the first objects: text, or lists of texts if most of its values are lists.

        A column inside a list of objects has the list's name in its metadata.

        Raises:
            DataError: if the file cannot be read, or none of them is an object.
        """
        are_lists: dict[str, list[bool]] = {}
        inside: dict[str, dict[str, list[bool]]] = {}  # of an object or a list of objects
        num_bytes, found = 0, False
        lists: set[str] = set()
        for _, text in self._read_records(lambda _bytes: None):
            num_bytes += len(text)
            if num_bytes > HEAD_BYTES:
                break
            try:
                record = parse_json_object(text)
            except BadLine:
                continue
            found = True
            for key, value in record.items():
                are_lists.setdefault(key, []).extend([] if value is None else [isinstance(value, list)])
                lists |= {key} if isinstance(value, list) else set()
                for each in value if isinstance(value, list) else [value]:
                    for name, inner in _walk(each, f"{key}."):
                        of_name = inside.setdefault(key, {}).setdefault(name, [])
                        of_name.extend([] if inner is None else [isinstance(inner, list)])
        if not found:
            raise DataError(f"{self.path}: begins like JSON, but has no JSON object; check the file")
        fields = [pa.field(key, _choose_type(are)) for key, are in are_lists.items()]
        for key, names in inside.items():
            if len(names) > _MOST_INSIDE:
                continue  # a dictionary, whose keys are values
            metadata = {_INSIDE: key} | ({_LIST: key} if key in lists else {})
            fields += [
                pa.field(n, _choose_type(are), metadata=metadata) for n, are in names.items() if n not in are_lists
            ]
        return pa.schema(fields)

    def read_rows(self, schema: pa.Schema, progress: Progress, piece: Piece | None = None) -> Iterator[Chunk]:
        """The objects' values of the keys of `schema`; an object that cannot be read is broken.

        Args:
            piece: of JSON lines; if given, only its objects are read.

        Raises:
            DataError: if the file cannot be read to its end, or columns of two lists of objects are wanted.
        """
        columns: list[list[Any]] = [[] for _ in schema]
        lines: list[int] = []
        texts: list[bytes] = []
        broken: dict[int, str] = {}
        keys, are_lists = schema.names, [pa.types.is_list(each.type) for each in schema]
        nothing = [None] * len(keys)
        lists = sorted({name for each in schema if (name := list_of(each)) is not None})
        if len(lists) > 1:
            raise DataError(
                f"{self.path}: columns of several lists of objects are named ({', '.join(lists)}); "
                "name those of one, whose objects are the rows"
            )
        rows_key = lists[0] if lists else None
        outer = list(dict.fromkeys(_find_metadata(each, _INSIDE) or each.name for each in schema))

        for line, text in self._read_records(progress, piece):
            for values, own in _take_rows(text, outer, keys, are_lists, rows_key):
                if isinstance(values, str):
                    broken[len(lines)] = values
                    values = nothing
                for column, value in zip(columns, values, strict=True):
                    column.append(value)
                lines.append(line)
                texts.append(own)
                if len(lines) == _CHUNK_ROWS:
                    yield _build_chunk(columns, schema, lines, broken, texts)
                    columns = [[] for _ in schema]
                    lines, texts, broken = [], [], {}
        if lines:
            yield _build_chunk(columns, schema, lines, broken, texts)

    def _read_records(self, progress: Progress, piece: Piece | None = None) -> Iterator[Record]:
        if self.is_array:
            yield from self._read_elements(progress)
            return
        for first, block in read_blocks(self.path, progress, self.encoding, piece=piece):
            for line, text in enumerate(split_lines(block), first):
                if text.strip():
                    yield line, text

    def _read_elements(self, progress: Progress) -> Iterator[Record]:
        """The elements of the array, each as its text.

        Raises:
            DataError: if it is no array, or does not end.
        """
        decode, scan = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode, json.JSONDecoder().raw_decode
        text, place, line, expected = "", 0, 1, "["
        blocks = read_blocks(self.path, progress, self.encoding, whole_lines=False)
        for block in chain((content for _, content in blocks), [None]):
            text, place = text[place:] + ("" if block is None else decode(block)), 0
            while True:
                end = _skip_blanks(text, place)
                line, place = line + text.count("\n", place, end), end
                if place == len(text):
                    break
                sign = text[place]
                if expected == "element" or (expected == "element or ]" and sign != "]"):
                    if (after := _find_end(scan, text, place, is_whole=block is None)) is None:
                        if block is not None and len(text) - place <= MAX_LINE_BYTES:
                            break
                        raise DataError(f"{self.path}:{line}: not JSON, expected an array of objects; check the file")
                    yield line, text[place:after].encode(errors="surrogateescape")
                    line, place, expected = line + text.count("\n", place, after), after, ", or ]"
                elif sign in expected and sign in "[,]":
                    expected, place = {"[": "element or ]", ",": "element", "]": "end"}[sign], place + 1
                else:
                    raise DataError(
                        f"{self.path}:{line}: '{make_printable(sign)}' in its JSON array, expected {expected}"
                    )
        if expected != "end":
            raise DataError(f"{self.path}:{line}: its JSON array has no end; fetch the file again")


def _build_chunk(
    columns: Sequence[list[Any]], schema: pa.Schema, lines: list[int], broken: dict[int, str], texts: list[bytes]
) -> Chunk:
    arrays = [pa.array(column, each.type) for column, each in zip(columns, schema, strict=True)]
    raw = pa.chunked_array([pa.array(texts, pa.binary())])
    return Chunk(pa.table(arrays, schema=schema), np.array(lines, np.int64), broken, raw)


def _skip_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _find_end(scan: Callable[[str, int], tuple[Any, int]], text: str, place: int, *, is_whole: bool) -> int | None:
    """Where the JSON value at `place` ends; None if it does not, or may go on after a text that is not whole."""
    try:
        _, end = scan(text, place)
    except (ValueError, RecursionError):
        return None
    return end if is_whole or end < len(text) else None


def list_of(field: pa.Field) -> str | None:
    """The list of objects that a column is inside of; None if it is in none."""
    return _find_metadata(field, _LIST)


def _find_metadata(field: pa.Field, key: bytes) -> str | None:
    value = (field.metadata or {}).get(key)
    return None if value is None else str(value, "utf-8")


def _walk(value: object, prefix: str) -> Iterator[tuple[str, Any]]:
    """The values inside an object and the objects in it, by their names with dots; none if it is no object."""
    if isinstance(value, dict) and prefix.count(".") <= _DEEPEST:
        for key, inner in value.items():
            if isinstance(inner, dict):
                yield from _walk(inner, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", inner


def _choose_type(are_lists: Sequence[bool]) -> pa.DataType:
    return pa.list_(pa.string()) if 2 * sum(are_lists) > len(are_lists) else pa.string()


def _take_rows(
    text: bytes, outer: Sequence[str], keys: Sequence[str], are_lists: Sequence[bool], rows_key: str | None
) -> Iterator[tuple[list[Any] | str, bytes]]:
    """The values of each row of an object, or why it is broken; and its text.

    Args:
        outer: the keys of the object itself that hold what is wanted.
        rows_key: the list whose objects are rows; None if the object itself is the row.
    """
    try:
        record = parse_json_object(text, outer)
        rows = [record] if rows_key is None else record.get(rows_key)
        rows = [] if rows is None else rows
        if not isinstance(rows, list):
            raise BadLine(f"{rows_key} not a list")
    except BadLine as bad:
        yield bad.reason, text
        return
    exact: dict[str, Any] = {}
    for number, row in enumerate(rows):
        own = text if rows_key is None else orjson.dumps(row)
        try:
            if not isinstance(row, dict):
                raise BadLine(f"no object in {rows_key}")
            whole = record if rows_key is None else {**record, rows_key: row}
            try:
                values = _take_values(whole, keys, are_lists)
            except _InexactError:
                exact = exact or _read_digits(text)
                inner = {} if rows_key is None else {rows_key: exact[rows_key][number]}
                values = _take_values(whole, keys, are_lists, exact | inner)
            yield values, own
        except BadLine as bad:
            yield bad.reason, own


def _take_values(
    record: dict[str, Any], keys: Sequence[str], are_lists: Sequence[bool], exact: dict[str, Any] | None = None
) -> list[Any]:
    """The values of an object, as texts and lists of texts.

    Args:
        exact: the object with its numbers as they are written, for those that are no exact floats.

    Raises:
        BadLine: if it has no list where one must be.
        _InexactError: if there is such a number, and no `exact`.
    """
    values = [_find_value(record, key) for key in keys]
    if exact is not None:
        values = [_restore_digits(value, _find_value(exact, key)) for value, key in zip(values, keys, strict=True)]
    return [_to_texts(*each) for each in zip(values, keys, are_lists, strict=True)]


class _InexactError(Exception):
    """A number is too large for a float, as which orjson reads whole numbers beyond 64 bits."""


class _Digits(str):
    """A number as it is written in JSON."""

    __slots__ = ()


def _read_digits(text: bytes) -> dict[str, Any]:
    try:
        exact: dict[str, Any] = json.loads(text, parse_int=_Digits, parse_float=_Digits)
    except RecursionError:
        raise BadLine("nested too deeply") from None
    return exact


def _restore_digits(value: Any, exact: Any) -> Any:
    """The value, numbers that are floats as they are written."""
    if isinstance(value, list):
        return [_restore_digits(*each) for each in zip(value, exact, strict=True)]
    return exact if isinstance(value, float) else value


def _to_texts(value: Any, key: str, is_list: bool) -> str | list[str | None] | None:
    if not is_list or value is None:
        return _to_text(value)
    if not isinstance(value, list):
        raise BadLine(f"{key} not a list")
    return [_to_text(each) for each in value]


def _find_value(record: dict[str, Any], name: str) -> Any:
    """What a name, with dots or without, stands for; None if it is not there."""
    if name in record or "." not in name:
        return record.get(name)
    value: Any = record
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _to_text(value: object) -> str | None:
    if isinstance(value, _Digits):
        return _write_number(value)
    if isinstance(value, str):
        if "\0" in value:
            raise BadLine("NUL character")
        return value
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        if abs(value) >= _EXACT_IN_FLOAT:
            raise _InexactError
        return str(int(value))
    return orjson.dumps(value).decode()


def _write_number(digits: str) -> str:
    """A whole number in decimals, unless it has very many; any other number as a float."""
    number = Decimal(digits)
    if number == number.to_integral_value() and number.adjusted() < _MOST_DIGITS:
        return str(int(number))
    return orjson.dumps(float(digits)).decode()
