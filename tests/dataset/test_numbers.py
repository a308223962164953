"""Numbers as people write them, and what is none."""

import math

import pytest

from din_train.dataset.fields import parse_numbers

NAN = math.nan


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["12.99", "5", ".5", "5.", "1e3", "1.5E-2", "-3", "+ 7"], [12.99, 5, 0.5, 5, 1000, 0.015, -3, 7]),
        (["$12.99", "1,299.00", "$ 1,299", "-$5", "$-5"], [12.99, 1299, 1299, -5, -5]),
        (["1.299,00 €", "12,99 €", "1.299 €", "7"], [1299, 12.99, 1299, 7]),
        (["1 299,00", "1\u00a0299,5", "3,5"], [1299, 1299.5, 3.5]),
        (["1'299.50", "1,000,000"], [1299.5, 1_000_000]),
        (["0.500", "1.250"], [0.5, 1.25]),  # a group of thousands has no leading 0
        (["1,299", "1.299"], [1299, 1.299]),  # nothing says that the comma is decimal
        (["EUR 5", "7 EUR", "US$ 3"], [5, 7, NAN]),
        (["5%", "12 %"], [5, 12]),
        (["$5", "$7", "€6"], [5, 7, NAN]),  # one currency a field
        (["12,99", "3,50", "7.25"], [12.99, 3.5, NAN]),  # one decimal mark a field
        (["$5.00 - $9.99", "from 5", "5-9", "1,29,999.00", "12 99", "5 kg"], [NAN] * 6),
        (["inf", "-Infinity", "nan", "1e400", "1_000", "0x10", "٣", "true", "12:30", "2023-11-16"], [NAN] * 10),
        ([None, "", " 4 "], [NAN, NAN, 4]),
        ([], []),
    ],
)
def test_one_field(texts: list[str | None], expected: list[float]) -> None:
    assert parse_numbers(texts).tolist() == pytest.approx(expected, nan_ok=True)
