"""Values of histories, each different one looked at once."""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from din_train.logs.expressions import flatten, take_field
from din_train.logs.sequences import take_distinct

NULLS = frozenset({"NULL", "nan", "7"})


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "NULL", "", "a", "7", "a\0", "\u00e9"]),
        pa.array(["a", "b"]).slice(0, 0),
        pa.array(["b", None, "a"]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([3, 1, None, 0, 2]), pa.array(["a", "NULL", None, "a"])),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, 1]), pa.array([0.0, -0.0])),
        pa.array([b"a", b"\xff", None, b"\xff", b"\xef\xbf\xbd", b""]),
        pa.array([b"ab", b"\xff\xff"], pa.binary(2)),
        pa.array([3, None, 7, 3], pa.int64()),
        pa.array([0.0, -0.0, float("nan"), None, 2.5, 7.0, 0.0]),
        pa.array([0.0, -0.0, 1.0, float("nan")], pa.float16()),
        pa.array([Decimal("1.00"), None, Decimal("7.00")]),
        pa.array([True, None, False]),
        pa.nulls(3),
        pa.array(["x", "a", None, "a"]).slice(1),
    ],
    ids=lambda column: str(column.type),
)
def test_different_values_are_read_as_all_are(column: Any) -> None:
    texts, reasons = take_field(column, NULLS)
    distinct, of_distinct = take_distinct(column, NULLS)
    assert flatten(distinct).to_pylist() == texts.to_pylist()
    assert distinct.null_count == texts.null_count
    given = [text for text in distinct.dictionary.to_pylist() if text is not None]
    is_text = not any(mask.any() for mask in reasons.values())
    assert len(set(given)) == len(given) or not is_text
    assert {reason: mask.tolist() for reason, mask in of_distinct.items()} == {
        reason: np.asarray(mask).tolist() for reason, mask in reasons.items()
    }
