"""Columns of any type as ids, fields, lists and weights: one text for one id, and a reason for every row without."""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from din_train.logs.expressions import (
    Reasons,
    describe_type_problem,
    take_field,
    take_ids,
    take_list,
    take_text,
    take_weights,
)
from din_train.logs.records import drop_null_values, find_null_values, view_texts

NULLS = frozenset({"NULL", "nan"})


def find_rows(reasons: Reasons) -> dict[str, list[int]]:
    return {reason: np.flatnonzero(mask).tolist() for reason, mask in reasons.items() if mask.any()}


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["1001", "7"]),
        pa.array(["1001", "7"], pa.large_string()),
        pa.array(["1001", "7"]).dictionary_encode(),
        pa.chunked_array([["1001"], ["7"]]),
        pa.array([b"1001", b"7"]),
        pa.array([b"1001", b"7"], pa.large_binary()),
        pa.array([1001, 7], pa.int16()),
        pa.array([1001, 7], pa.uint64()),
        pa.array([Decimal(1001), Decimal(7)], pa.decimal128(38, 0)),
        pa.array([Decimal(1001), Decimal(7)], pa.decimal128(20, 2)),
        pa.array([1001.0, 7.0]),
        pa.array([1001.0, 7.0], pa.float32()),
    ],
    ids=lambda column: str(column.type),
)
def test_an_id_is_one_text_in_every_type(column: Any) -> None:
    texts, reasons = take_ids(column, "user", NULLS)
    assert (texts.to_pylist(), find_rows(reasons)) == (["1001", "7"], {})


@pytest.mark.parametrize("text", ["007", " 7 ", "7.0", "1e3", "Zoë"])
def test_an_id_that_is_text_is_kept_exactly(text: str) -> None:
    assert take_ids(pa.array([text]), "user", NULLS)[0].to_pylist() == [text]
    assert take_ids(pa.array([text.encode()]), "user", NULLS)[0].to_pylist() == [text]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1.0, None, float("nan"), 2.5, 2.0**53, 2.0**53 - 1]),
         {"no user": [1, 2], "user not a whole number": [3, 4]}),
        (pa.array([2.0**24, 2.0**24 - 1], pa.float32()), {"user not a whole number": [0]}),  # or 2**24 + 1, rounded
        (pa.array([2.0**25 + 4], pa.float32()), {"user not a whole number": [0]}),
        (pa.array([Decimal("7.50"), Decimal("7.00")], pa.decimal128(9, 2)), {"user not a whole number": [0]}),
        (pa.array(["a", "", None, "NULL", "x\0"]),
         {"no user": [2, 3], "empty user": [1], "NUL character": [4]}),
        (pa.array([b"a", b"\xff", None]), {"no user": [2], "invalid UTF-8": [1]}),
        (pa.nulls(2), {"no user": [0, 1]}),
    ],
)  # fmt: skip
def test_rows_without_an_id(column: Any, expected: dict[str, list[int]]) -> None:
    assert find_rows(take_ids(column, "user", NULLS)[1]) == expected


def test_fields_are_text_numbers_and_booleans() -> None:
    for column, expected in (
        (pa.array([9.99, 110.0, None, float("nan")]), ["9.99", "110", None, None]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([Decimal("1.50")], pa.decimal128(9, 2)), ["1.50"]),
        (pa.array(["a", "", "NULL"]), ["a", None, None]),
    ):
        assert take_field(column, NULLS)[0].to_pylist() == expected


def test_lists_as_such_and_as_text() -> None:
    texts = pa.array(["a|b", "", "[1, 2]", "['x' 'y']", "a||NULL", None, "NULL", "[1"])
    values, reasons = take_list(texts, "|", NULLS)
    assert values.to_pylist() == [["a", "b"], None, ["1", "2"], ["x", "y"], ["a"], None, None, None]
    assert find_rows(reasons) == {"field in brackets that is no list": [7]}
    lists = pa.array([["a", None], [], None, ["NULL", "b"]])
    assert take_list(lists, "|", NULLS)[0].to_pylist() == [["a"], None, None, ["b"]]
    assert take_list(pa.array([[7.0, 8.0]]), "|", NULLS)[0].to_pylist() == [["7", "8"]]
    assert take_list(lists[3:], "|", NULLS)[0].to_pylist() == [["b"]]
    assert find_rows(take_list(pa.array([[b"a"], [b"b", b"\xff"]]), "|", NULLS)[1]) == {"invalid UTF-8": [1]}


