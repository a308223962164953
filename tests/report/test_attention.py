"""`attention.json` is whole or refused; in its pictures bars are as long as weights, and texts fit and stay text."""

import itertools
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from din_train.errors import RunError
from din_train.printable import make_printable
from din_train.report import page
from din_train.report.attention import (
    Example,
    draw_attention,
    format_day,
    format_weight,
    read_examples,
    write_examples,
)
from din_train.report.page import COLORS, to_svg, write_figure

pytestmark = pytest.mark.figures


def make_example(weights: list[tuple[float, float | None]], **changes: Any) -> Example:
    """One behaviour per pair of weights, days apart."""
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


def read_texts(figure: Figure) -> list[str]:
    """The texts of the figure as an SVG; it must be well-formed."""
    svg = to_svg(figure, name="a", description="d").replace("xlink:", "")
    return ["".join(each.itertext()).strip() for each in ElementTree.fromstring(svg).iter("text")]  # noqa: S314 - our own


def read_bars(figure: Figure, number: int) -> list[tuple[float, float]]:
    """Left edge and length of the bars of a candidate, as weights."""
    bars = [each for each in figure.axes[0].patches if isinstance(each, Rectangle)]
    return [(each.get_x(), each.get_width()) for each in bars if each.get_facecolor() == to_rgba(COLORS[number])]


def test_the_files_form(tmp_path: Path) -> None:
    path = tmp_path / "attention.json"
    write_examples(path, [make_example([(0.5, None)])])
    assert orjson.loads(path.read_bytes()) == {"examples": [make_example([(0.5, None)])]}
    assert read_examples(path) == [make_example([(0.5, None)])]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["attention.json", "checksums.json"]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, "no such file"),
        (b"{", "damaged or changed"),
        (b"[]", "damaged or changed"),
        (b'{"examples": [{"user": "u"}]}', "damaged or changed"),
    ],
)
def test_a_missing_or_damaged_file_is_refused(tmp_path: Path, contents: bytes | None, message: str) -> None:
    path = tmp_path / "attention.json"
    write_examples(path, [make_example([(0.5, None)])])
    path.unlink()
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(RunError, match=message):
        read_examples(path)


def test_paired_bars_are_as_long_as_the_weights_on_one_scale() -> None:
    figure = draw_attention(make_example([(0.5, 0.1), (0.25, 0.8), (0.0, 0.1)]))
    assert read_bars(figure, 0) == [(0, 0.5), (0, 0.25), (0, 0.0)]
    assert read_bars(figure, 1) == [(0, 0.1), (0, 0.8), (0, 0.1)]
    low, high = figure.axes[0].get_xlim()
    assert low == 0
    assert 0.8 < high < 1  # the longest takes most of the width


def test_negative_weights_go_to_the_left_of_one_zero() -> None:
    figure = draw_attention(make_example([(2.0, None), (-1.0, None)]))
    assert read_bars(figure, 0) == [(0, 2.0), (0, -1.0)]
    assert figure.axes[0].get_xlim()[0] == -1.0  # the lowest ends where the room begins


def test_what_is_written_oldest_first() -> None:
    texts = read_texts(draw_attention(make_example([(0.7, 0.4), (0.3, 0.6)])))
    for expected in (
        ["user u1", "clicked, click probability 0.750:", "Camera · Photo", "sampled, click probability 0.125:", "i2"],
        ["2014-03-02", "2014-03-03"],
        ["Title 0 · Lenses", "Title 1 · Lenses"],
        ["0.700", "0.300", "0.400", "0.600"],
        ["activation weights; oldest behaviour first"],
    ):
        assert [text for text in texts if text in expected] == expected


def test_one_candidate_by_the_name_given() -> None:
    texts = read_texts(draw_attention(make_example([(1.0, None)]), clicked_as="candidate"))
    assert "candidate, click probability 0.750:" in texts
    assert not any("sampled" in text for text in texts)


def test_an_empty_history() -> None:
    assert "an empty history: nothing to weigh" in read_texts(draw_attention(make_example([])))


def test_twenty_long_titles_fit_and_keep_their_category() -> None:
    example = make_example([(0.00012, 0.00005)] * 20, title="A title that goes on " * 20, category="Camera & Photo")
    example["user"] = "u" * 500
    example["clicked"]["title"] = "W" * 500
    figure = draw_attention(example)
    figure.draw_without_rendering()
    texts = [each for each in figure.findobj(Text) if each.get_text() and each.get_visible()]
    titles = [each for each in texts if each.get_text().startswith("A title")]
    assert len(titles) == 20
    assert all("… · Camera & Photo" in each.get_text() for each in titles)
    width, height = figure.get_size_inches() * figure.dpi
    assert width == pytest.approx(4.8 * figure.dpi)  # a phone's
    boxes = [each.get_window_extent() for each in texts]
    assert all(0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height for box in boxes)
    for one, other in itertools.combinations(boxes, 2):
        assert not (one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1)


@pytest.mark.parametrize("title", ["$5 off $10", "a_b^{c}", "R&D <b>", "line\nbreak\x00", r"\frac{"])
def test_titles_are_taken_literally(title: str) -> None:
    figure = draw_attention(make_example([(1.0, None)], title=title, category=None))
    assert make_printable(title) in read_texts(figure)


def test_characters_our_font_lacks_are_no_warning_and_stay_text(tmp_path: Path) -> None:
    title = "无线蓝牙耳机" * 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw_attention(make_example([(1.0, None)], title=title))
        texts = read_texts(figure)
        write_figure(tmp_path / "a.png", figure)
    shown = next(text for text in texts if text.startswith("无"))
    assert 15 < shown.index("…") < 30  # a square each in what a title has of 280 points


def test_every_text_may_take_its_characters_from_a_wide_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_find_fonts", lambda: ["sans-serif", "Noto Sans CJK SC"])
    figure = draw_attention(make_example([(0.5, 0.5)]))
    texts = [each for each in figure.findobj(Text) if each.get_text() and each.get_visible()]
    assert len(texts) > 5
    assert {tuple(each.get_fontfamily()) for each in texts} == {("sans-serif", "Noto Sans CJK SC")}


@pytest.mark.parametrize(
    ("weight", "largest", "shown"),
    [(0.1234, 0.5, "0.123"), (-0.25, 3.0, "-0.250"), (0.00012, 0.001, "1.20e-04"), (0.0, 0.0, "0.000")],
)
def test_weights_are_shown_with_digits_that_tell(weight: float, largest: float, shown: str) -> None:
    assert format_weight(weight, largest) == shown


def test_days() -> None:
    assert (format_day(1_393_718_400), format_day(None)) == ("2014-03-02", "")
