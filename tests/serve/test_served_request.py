"""What a client sent: good requests become arrays, and every bad one is one line that names the input."""

from typing import Any

import numpy as np
import pytest

from din_train.serve.served_request import (
    BadRequest,
    Limits,
    SentTensor,
    ServedInput,
    build_arrays,
    hash_text,
    read_tensors,
)

INPUTS = {
    each.name: each
    for each in (
        ServedInput("item", "BYTES", ("rows",)),
        ServedInput("history", "BYTES", ("rows or 1", "positions")),
        ServedInput("history_price", "FP64", ("rows or 1", "positions")),
        ServedInput("timestamp", "INT64", ("rows or 1",)),
        ServedInput("tags", "BYTES", ("rows or 1", "values of tags")),
        ServedInput("item_hash", "INT64", ("rows or 1",), 10),
    )
}
GOOD: dict[str, tuple[str, list[int], Any]] = {
    "item": ("BYTES", [2], ["a", "ü\n"]),
    "history": ("BYTES", [1, 3], ["b", "", "c"]),
    "history_price": ("FP64", [1, 3], [1.5, None, 2]),
    "timestamp": ("INT64", [1], [10]),
    "tags": ("BYTES", [1, 0], []),
}


def build(**changes: Any) -> dict[str, Any]:
    """The good request, changed: a tuple replaces an input, and None leaves it out."""
    tensors = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return build_arrays([SentTensor(name, *value) for name, value in tensors.items()], INPUTS, Limits(3, 4))


def test_a_request_becomes_arrays() -> None:
    arrays = build()
    assert list(arrays) == list(INPUTS)
    assert arrays["item"].tolist() == ["a", "ü\n"]
    assert arrays["history"].tolist() == [["b", "", "c"]]
    assert arrays["timestamp"].tolist() == [10]
    assert arrays["timestamp"].dtype == np.int64
    np.testing.assert_array_equal(arrays["history_price"], [[1.5, np.nan, 2]])
    assert arrays["tags"].shape == (1, 0)


def test_data_may_be_nested_and_texts_may_be_utf_8_bytes() -> None:
    history = ("BYTES", [2, 2], [["b", ""], ["", "c"]])
    arrays = build(
        history=history, history_price=("FP64", [2, 2], [[1, 2], [3, 4]]), item=("BYTES", [2], [b"a", "ü".encode()])
    )
    assert arrays["history"].tolist() == [["b", ""], ["", "c"]]
    assert arrays["item"].tolist() == ["a", "ü"]


def test_a_history_may_have_no_position() -> None:
    arrays = build(history=("BYTES", [1, 0], []), history_price=("FP64", [1, 0], [[]]))
    assert arrays["history"].shape == arrays["history_price"].shape == (1, 0)


def test_texts_are_hashed_as_training_hashes_them() -> None:
    assert hash_text("a", 10) == 2 + 0xCA978112CA1BBDCA % 10 == 2  # how SHA-256 of "a" begins
    assert hash_text("", 10) == 0
    assert build()["item_hash"].tolist() == [hash_text("a", 10), hash_text("ü\n", 10)]
    assert build(item_hash=("BYTES", [1], ["a"]))["item_hash"].tolist() == [2]
    assert build(item_hash=("INT64", [1], [11]))["item_hash"].tolist() == [11]


