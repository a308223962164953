"""The population stability index, by hand."""

from math import log

import numpy as np
import pytest

from din_train.drift.stability import NO_VALUE, Stability, compare_numbers, compare_values

VALUES = [None, None, "a", "b", "c"]


def counts(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_by_hand() -> None:
    # Shares with half a row more in each of two bins: 3.5/8 and 4.5/8 before, 6.5/8 and 1.5/8 now.
    stability = Stability("x", "training rows", ["a", "b"], counts(3, 4), counts(6, 1))
    first, second = (6.5 - 3.5) / 8 * log(6.5 / 3.5), (1.5 - 4.5) / 8 * log(1.5 / 4.5)
    assert stability.parts == pytest.approx([first, second], abs=1e-15)
    assert stability.psi == pytest.approx(first + second, abs=1e-15)
    assert stability.by_chance == pytest.approx(1 / 7 + 1 / 7)


def test_of_many_rows_it_is_that_of_the_plain_shares() -> None:
    stability = Stability("x", "training rows", ["a", "b"], counts(10**9, 10**9), counts(3 * 10**9, 10**9))
    assert stability.psi == pytest.approx(0.25 * log(1.5) - 0.25 * log(0.5), rel=1e-8)


def test_an_empty_bin_does_not_make_it_infinite() -> None:
    stability = Stability("x", "training rows", ["a", "b"], counts(9, 0), counts(0, 9))
    assert stability.psi == pytest.approx(2 * 0.9 * log(19))


def test_without_rows_there_is_none() -> None:
    for earlier, new in ((counts(0, 0), counts(1, 1)), (counts(1, 1), counts(0, 0))):
        stability = Stability("x", "training rows", ["a", "b"], earlier, new)
        assert (stability.psi, stability.by_chance) == (None, None)
        assert [each["psi"] for each in stability.to_json()["bins"]] == [None, None]


def test_bins_of_numbers_are_deciles_of_the_earlier_ones_alone() -> None:
    stability = compare_numbers("x", "test rows", np.arange(100), np.array([-5, 0, 9, 10, 95, 99, 1000]))
    assert list(stability.bins) == [
        *("below 0", "0-8", "9-18", "19-28", "29-38", "39-48", "49-58", "59-68", "69-78", "79-88", "89-99", "above 99")
    ]
    assert stability.earlier.tolist() == [0, 9, 10, 10, 10, 10, 10, 10, 10, 10, 11, 0]
    assert stability.new.tolist() == [1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 2, 1]


def test_a_constant_that_changes_is_noticed() -> None:
    same, above = (compare_numbers("x", "test rows", np.full(50, 5), np.full(50, new)) for new in (5, 6))
    assert list(same.bins) == ["below 5", "5", "above 5"]
    assert same.psi == 0
    assert above.new.tolist() == [0, 0, 50]
    assert above.psi == pytest.approx(2 * (50.5 - 0.5) / 51.5 * log(101))


def test_given_edges() -> None:
    stability = compare_numbers("x", "test rows", np.array([0, 1, 4, 9]), np.array([5, 7]), edges=(1, 5))
    assert list(stability.bins) == ["below 1", "1-4", "5+"]
    assert (stability.earlier.tolist(), stability.new.tolist()) == ([1, 2, 1], [0, 0, 2])


def test_a_missing_number_has_a_bin() -> None:
    numbers = np.array([0.5, 1.5, np.nan], np.float32)
    stability = compare_numbers("x", "training rows", numbers, np.full(4, np.nan, np.float32), has_missing=True)
    assert stability.bins[0] == "below 0.5"
    assert stability.bins[-1] == NO_VALUE
    assert (stability.earlier[-1], stability.new[-1]) == (1, 4)


def test_the_values_that_the_model_does_not_know_have_the_bin_of_no_value() -> None:
    earlier, new = np.array([2, 2, 3, 1]), np.array([2, 4, 5, 5, 1])
    stability = compare_values("x", "training rows", earlier, new, values=VALUES, num_known=5)
    assert list(stability.bins) == ["a", "b", "other values", NO_VALUE]
    assert stability.earlier.tolist() == [2, 1, 0, 1]
    assert stability.new.tolist() == [1, 0, 1, 3]  # 4 was known and never seen in training; 5 is new


def test_rare_values_share_a_bin_and_padding_counts_for_nothing() -> None:
    ids = np.array([[2 + place, 0] for place in range(30) for _ in range(30 - place)])
    values = [None, None, *map(str, range(30))]
    stability = compare_values("x", "training rows", ids, ids[::2], values=values, num_known=32)
    assert list(stability.bins) == [*map(str, range(18)), "other values", NO_VALUE]
    assert stability.earlier[-2:].tolist() == [sum(range(1, 13)), 0]
    assert stability.earlier.sum() == len(ids)
