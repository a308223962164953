"""Means, paired differences and shares of new items by hand, and how they are shown."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scored_rows import make_rows

from din_train.backtest.backtest_page import build_backtest_page, describe_summary, list_days
from din_train.backtest.results import find_new_items, summarize_days


def describe_run(mode: str, seed: int, gauc: float | None, seconds: float | None) -> dict[str, Any]:
    return {
        "mode": mode, "seed": seed, "run": "", "gauc": gauc, "auc": gauc, "logloss": 0.5, "pcoc": 1.0, "users": 9,
        "intervals": {"gauc": [0.5, 0.75]}, "best_epoch": 2, "new_items": 0.25, "training_seconds": seconds,
        "process_seconds": seconds and seconds + 10,
    }  # fmt: skip


def describe_difference(mode: str, seed: int, value: float) -> dict[str, Any]:
    gauc = {"value": value, "interval": [value - 0.02, value + 0.02]}
    return {"mode": mode, "minus": "cold", "seed": seed, "gauc": gauc}


def make_day(step: int, cold: list[float | None], warm: list[float], stale: list[float]) -> dict[str, Any]:
    runs, differences = [], []
    for seed, values in enumerate(zip(cold, warm, stale, strict=True), 1):
        for mode, value, seconds in zip(("cold", "warm", "stale"), values, (8.0, 2.0, None), strict=True):
            runs.append(describe_run(mode, seed, value, seconds))
            if mode != "cold" and values[0] is not None and value is not None:
                differences.append(describe_difference(mode, seed, value - values[0]))
    return {
        "step": step, "from": f"2014-05-0{step + 1}", "rows": 1200, "runs": runs, "differences": differences,
    }  # fmt: skip


@pytest.fixture
def results() -> dict[str, Any]:
    """Two days after the first one; on the last one the second seed's cold model has no GAUC."""
    first = {**make_day(0, [], [], []), "runs": [describe_run("cold", seed, 0.9, 20.0) for seed in (1, 2)]}
    days = [
        first,
        make_day(1, [0.6, 0.7], [0.61, 0.75], [0.55, 0.65]),
        make_day(3, [0.5, None], [0.6, 0.7], [0.4, 0.4]),
    ]
    modes = ["cold", "warm", "stale"]
    return {
        "name": "past", "modes": modes, "seeds": [1, 2], "days": days, "summary": summarize_days(days, modes),
        "left_out": [{"step": 2, "from": "2014-05-03", "reason": "has no <row>"}],
    }  # fmt: skip


def test_means_are_over_the_days_and_seeds_that_all_modes_have(results: dict[str, Any]) -> None:
    summary = results["summary"]
    assert (summary["days"], summary["pairs"]) == (2, 3)
    assert summary["modes"]["cold"]["gauc"] == pytest.approx((0.6 + 0.7 + 0.5) / 3)
    assert summary["modes"]["warm"]["gauc"] == pytest.approx((0.61 + 0.75 + 0.6) / 3)
    assert summary["modes"]["stale"]["gauc"] == pytest.approx((0.55 + 0.65 + 0.4) / 3)
    warm, stale = summary["differences"]["warm"], summary["differences"]["stale"]
    assert warm["mean"] == pytest.approx((0.01 + 0.05 + 0.1) / 3)
    assert (warm["number"], warm["above_zero"], warm["below_zero"]) == (3, 2, 0)
    assert (stale["mean"], stale["below_zero"]) == (pytest.approx(-0.2 / 3), 3)
    assert summary["share_of_cold_seconds"] == {
        "training_seconds": pytest.approx(0.25),
        "process_seconds": pytest.approx(12 / 18),
    }
    alone = summarize_days(results["days"], ["cold"])
    assert alone["modes"]["cold"]["gauc"] == pytest.approx((0.9 + 0.9 + 0.6 + 0.7 + 0.5) / 5)  # the first day counts
    assert alone["share_of_cold_seconds"]["training_seconds"] is None


@pytest.mark.figures
def test_the_table_and_the_page(results: dict[str, Any]) -> None:
    rows = list_days(results)
    assert rows[0] == ["2014-05-01", "1,200", "25.0%", "0.9000", "", "", "", "", "20.0", ""]
    assert rows[1][:3] == ["2014-05-02", "1,200", "25.0%"]
    assert rows[1][3:] == ["0.6500", "0.6800", "0.6000", "+0.0300", "-0.0500*", "8.0", "2.0"]
    assert rows[2][6] == "+0.1000*"
    assert rows[3][:7] == ["mean of 2", "", "25.0%", "0.6000", "0.6533", "0.5333", "+0.0533"]
    lines = describe_summary(results)
    assert lines[0].startswith(
        "warm minus cold: GAUC +0.053333 on average over 2 days (sd 0.045092); of 3 differences 2"
    )
    assert lines[2] == "warm takes 0.25 of cold's seconds up to the chosen epoch, 0.67 of those of the whole process"
    page = build_backtest_page(results)
    assert "2014-05-03: left out: has no &lt;row&gt;" in page
    assert re.findall(r'aria-label="GAUC by day (.*?)"', page) == [
        "over 3 days; means: cold 0.6000; warm 0.6533; stale 0.5333"
    ]
    assert page.count("<svg ") == 1


def test_items_that_a_model_does_not_know_are_new(tmp_path: Path) -> None:
    for name, items in (("day", ["a", "b", "c", "d"]), ("model", ["b", "a"])):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"item": items}), tmp_path / name / "items.parquet")
    # targets: a (known), c, b (known), and one that has no id; the negatives do not count
    rows = make_rows(target_item_id=[2, 5, 4, 3, 1], label=[1, 0, 1, 1, 1], logit=[0] * 5)
    assert find_new_items(tmp_path / "day", tmp_path / "model", rows) == pytest.approx(0.5)
