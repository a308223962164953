"""A comparison's page says what the comparison says, and what was forced."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from page_reader import PageReader
from record_factory import METRICS, describe_slice

from din_train.compare.compare import ComparedRun, Comparison, Difference
from din_train.compare.comparison_page import (
    build_comparison_page,
    plot_differences,
    plot_run_slices,
    plot_runs,
)

pytestmark = pytest.mark.figures

BASE = ComparedRun("runs/base", replace(METRICS, model="base", gauc=0.7), 0.0)
DIN = ComparedRun("runs/din", METRICS, 25.0)
DIFFERENCES = (
    Difference("gauc", "runs/din", "runs/base", 0.05, 0.02, 0.08, 0.95, "DIN beats BaseModel by 0.0500 GAUC"),
    Difference("auc", "runs/din", "runs/base", -0.01, -0.03, 0.01, 0.95, "DIN and BaseModel are not told apart"),
)
COMPARISON = Comparison((BASE, DIN), DIFFERENCES, ())


def build(comparison: Comparison = COMPARISON, **configs: Any) -> PageReader:
    page = build_comparison_page(comparison, configs or {"runs/din": [("model.name", "base", "din")]})
    assert page == build_comparison_page(comparison, configs or {"runs/din": [("model.name", "base", "din")]})
    reader = PageReader(page)
    assert reader.mistakes == []
    assert len(reader.ids) == len(set(reader.ids))
    assert "script" not in {tag for tag, _ in reader.elements}
    return reader


def test_it_says_what_the_comparison_says() -> None:
    reader = build()
    assert [f"{each.sentence}." for each in DIFFERENCES] == reader.read("li")
    cells = reader.read("td", "th")
    base, din = cells.index("runs/base"), cells.index("runs/din")
    assert cells[base + 1 : base + 9] == [
        "base", "0.700000", "0.812500", "0.500000", "0.785000", "1.250000", "0.062500", "+0.00 %",
    ]  # fmt: skip
    assert cells[din + 2] == "0.750000"
    assert cells[din + 8] == "+25.00 %"
    assert cells[-3:] == ["model.name", "base", "din"]
    assert "Forced" not in reader.text


def test_its_figures() -> None:
    reader = build()
    names = ["differences-gauc", "differences-auc", "runs-gauc", "runs-auc", "slices-1", "slices-2"]
    assert [each["id"] for each in reader.find("figure")] == [f"figure-{name}" for name in names]
    assert all(each["aria-label"] for each in reader.find("svg"))


def test_differences_are_drawn_with_their_intervals() -> None:
    interval, point, zero = plot_differences("gauc", DIFFERENCES[:1]).axes[0].lines
    assert np.asarray(interval.get_xdata()).tolist() == [0.02, 0.08]
    assert np.asarray(point.get_xdata()).tolist() == [0.05]
    assert np.asarray(zero.get_xdata()).tolist() == [0, 0]
    runs = plot_runs("gauc", COMPARISON.runs)
    assert runs is not None
    assert [np.asarray(line.get_xdata()).tolist() for line in runs.axes[0].lines] == [
        [0.6543, 0.8321], [0.7], [0.6543, 0.8321], [0.75],
    ]  # fmt: skip
    assert plot_runs("gauc", [ComparedRun("a", replace(METRICS, gauc=None), None)]) is None


def test_the_largest_slices_are_drawn_and_runs_may_lack_some() -> None:
    many = [describe_slice(f"s{n}", num_samples=100 + n, gauc=0.5 + n / 100) for n in range(20)]
    first = ComparedRun("a", replace(METRICS, slices={"hour": many}), 0.0)
    other = ComparedRun("b", replace(METRICS, slices={"hour": many[:9]}), 0.0)
    figure = plot_run_slices("hour", [first, other, ComparedRun("c", replace(METRICS, slices={}), 0.0)])
    assert figure is not None
    axes = figure.axes[0]
    assert [each.get_text() for each in axes.get_yticklabels()] == [f"s{n}\n{100 + n} rows" for n in range(8, 20)]
    assert np.asarray(axes.lines[0].get_xdata()).tolist() == [0.5 + n / 100 for n in range(8, 20)]
    assert np.asarray(axes.lines[1].get_xdata()).tolist() == [0.58]
    assert len(axes.lines) == 2


def test_what_was_forced_and_what_others_named_is_said_and_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    run = ComparedRun(hostile, replace(METRICS, gauc=None, slices={}), None)
    reader = build(Comparison((BASE, run), (), (f"{hostile}: other rows",)), **{hostile: [(hostile, "a", hostile)]})
    assert f"Forced: {hostile}: other rows" in reader.text
    assert "There is no difference with an interval" in reader.text
    assert "undefined" in reader.read("td")


def test_one_run_alone_has_a_page() -> None:
    page = build_comparison_page(Comparison((BASE,), (), ()), {})
    assert "There is one run only." in page