def test_the_hash_is_that_of_the_vocabulary() -> None:
    pa = pytest.importorskip("pyarrow", reason="the serving environment has no pyarrow")
    from din_train.dataset.vocabulary import hash_values

    texts = ["a", "ü", "0", " "]
    assert [hash_text(each, 1000) for each in texts] == hash_values(pa.array(texts), 1000).tolist()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"itme": ("BYTES", [2], ["a", "b"])}, "no input is called 'itme'; did you mean 'item'?"),
        ({"history": None, "tags": None}, "missing: history, tags; all of item, history,"),
        ({"item": ("FP32", [2], [1, 2])}, "item: datatype is 'FP32', expected BYTES"),
        ({"item": ("BYTES", [3], ["a", "b"])}, "item: 2 values in data, but shape [3] needs 3"),
        ({"item": ("BYTES", [2, 1], ["a", "b"])}, "item: shape is [2, 1], expected [rows]"),
        ({"item": ("BYTES", [-2], ["a", "b"])}, "item: shape is [-2], expected a list of whole numbers"),
        ({"item": ("BYTES", [True], ["a"])}, "item: shape is [True], expected a list of whole numbers"),
        ({"item": ("BYTES", "2", ["a"])}, "item: shape is '2', expected a list of whole numbers"),
        ({"item": ("BYTES", 2, ["a"])}, "item: shape is 2, expected a list of whole numbers"),
        ({"item": ("BYTES", [0], [])}, "0 rows; a request may have 1 to 3"),
        ({"item": ("BYTES", [4], ["a"] * 4)}, "4 rows; a request may have 1 to 3"),
        ({"item": ("BYTES", [2], ["a", 7])}, "item: data[1] is 7, expected a text; ids are sent as texts"),
        ({"item": ("BYTES", [2], ["a", None])}, "item: data[1] is None, expected a text"),
        ({"item": ("BYTES", [2], [b"a", b"\xff"])}, "item: a text is not UTF-8"),
        ({"item": ("BYTES", [2], [b"a", "b"])}, "item: data[1] is 'b', expected a text"),
        ({"item": ("BYTES", [2], "ab")}, "item: data is not a list"),
        ({"history": ("BYTES", [1, 5], ["a"] * 5)}, "history: 5 positions; the limit is 4"),
        ({"history": ("BYTES", [1, 2], ["a", "b"])}, "history_price: 3 positions, but history has 2"),
        ({"history": ("BYTES", [3, 1], ["a"] * 3)}, "history: 3 rows, expected 2 or 1, as there are candidates"),
        ({"history": ("BYTES", [1, 3], [["a"], ["b", "c"]])}, "history: data is neither flat nor nested"),
        ({"history": ("BYTES", [2**62, 2**62], [])}, "history: 4,611,686,018,427,387,904 rows, expected 2 or 1"),
        ({"timestamp": ("INT64", [1], [1.5])}, "timestamp: data[0] is 1.5, expected a whole number"),
        ({"timestamp": ("INT64", [1], [None])}, "timestamp: data[0] is None, expected a whole number"),
        ({"timestamp": ("INT64", [1], [True])}, "timestamp: data[0] is True, expected a whole number"),
        ({"timestamp": ("INT64", [1], ["10"])}, "timestamp: data[0] is '10', expected a whole number"),
        ({"timestamp": ("INT64", [1], [float("nan")])}, "timestamp: data[0] is nan, expected a whole number"),
        ({"timestamp": ("INT64", [1], [1_700_000_000_000])}, "unix seconds, not milliseconds"),
        ({"timestamp": ("INT64", [2], [10, -(2**80)])}, "is out of range"),
        ({"history_price": ("FP64", [1, 3], [1, 2, float("inf")])}, "history_price: infinite numbers cannot be scored"),
        ({"history_price": ("FP64", [1, 3], [1, 2, 10**400])}, "history_price: a number is too large"),
        ({"history_price": ("FP64", [1, 3], [1, 2, "3"])}, "history_price: data[2] is '3', expected a number"),
        ({"item_hash": ("INT64", [1], [12])}, "item_hash: 12 is out of range"),
        ({"item_hash": ("INT64", [2], [11, -1])}, "item_hash: -1 is out of range"),
        ({"item": ("BYTES", [2], b"\1\0\0\0a")}, "item: 1 values in data, but shape [2] needs 2"),
        ({"item": ("BYTES", [2], b"\1\0\0\0a\2\0\0\0b")}, "item: its binary data end within a text"),
        ({"item": ("BYTES", [2], b"\1\0\0\0a\2\0")}, "item: its binary data end within a text"),
        ({"item": ("BYTES", [2], b"\xff\xff\xff\xff")}, "item: its binary data end within a text"),
        ({"item": ("BYTES", [2], b"\1\0\0\0\xff\0\0\0\0")}, "item: a text is not UTF-8"),
        ({"timestamp": ("INT64", [1], b"\0" * 7)}, "timestamp: 7 bytes of binary data, expected 8 for each value"),
        ({"timestamp": ("INT64", [1], b"\xff" * 7 + b"\x7f")}, "timestamp: 9223372036854775807 is out of range"),
        ({"tags": ("BYTES", [1, 5], ["a"] * 5)}, "tags: 5 values of tags; the limit is 4"),
    ],
)  # fmt: skip
def test_a_bad_request_is_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(BadRequest) as refused:
        build(**changes)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_input_may_be_sent_once() -> None:
    with pytest.raises(BadRequest, match="item: sent twice"):
        build_arrays([SentTensor("item", "BYTES", [1], ["a"])] * 2, INPUTS, Limits(3, 4))


def test_a_refusal_is_short_and_printable() -> None:
    with pytest.raises(BadRequest) as refused:
        build(item=("BYTES", [2], ["a", ["\x1b[2J\u202e" * 1000]]))
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 3000


def test_binary_data() -> None:
    arrays = build(
        item=("BYTES", [2], b"\2\0\0\0a\0\0\0\0\0"),
        timestamp=("INT64", [1], (10).to_bytes(8, "little")),
        history_price=("FP64", [1, 3], np.array([1.5, np.nan, 2], "<f8").tobytes()),
        tags=("BYTES", [1, 0], b""),
    )
    assert arrays["item"].tolist() == ["a\0", ""]
    assert arrays["timestamp"].tolist() == [10]
    np.testing.assert_array_equal(arrays["history_price"], [[1.5, np.nan, 2]])
    assert arrays["tags"].shape == (1, 0)


def test_binary_data_follow_each_other() -> None:
    def read(*sizes: Any) -> list[Any]:
        tensor = {"name": "item", "datatype": "BYTES", "shape": [1]}
        inputs = [{**tensor, "parameters": {"binary_data_size": size}} for size in sizes]
        return [each.data for each in read_tensors({"inputs": [*inputs, {**tensor, "data": ["a"]}]}, b"12345")]

    assert read(2, 0, 3) == [b"12", b"", b"345", ["a"]]
    for size in (4, -1, 10**30, 1.0, True, "3", None, [3]):
        with pytest.raises(BadRequest, match=r"inputs\[1\]: binary_data_size is .*, and 3 bytes are left"):
            read(2, size)
    with pytest.raises(BadRequest, match="1 bytes after the JSON belong to no input"):
        read(4)


@pytest.mark.parametrize("request_", [None, 5, [], {}, {"inputs": {}}, {"inputs": [1]}])
def test_a_body_that_is_no_request(request_: Any) -> None:
    with pytest.raises(BadRequest, match='no list "inputs" of objects'):
        read_tensors(request_)


def test_a_tensor_has_four_parts() -> None:
    tensor = {"name": "item", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    assert read_tensors({"inputs": [tensor]}) == [SentTensor("item", "BYTES", [1], ["a"])]
    with pytest.raises(BadRequest, match=r"inputs\[1\] has no shape, data"):
        read_tensors({"inputs": [tensor, {"name": "item", "datatype": "BYTES"}]})
    with pytest.raises(BadRequest, match=r"inputs\[0\]: datatype is 5, expected a text such as BYTES"):
        read_tensors({"inputs": [{**tensor, "datatype": 5}]})