def test_weights_are_numbers_of_at_least_0() -> None:
    numbers = pa.array([1.5, 0.0, -1.0, None, float("nan"), float("inf"), 1e300])
    values, reasons = take_weights(numbers, NULLS)
    assert (values.type, values.to_pylist()[:3]) == (pa.float32(), [1.5, 0.0, -1.0])
    assert find_rows(reasons) == {
        "no weight": [3, 4], "weight not a number": [5], "negative weight": [2], "weight too large": [6],
    }  # fmt: skip
    values, reasons = take_weights(pa.array([" 2 ", "1e-1", "1_0", "", "-2"]), NULLS)
    assert values.to_pylist()[:2] == [2.0, pytest.approx(0.1)]
    assert find_rows(reasons) == {"no weight": [3], "weight not a number": [2], "negative weight": [4]}


@pytest.mark.parametrize(
    ("kind", "column", "is_good"),
    [
        ("id", pa.array([1.0]), True),
        ("id", pa.array([True]), False),
        ("id", pa.array([["a"]]), False),
        ("list", pa.array([["a"]]), True),
        ("list", pa.array([[["a"]]]), False),
        ("history", pa.array([["a"]]), True),
        ("field", pa.array([["a"]]), False),
        ("time", pa.array([0], pa.date32()), True),
        ("label", pa.array([0], pa.date32()), False),
    ],
)
def test_types_that_will_do(kind: str, column: Any, is_good: bool) -> None:
    assert (describe_type_problem(kind, pa.field("x", column.type)) is None) == is_good


PIECES = (
    *(None, "", "0", "7", "12", "123456789012345678", "1234567890123456789", "NULL", "nan", "null", "-nan", "N"),
    *("a\0b", "\0", "\u00e9", "\u4e2d\u6587", " ", "9.5", "-1", "z" * 40),
)


def draw_texts(seed: int) -> Any:
    """A slice of a string column: of some pieces only, so that every short cut is taken in some draws."""
    draw = np.random.default_rng(seed)
    pieces = draw.choice(len(PIECES), size=draw.integers(1, 4), replace=False)
    rows = draw.choice(pieces, size=draw.integers(0, 12)).tolist()
    column = pa.array(["before", *(PIECES[row] for row in rows), None], pa.string())
    if draw.integers(2):  # a null that has bytes
        values = pa.array(["NULL" if value is None else value for value in column.to_pylist()])
        valid = np.packbits([value is not None for value in column.to_pylist()], bitorder="little").tobytes()
        column = pa.Array.from_buffers(pa.string(), len(column), [pa.py_buffer(valid), *values.buffers()[1:]])
    return column.slice(1, len(rows))


@pytest.mark.parametrize("nulls", [frozenset(), NULLS, frozenset({"", "\u00e9", "12", "z" * 40})])
def test_texts_are_told_apart_as_one_by_one(nulls: frozenset[str]) -> None:
    for seed in range(400):
        column = draw_texts(seed)
        values = column.to_pylist()
        assert find_null_values(column, nulls).tolist() == [value in nulls for value in values]
        kept = [None if not value or value in nulls else value for value in values]
        assert drop_null_values(column, nulls).to_pylist() == kept
        lengths = view_texts(column)[0].tolist()
        expected = [None if value is None else len(value.encode()) for value in values]
        assert [None if value is None else length for value, length in zip(values, lengths, strict=True)] == expected
        texts, reasons = take_ids(column, "user", nulls)
        assert texts.to_pylist() == values
        assert {reason: mask.tolist() for reason, mask in reasons.items()} == {
            "no user": [value is None or value in nulls for value in values],
            "empty user": [value == "" for value in values],
            "invalid UTF-8": [False] * len(values),
            "NUL character": ["\0" in (value or "") for value in values],
        }
        field, of_field = take_field(column, nulls)
        assert field.to_pylist() == kept
        assert of_field["NUL character"].tolist() == ["\0" in (value or "") for value in kept]


@pytest.mark.parametrize("values", [[b"ab", b"\xff"], [b"\xe9", b"\xc3\xa9"], [b"a\xc3", b"\xa9b"], [b"plain", b"7"]])
def test_bytes_that_are_no_text_are_found(values: list[bytes]) -> None:
    texts, broken = take_text(pa.array(values))
    assert texts.to_pylist() == [value.decode(errors="replace") for value in values]
    assert broken.tolist() == [value.decode(errors="replace").encode() != value for value in values]
