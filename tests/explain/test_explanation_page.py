"""An explained score as a table, as sentences and as a page."""

import re
from dataclasses import replace

import orjson
import pytest
from page_reader import PageReader
from rich.console import Console

from din_train.explain.explain import (
    ExplainedPair,
    ExplainedSequence,
    build_explanation_page,
    build_explanation_tables,
    describe_explanation,
    describe_score,
    draw_bar,
)
from din_train.printable import dump_printable_json
from din_train.report.attention import build_example, draw_attention

pytestmark = pytest.mark.figures

PAIR = ExplainedPair(
    run="runs/a",
    user="u1",
    candidate={"item": "i1", "title": "Camera <X>", "category": "Photo", "click_probability": 0.71234},
    history="all the user's events",
    normalization="softmax",
    unknown_context=[],
    behaviours=[
        {
            "item": "b0",
            "title": "Old [bold]lens",
            "category": "Lenses",
            "timestamp": 1_393_718_400,
            "weight": 0.8,
            "click_probability_without": 0.3333,
            "predicted_without": 0.3334,
        },
        {
            "item": "b1",
            "title": None,
            "category": None,
            "timestamp": None,
            "weight": 0.2,
            "click_probability_without": 0.75,
            "predicted_without": 0.75,
        },
    ],
    top=0,
    check={"largest_logit_difference": 2e-6, "tolerance": 1e-4},
)


def render(pair: ExplainedPair) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(*build_explanation_tables(pair))
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
    unknown = replace(PAIR, unknown_context=["hour"], behaviours=[{**PAIR.behaviours[0], "predicted_without": None}])
    assert "context: hour unknown, since the data set has no row of this pair" in describe_explanation(unknown)
    assert describe_explanation(unknown)[3].endswith("0.3333; the others are too small to predict it")
    empty = replace(PAIR, behaviours=[], top=None)
    assert describe_explanation(empty)[-1] == "nothing to weigh: the history is empty"
    assert "b0" not in render(empty)


def test_the_page_needs_nothing_beside_it_and_has_everything() -> None:
    page = build_page()
    assert page == build_page()
    reader = PageReader(page)
    assert reader.mistakes == []
    assert reader.read("title", "h1") == [describe_score(PAIR)] * 2
    assert set(describe_explanation(PAIR)) <= set(reader.read("p"))
    (svg,) = reader.find("svg")
    assert (svg["role"], svg["aria-label"]) == ("img", "Activation weights of the behaviours of user u1")
    cells = reader.read("th", "td")
    assert cells[:6] == ["day", "item", "title", "category", "weight", "without it"]
    assert cells[6:12] == ["2014-03-02", "b0", "Old [bold]lens", "Lenses", "0.800", "0.3333"]
    assert "Camera <X>" not in page
    assert "color-scheme: light dark" in page
    assert not re.search(r"https?:|\ssrc=|<link|<script|@import|url\((?!#)", page)


def build_page() -> str:
    return build_explanation_page(
        PAIR,
        draw_attention(
            build_example("u1", {"history": PAIR.behaviours}, (PAIR.candidate, [[0.8, 0.2]])), clicked_as="candidate"
        ),
    )


def test_json_is_complete() -> None:
    assert orjson.loads(dump_printable_json(PAIR)) == {
        "run": "runs/a",
        "user": "u1",
        "candidate": PAIR.candidate,
        "history": "all the user's events",
        "normalization": "softmax",
        "unknown_context": [],
        "behaviours": PAIR.behaviours,
        "top": 0,
        "check": {"largest_logit_difference": 2e-6, "tolerance": 1e-4},
        "sequences": {},
    }


def test_each_sequence_has_its_own_table_and_sentences() -> None:
    cart = {**PAIR.behaviours[1], "item": "k0", "weight": 1.0, "click_probability_without": 0.6}
    carts = ExplainedSequence([cart], 0, {"largest_logit_difference": 3e-6, "tolerance": 1e-4})
    orders = ExplainedSequence([], None, {"largest_logit_difference": 0.0, "tolerance": 1e-4})
    pair = replace(PAIR, sequences={"carts": carts, "orders": orders})
    shown = [line.strip() for line in render(pair).splitlines()]
    assert shown.index("carts") > next(place for place, line in enumerate(shown) if "│ b1" in line)
    assert next(place for place, line in enumerate(shown) if "│ k0" in line) > shown.index("carts")
    assert "orders" not in shown
    lines = describe_explanation(pair)
    assert lines[3:] == [
        "history: checked for each behaviour left out: logits differ by at most 2.0e-06 (allowed: 0.0001)",
        "carts: without the top behaviour (k0, weight 1.0000): click probability 0.6000; the weights predict 0.7500",
        "carts: checked for each behaviour left out: logits differ by at most 3.0e-06 (allowed: 0.0001)",
        "nothing to weigh: the orders are empty",
    ]
    events = {name: each.behaviours for name, each in pair.all_sequences.items()}
    figure = draw_attention(build_example("u1", events, (PAIR.candidate, [[0.8, 0.2], [1.0], []])))
    assert [text.get_text() for text in figure.texts[:3]] == ["history", "carts", "orders: empty"]
    assert [[round(bar.get_width(), 3) for bar in axes.patches] for axes in figure.axes] == [[0.8, 0.2], [1.0]]
    heights = [axes.get_position() for axes in figure.axes]
    assert heights[0].y0 > heights[1].y1  # one below the other
    reader = PageReader(build_explanation_page(pair, figure))
    assert reader.mistakes == []
    assert reader.read("h3") == ["history", "carts"]
