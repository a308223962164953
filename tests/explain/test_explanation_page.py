"""An explained score as a table, as sentences and as a page."""

import re
from dataclasses import replace

import pytest
from rich.console import Console

from din_train.explain.explanation_page import (
    ExplainedPair,
    build_explanation_html,
    build_explanation_table,
    describe_explanation,
    draw_bar,
)

PAIR = ExplainedPair(
    run="runs/a",
    user="u1",
    candidate={"item": "i1", "title": "Camera <X>", "category": "Photo", "click_probability": 0.71234},
    history="all the user's events",
    normalization="softmax",
    unknown_context=[],
    behaviours=[
        {"item": "b0", "title": "Old [bold]lens", "category": "Lenses", "timestamp": 1_393_718_400},
        {"item": "b1", "title": None, "category": None, "timestamp": None},
    ],
    weights=[0.8, 0.2],
    probabilities_without=[0.3333, 0.75],
    predicted_without=[0.3334, 0.75],
    top=0,
    largest_difference=2e-6,
    tolerance=1e-4,
)


def render(pair: ExplainedPair) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(build_explanation_table(pair))
    return capture.get()


def test_the_table_has_the_behaviours_newest_last() -> None:
    shown = render(PAIR)
    assert "user u1, item i1, Camera <X> (Photo): click probability 0.7123" in shown
    rows = [line for line in shown.splitlines() if "│ b" in line]
    cells = [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]
    assert cells == [
        ["2014-03-02", "b0", "Old [bold]lens", "Lenses", "0.800", "█" * 20, "0.3333"],
        ["", "b1", "", "", "0.200", "█" * 5, "0.7500"],
    ]


@pytest.mark.parametrize(
    ("weight", "largest", "bar"),
    [(1.0, 2.0, "█" * 10), (0.0125, 2.0, "▏"), (0.0, 2.0, ""), (-2.0, 2.0, "-" + "█" * 20), (0.0, 0.0, "")],
)
def test_bars(weight: float, largest: float, bar: str) -> None:
    assert draw_bar(weight, largest) == bar


def test_the_sentences_give_both_numbers() -> None:
    lines = describe_explanation(PAIR)
    assert lines == [
        "history: 2 behaviours, all the user's events",
        "weights: softmax, so they sum to 1, and without a behaviour the others grow",
        "without the top behaviour (b0, weight 0.8000): click probability 0.3333; the weights predict 0.3334",
        "checked for each behaviour left out: logits differ by at most 2.0e-06 (allowed: 0.0001)",
    ]
    unknown = replace(PAIR, unknown_context=["hour"], predicted_without=[None, 0.75])
    assert "context: hour unknown, since the data set has no row of this pair" in describe_explanation(unknown)
    assert describe_explanation(unknown)[3].endswith("0.3333; the others are too small to predict it")
    empty = replace(PAIR, behaviours=[], weights=[], probabilities_without=[], predicted_without=[], top=None)
    assert describe_explanation(empty)[-1] == "nothing to weigh: the history is empty"
    assert "b0" not in render(empty)


def test_the_page_needs_nothing_beside_it_and_has_everything() -> None:
    page = build_explanation_html(PAIR)
    assert page.startswith("<!doctype html>")
    assert "<title>user u1, item i1, Camera &lt;X&gt; (Photo): click probability 0.7123</title>" in page
    assert page.count("<svg") == 1
    assert "Camera <X>" not in page
    assert "color-scheme: light dark" in page
    assert 'content="width=device-width' in page
    assert all(f"<p>{line}</p>" in page.replace("&#x27;", "'") for line in describe_explanation(PAIR))
    assert "<td>b0</td><td>Old [bold]lens</td><td>Lenses</td><td class=number>0.800</td><td class=number>0.3333" in page
    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, not loaded
    assert not re.search(r"\ssrc=|<link|<script|@import|url\((?!#)", page)


def test_json_is_complete() -> None:
    assert PAIR.to_json() == {
        "run": "runs/a",
        "user": "u1",
        "candidate": PAIR.candidate,
        "history": "all the user's events",
        "normalization": "softmax",
        "unknown_context": [],
        "behaviours": [
            {**PAIR.behaviours[0], "weight": 0.8, "click_probability_without": 0.3333, "predicted_without": 0.3334},
            {**PAIR.behaviours[1], "weight": 0.2, "click_probability_without": 0.75, "predicted_without": 0.75},
        ],
        "top": 0,
        "check": {"largest_logit_difference": 2e-6, "tolerance": 1e-4},
    }
