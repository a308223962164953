"""What a client sent, checked and turned into the arrays that the ONNX model reads.

Any input that cannot be used raises `BadRequest` with one line: which input, what it has and what was expected.
"""

import difflib
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.printable import make_printable, shorten

ROWS, ROWS_OR_ONE = "rows", "rows or 1"

# After the year 5000: a time in milliseconds.
_LATEST_TIME = 100_000_000_000


class BadRequest(ValueError):  # noqa: N818 - named as in HTTP
    """The client's request cannot be answered; the text is one printable line."""

    def __init__(self, line: str) -> None:
        super().__init__(make_printable(shorten(line, 500)))


@dataclass(frozen=True)
class ServedInput:
    """One input of the model, as `export.json` describes it.

    shape: names of the dimensions. hash_buckets: n of texts that are hashed before the model reads them.
    """

    name: str
    datatype: str
    shape: tuple[str, ...]
    hash_buckets: int | None = None

    @property
    def sent_as(self) -> str:
        """The datatype in which clients send it: hashed texts are sent as texts, and hashed here."""
        return "BYTES" if self.hash_buckets else self.datatype


@dataclass(frozen=True)
class SentTensor:
    """data: flat in row-major order, nested as its shape is, or V2's binary form; texts may be UTF-8 bytes."""

    name: Any
    datatype: Any
    shape: Any
    data: Any


@dataclass(frozen=True)
class Limits:
    """What one request may hold. rows: candidates. positions: behaviours of a history, or values of a field."""

    rows: int
    positions: int


def read_tensors(request: Any, binary: bytes = b"") -> list[SentTensor]:
    """The tensors of a request's JSON object: {"inputs": [{"name", "datatype", "shape", "data"}, ...]}.

    binary: what comes after the JSON: in turn the data of those that have "parameters": {"binary_data_size": n}.
    """
    inputs = request.get("inputs") if isinstance(request, dict) else None
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise BadRequest('the body has no list "inputs" of objects with name, datatype, shape and data')
    tensors, at = [], 0
    for number, each in enumerate(inputs):
        parameters = each.get("parameters")
        if "data" not in each and isinstance(parameters, dict) and "binary_data_size" in parameters:
            size = parameters["binary_data_size"]
            if type(size) is not int or not 0 <= size <= len(binary) - at:
                raise BadRequest(
                    f"inputs[{number}]: binary_data_size is {size!r}, and {len(binary) - at:,} bytes are left"
                )
            each = {**each, "data": binary[at : at + size]}
            at += size
        if missing := [key for key in ("name", "datatype", "shape", "data") if key not in each]:
            raise BadRequest(f"inputs[{number}] has no {', '.join(missing)}")
        if not isinstance(each["datatype"], str):
            raise BadRequest(f"inputs[{number}]: datatype is {each['datatype']!r}, expected a text such as BYTES")
        tensors.append(SentTensor(each["name"], each["datatype"], each["shape"], each["data"]))
    if at != len(binary):
        raise BadRequest(f"{len(binary) - at:,} bytes after the JSON belong to no input")
    return tensors


def build_arrays(
    sent: Iterable[SentTensor], inputs: Mapping[str, ServedInput], limits: Limits
) -> dict[str, NDArray[Any]]:
    """By name of input: [M], [M, T] or [M, T, V]; M is 1 where one row stands for all candidates.

    Texts are of dtype object, INT64 of int64, FP64 of float64.
    """
    by_name: dict[str, SentTensor] = {}
    for tensor in sent:
        if not isinstance(tensor.name, str) or tensor.name not in inputs:
            raise BadRequest(f"no input is called {tensor.name!r}{_suggest(tensor.name, inputs)}")
        if tensor.name in by_name:
            raise BadRequest(f"{tensor.name}: sent twice")
        by_name[tensor.name] = tensor
    if "item_hash" in inputs and "item_hash" not in by_name and "item" in by_name:
        by_name["item_hash"] = SentTensor(  # the hash of the candidate's own id
            "item_hash", inputs["item_hash"].sent_as, by_name["item"].shape, by_name["item"].data
        )
    if missing := [name for name in inputs if name not in by_name]:
        raise BadRequest(f"missing: {', '.join(missing)}; all of {', '.join(inputs)} are needed")
    shapes = _check_shapes(by_name, inputs, limits)
    return {name: _build_array(by_name[name], inputs[name], shapes[name]) for name in inputs}


def hash_text(text: str, buckets: int) -> int:
    """The id of a text that no vocabulary lists: 0 for no text, else 2 + SHA-256's first 8 bytes mod n."""
    return 2 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % buckets if text else 0


