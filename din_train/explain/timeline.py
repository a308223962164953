"""Activation weights as bars along one user's behaviour timeline, in the manner of the paper's Figure 5.

One row a behaviour, oldest at the top: its day, its title and category, and under them a bar for the clicked and one
for the sampled item. A picture is as wide as a phone and as tall as its behaviours need. Its background is transparent
and its colours stand out on white and on black alike.
"""

import io
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from din_train.dataset.names import EventDescription, ItemDescription
from din_train.explain.examples import Candidate, Example
from din_train.printable import make_printable

CLICKED_COLOUR, SAMPLED_COLOUR = "#3b87d8", "#d9822b"
TEXT_COLOUR = "#777777"  # readable on white and on black; text that follows the page's colour where the SVG is inlined

_WIDE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei",
    "WenQuanYi Zen Hei", "SimHei", "Arial Unicode MS",
)  # fmt: skip

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

# In points.
_WIDTH = 320.0
_MARGIN = 6.0
_DAY = 54.0  # from the left edge to the timeline
_CONTENT = _DAY + 9.0
_TEXT, _SMALL = 8.5, 7.5
_LINE = 12.0
_BAR = 7.0
_GAP = 8.0
_SLACK = 1.04  # a font on screen may be that much wider than its outlines
_CATEGORY_SHARE = 0.4  # of an item's line, at most
_NUMBER = 34.0  # room for a weight's number beside its bar


def draw_attention(example: Example, *, clicked_as: str = "clicked") -> Figure:
    """The picture of one example.

    Args:
        clicked_as: what the first candidate is called.
    """
    sampled = example["sampled"]
    candidates = [(clicked_as, CLICKED_COLOUR, example["clicked"])]
    if sampled is not None:
        candidates.append(("sampled", SAMPLED_COLOUR, sampled))
    header = _LINE * (1 + 2 * len(candidates)) + _GAP
    row = _LINE + (_BAR + 1) * len(candidates) + _GAP
    behaviours = example["behaviours"]
    height = 2 * _MARGIN + header + row * len(behaviours) + _LINE
    with _plain_text():
        figure = Figure(figsize=(_WIDTH / 72, height / 72), facecolor="none")
        axes = figure.add_axes((0, 0, 1, 1), facecolor="none")
        axes.set(xlim=(0, _WIDTH), ylim=(height, 0))  # data are points from the upper left corner
        axes.set_axis_off()
        _write(axes, _MARGIN, _MARGIN, f"user {example['user']}", _WIDTH - 2 * _MARGIN, weight="bold")
        for place, (what, colour, candidate) in enumerate(candidates):
            _draw_candidate(axes, _MARGIN + _LINE * (1 + 2 * place), what, colour, candidate)
        top = _MARGIN + header
        if behaviours:
            axes.plot([_DAY] * 2, [top, top + row * len(behaviours) - _GAP], color=TEXT_COLOUR, linewidth=0.8)
        weights = [
            [each for each in (behaviour["weight_clicked"], behaviour["weight_sampled"]) if each is not None]
            for behaviour in behaviours
        ]
        colours = [colour for _, colour, _ in candidates]
        scale = _Scale([each for both in weights for each in both])
        for place, (behaviour, both) in enumerate(zip(behaviours, weights, strict=True)):
            _draw_behaviour(axes, top + row * place, behaviour)
            for bar, (weight, colour) in enumerate(zip(both, colours, strict=True)):
                scale.draw_bar(axes, top + row * place + _LINE + (_BAR + 1) * bar, weight, colour)
        caption = "activation weights; oldest behaviour first" if behaviours else "an empty history: nothing to weigh"
        _write(axes, _MARGIN, height - _MARGIN - _LINE + 2, caption, _WIDTH - 2 * _MARGIN, size=_SMALL)
    return figure


def format_weight(weight: float, largest: float) -> str:
    """Three places, or digits that show where the largest weight is tiny or huge."""
    return f"{weight:.3f}" if largest == 0 or 0.01 <= largest < 1000 else f"{weight:.2e}"


def format_day(timestamp: int | None) -> str:
    """UTC, or nothing where there is no time."""
    return "" if timestamp is None else datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")


def to_svg(figure: Figure) -> str:
    """An `<svg>` element to put into a page, whose colour and fonts its text takes; the same for the same picture."""
    svg = _render_svg(figure)
    svg = svg[svg.index("<svg") :]  # without the XML header, which has no place inside a page
    return svg.replace(TEXT_COLOUR, "currentColor")


