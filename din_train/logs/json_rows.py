"""JSON as rows: an object a line, or one array of objects.

A value becomes its text (5 and 5.0 are the same one, and a whole number keeps all its digits), a list a list of texts,
an object its JSON; null is no value.
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
from din_train.logs.lines import HEAD_BYTES, MAX_LINE_BYTES, read_blocks, split_lines
from din_train.logs.log import Progress
from din_train.logs.records import parse_json_object
from din_train.logs.rejects import BadLine
from din_train.printable import make_printable

_CHUNK_ROWS = 5000
_EXACT_IN_FLOAT = 2.0**53
_MOST_DIGITS = 60  # of a number with an exponent that is written out

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

        Raises:
            DataError: if the file cannot be read, or none of them is an object.
        """
        are_lists: dict[str, list[bool]] = {}
        num_bytes, found = 0, False
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
        if not found:
            raise DataError(f"{self.path}: begins like JSON, but has no JSON object; check the file")
        texts = pa.string()
        return pa.schema(
            [(key, pa.list_(texts) if 2 * sum(are) > len(are) else texts) for key, are in are_lists.items()]
        )

    def read_rows(self, schema: pa.Schema, progress: Progress) -> Iterator[Chunk]:
        """The objects' values of the keys of `schema`; an object that cannot be read is broken.

        Raises:
            DataError: if the file cannot be read to its end.
        """
        columns: list[list[Any]] = [[] for _ in schema]
        lines: list[int] = []
        texts: list[bytes] = []
        broken: dict[int, str] = {}
        keys, are_lists = schema.names, [pa.types.is_list(each.type) for each in schema]
        nothing = [None] * len(keys)

        for line, text in self._read_records(progress):
            try:
                values = _take_values(text, keys, are_lists)
            except BadLine as bad:
                broken[len(lines)] = bad.reason
                values = nothing
            for column, value in zip(columns, values, strict=True):
                column.append(value)
            lines.append(line)
            texts.append(text)
            if len(lines) == _CHUNK_ROWS:
                yield _build_chunk(columns, schema, lines, broken, texts)
                columns = [[] for _ in schema]
                lines, texts, broken = [], [], {}
        if lines:
            yield _build_chunk(columns, schema, lines, broken, texts)

    def _read_records(self, progress: Progress) -> Iterator[Record]:
        if self.is_array:
            yield from self._read_elements(progress)
            return
        for first, block in read_blocks(self.path, progress, self.encoding):
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


def _take_values(text: bytes, keys: Sequence[str], are_lists: Sequence[bool]) -> list[Any]:
    """The values of an object, as texts and lists of texts.

    Raises:
        BadLine: if it is none, has a key twice, or no list where one must be.
    """
    record = parse_json_object(text, keys)
    try:
        return [_to_texts(record.get(key), key, is_list) for key, is_list in zip(keys, are_lists, strict=True)]
    except _InexactError:
        exact = _read_digits(text)
    values = [_restore_digits(record.get(key), exact.get(key)) for key in keys]
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
