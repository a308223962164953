"""Runs are put side by side only where their numbers mean the same."""

from typing import Any

import pytest

from din_train.errors import ConfigError
from din_train.evaluation.compare import compare_metrics

BASE: dict[str, Any] = {
    "model": "base",
    "protocol": "holdout",
    "split": "test",
    "selected_on": "validation",
    "data_fingerprint": "abc",
    "auc": 0.7,
    "gauc": 0.6,
    "logloss": 0.5,
}


def test_one_row_a_run_with_rela_impr_against_the_first() -> None:
    table = compare_metrics({"a": BASE, "b": {**BASE, "model": "din", "gauc": 0.65}})
    assert table.index.tolist() == ["a", "b"]
    assert table["gauc"].tolist() == [0.6, 0.65]
    assert table["rela_impr"].tolist() == pytest.approx([0.0, 50.0])


@pytest.mark.parametrize("key", ["protocol", "split", "data_fingerprint", "selected_on"])
def test_refuses_what_does_not_compare(key: str) -> None:
    with pytest.raises(ConfigError, match=f"b: {key} is 'other'"):
        compare_metrics({"a": BASE, "b": {**BASE, key: "other"}})
