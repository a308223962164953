"""The page and the tables of a drift made by hand, and its limits."""

import re
from dataclasses import replace

import numpy as np
import pytest
from record_factory import METRICS
from scored_rows import make_rows

from din_train.config import MetricsConfig
from din_train.dataset.time_range import Moments
from din_train.drift.drift_page import build_drift_page
from din_train.drift.drift_tables import describe_gauc, list_metrics, list_unknown
from din_train.drift.measured_drift import (
    Drift,
    DriftLimits,
    Exceeded,
    Period,
    describe_metrics,
    find_exceeded,
    list_periods,
)
from din_train.drift.stability import Stability
from din_train.drift.unknown_values import UnknownShare

DAY = 86_400
MONDAY = 1_600_041_600  # 2020-09-14
ITEM = UnknownShare("item", rows=8, unknown=2, missing=0, distinct=5, distinct_unknown=2, earlier_unknown=0.125)
BRAND = UnknownShare("<b>", rows=8, unknown=1, missing=4, distinct=3, distinct_unknown=1, earlier_missing=0.25)
HOURS = Stability("hour", "training rows", ["0", "1"], np.array([10, 10]), np.array([20, 2]))
NOW = replace(METRICS, gauc=0.7)
DRIFT = Drift(
    run="monday",
    source="new<i>.tsv",
    notes=["A note."],
    unknown=[ITEM, BRAND],
    distributions=[HOURS, replace(HOURS, name="weekday", not_compared="too short")],
    before=METRICS,
    now=NOW,
    periods=[Period("2020-09-14", 8, 0.25, -1.5, NOW), Period("2020-09-15", 3, 0.0, None, None)],
    first=MONDAY,
    last=MONDAY + DAY,
    targets=8,
)


def list_lines(limits: DriftLimits, drift: Drift = DRIFT) -> list[str]:
    return [str(each) for each in find_exceeded(drift, limits)]


def test_limits() -> None:
    assert list_lines(DriftLimits()) == []
    assert list_lines(DriftLimits(0.375, 1.1, 0.0501)) == []  # at the limit is not past it
    assert list_lines(DriftLimits(max_unknown=0.24)) == [
        "share of rows whose item is unknown: 0.2500, --max-unknown is 0.24",
        # 1 of 8 unknown, and 4 of 8 missing in place of 1 of 4
        "share of <b> that is unknown or missing more often than in training: 0.3750, --max-unknown is 0.24",
    ]
    (line,) = list_lines(DriftLimits(max_psi=0.5))
    assert line.startswith("PSI of hour against the training rows: ")
    assert list_lines(DriftLimits(max_gauc_drop=0.04)) == [
        "drop of GAUC from the run's test split: 0.0500, --max-gauc-drop is 0.04"
    ]


def test_a_limit_that_cannot_be_measured_is_no_pass() -> None:
    for now in (None, replace(NOW, gauc=None)):
        assert list_lines(DriftLimits(max_gauc_drop=0.5), replace(DRIFT, now=now)) == [
            "drop of GAUC from the run's test split: cannot be measured, --max-gauc-drop is 0.5"
        ]


def test_metrics_of_another_definition_do_not_compare() -> None:
    other = replace(NOW, metric_definition="by request")
    assert replace(DRIFT, now=other).gauc_drop is None
    assert any("defined otherwise" in line for line in describe_metrics(METRICS, other, sampled=False))


def test_gauc_among_rows_of_one_history_is_said_if_the_test_rows_have_one() -> None:
    now = replace(NOW, gauc_by_history=0.72)
    assert "rows of one history it is 0.7200." in describe_metrics(METRICS, now, sampled=True)[-1]
    assert len(describe_metrics(replace(METRICS, protocol="time"), now, sampled=True)) == 1


def test_tables() -> None:
    assert list_unknown(DRIFT)[1] == ["<b>", "8", "0.1250", "", "0.5000", "0.2500", "3", "1"]
    before, now, first, second = list_metrics(DRIFT)
    assert before[:5] == ["the run's test split", "6", "", "0.1250", "0.7500"]
    assert now[:5] == ["all new rows", "6", "8", "0.2500", "0.7000"]
    assert (first[-1], second[4:]) == ("-1.500", ["undefined"] * 4 + [""])
    sentence = "GAUC is 0.7000 (interval 0.6543 to 0.8321) on the new rows and 0.7500 in the run's test split: a drop"
    assert describe_gauc(DRIFT) == f"{sentence} of 0.0500."


@pytest.mark.figures
def test_the_page() -> None:
    exceeded = [Exceeded("--max-psi", "PSI of hour", 0.5, 0.25)]
    page = build_drift_page(DRIFT, exceeded)
    assert "PSI of hour: 0.5000, --max-psi is 0.25" in page
    assert "new&lt;i&gt;.tsv" in page
    assert "<b></td>" not in page
    assert page.count("<figure") == 3  # GAUC, PCOC, hours; weekdays are not compared
    assert "too short" in page
    headings = ["Limits", "What the training did not know", "Metrics by day", "Distributions"]
    assert re.findall("<h2.*>(.*)</h2>", page) == headings


def test_metrics_by_day() -> None:
    moments = np.array([0, 1, 1, 2]) * DAY + MONDAY
    scored = make_rows(user_id=[1, 1, 2, 2], label=[1, 0, 0, 1], logit=[2, 1, 2, 1])
    rows = np.array([0, 0, 2, 2]) * DAY + MONDAY
    times = Moments(MONDAY, MONDAY + 2 * DAY, is_unix=True)
    unknown = np.array([True, False, True, False])
    periods = list_periods(times, moments, unknown, rows, scored, MetricsConfig())
    assert [(each.name, each.targets, each.unknown_items) for each in periods] == [
        *(("2020-09-14", 1, 1.0), ("2020-09-15", 2, 0.5), ("2020-09-16", 1, 0.0))
    ]
    assert [each.metrics and each.metrics.gauc for each in periods] == [1.0, None, 0.0]
    assert [each.mean_score for each in periods] == [1.5, None, 1.5]


def test_a_long_log_has_periods_of_several_days_and_one_without_unix_times_a_single_one() -> None:
    moments = np.array([0, 61]) * DAY + MONDAY
    unknown = np.zeros(2, bool)
    times = Moments(MONDAY, MONDAY + 61 * DAY, is_unix=True)
    periods = list_periods(times, moments, unknown, moments, None, MetricsConfig())
    assert [each.name for each in periods] == ["2020-09-14 to 2020-09-15", "2020-11-13 to 2020-11-14"]
    periods = list_periods(replace(times, is_unix=False), moments, unknown, moments, None, MetricsConfig())
    assert [(each.name, each.targets) for each in periods] == [("all", 2)]
