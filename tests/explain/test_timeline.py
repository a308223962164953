"""The attention picture: bars as long as the weights, text that fits and is taken literally, both backgrounds."""

import itertools
import re
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from din_train.explain.examples import Example
from din_train.explain.timeline import (
    CLICKED_COLOUR,
    SAMPLED_COLOUR,
    TEXT_COLOUR,
    draw_attention,
    format_day,
    format_weight,
    to_svg,
    write_picture,
)
from din_train.printable import make_printable


def make_example(weights: list[tuple[float, float | None]], **changes: Any) -> Example:
    """A behaviour a pair of weights, days apart."""
    sampled = any(other is not None for _, other in weights)
    return {
        "user": "u1",
        "clicked": {"item": "i1", "title": "Camera", "category": "Photo", "click_probability": 0.75},
        "sampled": {"item": "i2", "title": None, "category": None, "click_probability": 0.125} if sampled else None,
        "behaviours": [
            {
                "item": f"b{place}",
                "title": f"Title {place}",
                "category": "Lenses",
                "timestamp": 1_393_718_400 + 86_400 * place,
                "weight_clicked": clicked,
                "weight_sampled": other,
                **changes,
            }
            for place, (clicked, other) in enumerate(weights)
        ],
    }  # type: ignore[return-value]


def read_texts(svg: str) -> list[str]:
    """The texts of an SVG, in order; it must be well-formed."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own
    return ["".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]


def read_bars(figure: Figure, colour: str) -> list[tuple[float, float]]:
    """Left edge and length of the bars of a colour, the legend's square left out."""
    from matplotlib.colors import to_rgba

    (axes,) = figure.axes
    bars = [each for each in axes.patches if isinstance(each, Rectangle) and each.get_facecolor() == to_rgba(colour)]
    return [(each.get_x(), each.get_width()) for each in bars[1:]]


def test_paired_bars_are_as_long_as_the_weights_on_one_scale() -> None:
    weights = [(0.5, 0.1), (0.25, 0.8), (0.0, 0.1)]
    figure = draw_attention(make_example([*weights]))
    clicked, sampled = read_bars(figure, CLICKED_COLOUR), read_bars(figure, SAMPLED_COLOUR)
    unit = sampled[1][1] / 0.8
    assert unit > 100  # points
    assert [length / unit for _, length in clicked] == pytest.approx([0.5, 0.25, 0.0])
    assert [length / unit for _, length in sampled] == pytest.approx([0.1, 0.8, 0.1])
    assert {round(left, 6) for left, _ in (*clicked, *sampled)} == {63.0}


def test_negative_weights_go_to_the_left_of_one_zero() -> None:
    clicked = read_bars(draw_attention(make_example([(2.0, None), (-1.0, None)])), CLICKED_COLOUR)
    assert clicked[0][0] == clicked[1][0]
    assert clicked[1][1] / clicked[0][1] == pytest.approx(-0.5)
    assert clicked[1][0] + clicked[1][1] == pytest.approx(63.0)  # the lowest ends where the room begins


def test_what_is_written_oldest_first() -> None:
    texts = read_texts(to_svg(draw_attention(make_example([(0.7, 0.4), (0.3, 0.6)]))))
    assert texts == [
        "user u1",
        "clicked, click probability 0.750:", "Camera · Photo",
        "sampled, click probability 0.125:", "i2",
        "2014-03-02", "Title 0 · Lenses", "0.700", "0.400",
        "2014-03-03", "Title 1 · Lenses", "0.300", "0.600",
        "activation weights; oldest behaviour first",
    ]  # fmt: skip


def test_one_candidate_by_the_name_given() -> None:
    texts = read_texts(to_svg(draw_attention(make_example([(1.0, None)]), clicked_as="candidate")))
    assert texts[1] == "candidate, click probability 0.750:"
    assert not any("sampled" in text for text in texts)


def test_an_empty_history() -> None:
    assert read_texts(to_svg(draw_attention(make_example([]))))[-1] == "an empty history: nothing to weigh"


def test_twenty_long_titles_fit_and_keep_their_category() -> None:
    example = make_example([(0.05, 0.05)] * 20, title="A title that goes on " * 20, category="Camera & Photo")
    figure = draw_attention(example)
    texts = read_texts(to_svg(figure))
    titles = [text for text in texts if text.startswith("A title")]
    assert len(titles) == 20
    assert all("… · Camera & Photo" in text for text in titles)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    assert width == pytest.approx(320 / 72 * figure.dpi)  # a phone's
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert all(0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height for box in boxes)
    ordered = sorted((box for text, box in zip(figure.axes[0].texts, boxes, strict=True)
                      if text.get_text().startswith("A title")), key=lambda box: -box.y0)  # fmt: skip
    assert all(upper.y0 > lower.y1 for upper, lower in itertools.pairwise(ordered))  # none over another


@pytest.mark.parametrize("title", ["$5 off $10", "a_b^{c}", "R&D <b>", "line\nbreak\x00", r"\frac{"])
def test_titles_are_taken_literally(title: str) -> None:
    svg = to_svg(draw_attention(make_example([(1.0, None)], title=title, category=None)))
    assert make_printable(title) in read_texts(svg)


def test_characters_our_font_lacks_are_no_warning_and_stay_text() -> None:
    title = "无线蓝牙耳机" * 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw_attention(make_example([(1.0, None)], title=title))
        texts = read_texts(to_svg(figure))
    shown = next(text for text in texts if text.startswith("无"))
    assert 15 < shown.index("…") < 30  # a square each in what a title has of 250 points


def test_the_svg_is_inlined_in_the_pages_colour_and_the_same_each_time() -> None:
    example = make_example([(0.5, 0.5), (0.5, 0.5)])
    svg = to_svg(draw_attention(example))
    assert svg == to_svg(draw_attention(example))
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert TEXT_COLOUR not in svg
    assert "viewBox" in svg
    assert not re.search(r"fill: #(fff|000)", svg)  # neither text nor a background of one theme


def test_pictures_have_no_background(tmp_path: Path) -> None:
    figure = draw_attention(make_example([(0.5, 0.5)]))
    write_picture(tmp_path / "a.png", figure)
    write_picture(tmp_path / "a.svg", figure)
    pixels = imread(tmp_path / "a.png")
    assert pixels.shape[1] == int(320 / 72 * 200)
    assert pixels[0, 0, 3] == 0
    assert pixels[..., 3].max() == 1
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert svg.startswith("<?xml")
    assert TEXT_COLOUR in svg  # alone, it has no page whose colour to take


@pytest.mark.parametrize(
    ("weight", "largest", "shown"),
    [(0.1234, 0.5, "0.123"), (-0.25, 3.0, "-0.250"), (0.00012, 0.001, "1.20e-04"), (0.0, 0.0, "0.000")],
)
def test_weights_are_shown_with_digits_that_tell(weight: float, largest: float, shown: str) -> None:
    assert format_weight(weight, largest) == shown


def test_days() -> None:
    assert (format_day(1_393_718_400), format_day(None)) == ("2014-03-02", "")