def _suggest(name: Any, inputs: Mapping[str, ServedInput]) -> str:
    close = difflib.get_close_matches(str(name)[:100], inputs, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; the inputs are {', '.join(inputs)}"


def _check_shapes(
    by_name: Mapping[str, SentTensor], inputs: Mapping[str, ServedInput], limits: Limits
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, expected in inputs.items():
        sent = by_name[name]
        if sent.datatype not in (expected.datatype, expected.sent_as):
            raise BadRequest(f"{name}: datatype is {sent.datatype!r}, expected {expected.sent_as}")
        shape = sent.shape
        if not isinstance(shape, Sequence) or not all(type(size) is int and size >= 0 for size in shape):
            raise BadRequest(f"{name}: shape is {shape!r}, expected a list of whole numbers from 0")
        if len(shape) != len(expected.shape):
            raise BadRequest(f"{name}: shape is {list(shape)}, expected [{', '.join(expected.shape)}]")
        shapes[name] = tuple(shape)
    rows = max((shapes[name][0] for name, each in inputs.items() if each.shape[0] == ROWS), default=1)
    if not 1 <= rows <= limits.rows:
        raise BadRequest(f"{rows:,} rows; a request may have 1 to {limits.rows:,}, so send several")
    positions: dict[str, tuple[str, int]] = {}
    for name, each in inputs.items():
        first, *others = shapes[name]
        if first != rows and not (first == 1 and each.shape[0] == ROWS_OR_ONE):
            or_one = " or 1" if each.shape[0] == ROWS_OR_ONE and rows > 1 else ""
            raise BadRequest(f"{name}: {first:,} rows, expected {rows:,}{or_one}, as there are candidates")
        for dimension, size in zip(each.shape[1:], others, strict=True):
            if size > limits.positions:
                raise BadRequest(f"{name}: {size:,} {dimension}; the limit is {limits.positions:,}")
            other, other_size = positions.setdefault(dimension, (name, size))
            if size != other_size and dimension.startswith("positions"):
                raise BadRequest(f"{name}: {size:,} positions, but {other} has {other_size:,}")
    return shapes


def _build_array(sent: SentTensor, expected: ServedInput, shape: tuple[int, ...]) -> NDArray[Any]:
    name, data = sent.name, _flatten(sent, shape)
    if len(data) != math.prod(shape):
        raise BadRequest(f"{name}: {len(data):,} values in data, but shape {list(shape)} needs {math.prod(shape):,}")
    if sent.datatype == "BYTES":
        texts = _read_texts(name, data)
        if expected.hash_buckets:
            hashed = {text: hash_text(text, expected.hash_buckets) for text in set(texts)}
            return np.array([hashed[text] for text in texts], np.int64).reshape(shape)
        return np.array(texts, object).reshape(shape)
    if sent.datatype == "INT64":
        _check_types(name, data, (int,), "a whole number")
        least, most = (0, expected.hash_buckets + 1) if expected.hash_buckets else (-_LATEST_TIME, _LATEST_TIME)
        if outside := [value for value in data if not least <= value <= most]:
            hint = "" if expected.hash_buckets else "; times are unix seconds, not milliseconds"
            raise BadRequest(f"{name}: {outside[0]} is out of range{hint}")
        return np.array(data, np.int64).reshape(shape)
    _check_types(name, data, (float, int, type(None)), "a number, or null if it is unknown")
    try:
        numbers = np.array(data, np.float64)  # null becomes NaN
    except OverflowError:
        raise BadRequest(f"{name}: a number is too large") from None
    if np.isinf(numbers).any():
        raise BadRequest(f"{name}: infinite numbers cannot be scored")
    return numbers.reshape(shape)


def _flatten(sent: SentTensor, shape: tuple[int, ...]) -> list[Any]:
    """V2 allows data that are flat, and data that are nested as the shape is."""
    data = sent.data
    if isinstance(data, bytes):
        return _read_binary(sent.name, sent.datatype, data)
    if not isinstance(data, list):
        raise BadRequest(f"{sent.name}: data is not a list")
    for size in shape[1:] if data and isinstance(data[0], list) else ():
        if not all(isinstance(each, list) and len(each) == size for each in data):
            raise BadRequest(f"{sent.name}: data is neither flat nor nested as its shape {list(shape)}")
        data = [value for each in data for value in each]
    return data


def _read_binary(name: str, datatype: str, binary: bytes) -> list[Any]:
    """V2's binary form: numbers of 8 bytes, or texts that each begin with their length in 4 bytes; little-endian."""
    if datatype != "BYTES":
        if len(binary) % 8:
            raise BadRequest(f"{name}: {len(binary):,} bytes of binary data, expected 8 for each value")
        numbers: list[Any] = np.frombuffer(binary, "<i8" if datatype == "INT64" else "<f8").tolist()
        return numbers
    texts, at = [], 0
    while at < len(binary):
        end = at + 4 + int.from_bytes(binary[at : at + 4], "little")
        texts.append(binary[at + 4 : end])
        at = end
    if at != len(binary):
        raise BadRequest(f"{name}: its binary data end within a text; each text begins with its length in 4 bytes")
    return texts


def _read_texts(name: str, data: list[Any]) -> list[str]:
    if data and type(data[0]) is bytes:
        _check_types(name, data, (bytes,), "a text")
        try:
            data = [each.decode() for each in data]
        except UnicodeDecodeError:
            raise BadRequest(f"{name}: a text is not UTF-8") from None
    _check_types(name, data, (str,), "a text; ids are sent as texts, also if they look like numbers")
    return data


def _check_types(name: str, data: list[Any], types: tuple[type, ...], expected: str) -> None:
    if not {*map(type, data)} <= {*types}:
        number, value = next((number, value) for number, value in enumerate(data) if type(value) not in types)
        raise BadRequest(f"{name}: data[{number}] is {value!r}, expected {expected}")
