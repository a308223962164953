"""Histories as text: the separator, blanks beside it, lists, missing ids."""

import pyarrow as pa
import pytest

from din_train.config.data import NULL_VALUES
from din_train.logs.history_text import HistoryFormat

NULLS = frozenset(NULL_VALUES)


@pytest.mark.parametrize(
    ("separator", "text", "expected"),
    [
        ("^", "a^b^c", ["a", "b", "c"]),
        ("^", " a ^ b^c ", ["a", "b", "c"]),
        ("^", "new york ^ rome", ["new york", "rome"]),
        ("|", "a|b^c", ["a", "b^c"]),
        ("::", "a::b:c", ["a", "b:c"]),
        (" ", " a  b c ", ["a", "b", "c"]),
        (",", "007,7", ["007", "7"]),
        ("^", "", []),
        ("^", "NULL", []),
        ("^", "a^^b", ["a", None, "b"]),
        ("^", "a^nan", ["a", None]),
        ("^", "[]", []),
        ("^", "[1, 007, 7.0]", ["1", "007", "7.0"]),
        ("|", '["a", "b\\"c", "d|e"]', ["a", 'b"c', "d|e"]),
        ("^", "['a', \"it's\", ]", ["a", "it's"]),
        ("^", "['a' 'b']", ["a", "b"]),  # as NumPy writes it; Python would join them
        ("^", "[1 22  3]", ["1", "22", "3"]),
        ("^", "[1, null, None]", ["1", None, None]),
    ],
)
def test_one_history(separator: str, text: str, expected: list[str | None]) -> None:
    form = HistoryFormat(separator, NULLS)
    assert form.split(text) == expected
    lists, broken = form.split_column(pa.array([text, None, "x"]))
    assert lists.to_pylist() == [expected, [], ["x"]]
    assert broken.tolist() == [False] * 3
    assert form.split_column(pa.array([text, None, text]))[0].to_pylist() == [expected, [], expected]  # lists alone


@pytest.mark.parametrize("text", ["[1, 2", "[1; 2]", "[[1], [2]]", "['a'b]", "[a b, c]", "[1|2]"])
def test_brackets_that_are_no_list(text: str) -> None:
    with pytest.raises(ValueError, match="no list of ids"):
        HistoryFormat().split(text)
    lists, broken = HistoryFormat().split_column(pa.array(["a^b", text]))
    assert (lists.to_pylist(), broken.tolist()) == ([["a", "b"], []], [False, True])


def test_without_null_values_every_text_is_an_id() -> None:
    assert HistoryFormat().split("NA^nan") == ["NA", "nan"]
    assert HistoryFormat().split_column(pa.array(["NA^nan", "NULL"]))[0].to_pylist() == [["NA", "nan"], ["NULL"]]