def write_picture(path: Path, figure: Figure) -> None:
    """Write a picture to a `.svg` or `.png`; not atomic, see `files.atomic_file`."""
    if path.suffix == ".svg":
        path.write_text(_render_svg(figure), encoding="utf-8")
    else:
        with _plain_text():
            figure.savefig(path, format="png", dpi=200, transparent=True)


class _Scale:
    """Weights to places: bars share one zero, to the right of which the positive ones go.

    Args:
        weights: all that are drawn.
    """

    def __init__(self, weights: list[float]) -> None:
        self._largest = max(map(abs, weights), default=0.0)
        lowest, highest = min([0.0, *weights]), max([0.0, *weights])
        room = _WIDTH - _MARGIN - _CONTENT - _NUMBER
        self._a_unit = room / (highest - lowest) if highest > lowest else 0.0
        self._zero = _CONTENT - lowest * self._a_unit

    def draw_bar(self, axes: Axes, top: float, weight: float, colour: str) -> None:
        length = weight * self._a_unit
        axes.add_patch(Rectangle((self._zero, top), length, _BAR, color=colour, linewidth=0))
        number = format_weight(weight, self._largest)
        _write(axes, self._zero + max(length, 0.0) + 3, top - 0.5, number, _NUMBER, size=_SMALL)


def _draw_candidate(axes: Axes, top: float, what: str, colour: str, candidate: Candidate) -> None:
    axes.add_patch(Rectangle((_MARGIN, top + 2.5), 8, 8, color=colour, linewidth=0))
    left, room = _MARGIN + 13, _WIDTH - 2 * _MARGIN - 13
    probability = f"{what}, click probability {candidate['click_probability']:.3f}:"
    _write(axes, left, top, probability, room)
    _write_item(axes, left, top + _LINE, candidate, room)


def _draw_behaviour(axes: Axes, top: float, behaviour: EventDescription) -> None:
    axes.plot([_DAY], [top + _LINE / 2 - 1], "o", color=TEXT_COLOUR, markersize=4)
    _write(axes, _MARGIN, top + 1, format_day(behaviour["timestamp"]), _DAY - _MARGIN, size=_SMALL)
    _write_item(axes, _CONTENT, top, behaviour, _WIDTH - _MARGIN - _CONTENT)


def _write_item(axes: Axes, left: float, top: float, item: ItemDescription, room: float) -> None:
    """Title, or the raw id where there is none, and category; a long title leaves the category its place."""
    title, category = make_printable(item["title"] or item["item"]), ""
    if item["category"]:
        category = _fit(f" · {make_printable(item['category'])}", room * _CATEGORY_SHARE, FontProperties(size=_TEXT))
    used = _measure(category, FontProperties(size=_TEXT))
    _write(axes, left, top, _fit(title, room - used, FontProperties(size=_TEXT)) + category, room)


def _write(
    axes: Axes, left: float, top: float, text: str, room: float, *, size: float = _TEXT, weight: str = "normal"
) -> None:
    """One line, cut to the room there is."""
    font = FontProperties(size=size, weight=weight)
    axes.text(
        left,
        top,
        _fit(make_printable(text), room, font),
        color=TEXT_COLOUR,
        va="top",
        parse_math=False,
        fontproperties=font,
    )


def _fit(text: str, room: float, font: FontProperties) -> str:
    """The text, or as much of its beginning as fits, with an ellipsis."""
    if _measure(text, font) <= room:
        return text
    fits, too_long = 0, len(text)  # characters
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _measure(text[:middle].rstrip() + "…", font) <= room:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…"


def _measure(text: str, font: FontProperties) -> float:
    """Points; a wide (Chinese, Japanese, Korean) character counts as a square, whatever glyph stands in for it here."""
    size = font.get_size_in_points()
    wide = [each for each in text if unicodedata.east_asian_width(each) in "WF"]
    narrow = "".join(each for each in text if unicodedata.east_asian_width(each) not in "WF")
    width = float(text_to_path.get_text_width_height_descent(narrow, font, ismath=False)[0])
    return (width + size * len(wide)) * _SLACK


def _render_svg(figure: Figure) -> str:
    text = io.StringIO()
    with _plain_text():
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    return text.getvalue()


@cache
def _find_wide_fonts() -> list[str]:
    """The installed ones of `_WIDE_FONTS`, which a PNG needs for Chinese, Japanese and Korean titles."""
    installed = set(fontManager.get_font_names())
    return [name for name in _WIDE_FONTS if name in installed]


@contextmanager
def _plain_text() -> Iterator[None]:
    """Text stays text in an SVG, so that the reader's fonts have the characters that ours lack."""
    families = ["sans-serif", *_find_wide_fonts()]
    with (
        rc_context({"svg.hashsalt": "din-train", "svg.fonttype": "none", "font.family": families}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield
