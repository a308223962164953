"""Some users' activation weights: `attention.json` of a run, and pictures like the paper's Figure 5.

A picture has one row per behaviour, the oldest at the top: its day, its title and category, and under them one bar for
each candidate. If rows have several sequences, each has a part of its own under its name. The picture is as wide as a
phone and as tall as its behaviours need.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NotRequired, TypedDict

import orjson
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path

from din_train.checksums import read_indexed, write_indexed_json
from din_train.dataset.names import EventDescription, ItemDescription
from din_train.errors import RunError
from din_train.printable import make_printable
from din_train.report.page import COLORS, WIDTH, Picture, figure_style


class Candidate(ItemDescription):
    """An item that was scored."""

    click_probability: float


class WeighedBehaviour(EventDescription):
    """A behaviour with its activation weight for each candidate."""

    weight_clicked: float
    weight_sampled: float | None


class Example(TypedDict):
    """One user. behaviours: of the history, oldest first. sequences: likewise of the further sequences, by name, if
    rows have any. sampled: None if there is one candidate only.
    """

    user: str
    clicked: Candidate
    sampled: Candidate | None
    behaviours: list[WeighedBehaviour]
    sequences: NotRequired[dict[str, list[WeighedBehaviour]]]


# A candidate, and for each sequence the [N] weights of its behaviours for it.
Weighed = tuple[Candidate, Sequence[Sequence[float]]]


def build_example(
    user: str, sequences: Mapping[str, Sequence[EventDescription]], clicked: Weighed, sampled: Weighed | None = None
) -> Example:
    """Build an example of the behaviours of each sequence, the history first, weighed for one candidate or two."""
    weighed: dict[str, list[WeighedBehaviour]] = {}
    for place, (name, events) in enumerate(sequences.items()):
        others = [None] * len(events) if sampled is None else sampled[1][place]
        weighed[name] = [
            {**event, "weight_clicked": weight, "weight_sampled": other}
            for event, weight, other in zip(events, clicked[1][place], others, strict=True)
        ]
    history, *further = weighed
    example: Example = {
        "user": user,
        "clicked": clicked[0],
        "sampled": None if sampled is None else sampled[0],
        "behaviours": weighed[history],
    }
    if further:
        example["sequences"] = {name: weighed[name] for name in further}
    return example


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write `attention.json` whole."""
    write_indexed_json(path, {"examples": examples})


def read_examples(path: Path) -> list[Example]:
    """Read what a run wrote.

    Raises:
        RunError: if the file is missing or damaged.
    """
    try:
        examples: list[Example] = orjson.loads(read_indexed(path, "train the run again"))["examples"]
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; only runs of model.name=din have one, and `fit` writes it") from None
    return examples


# In points.
_WIDTH = 72 * WIDTH
_DAYS = 62.0  # from the left edge to the bars
_MARGIN = 6.0
_LINE, _BAR, _GAP = 12.0, 7.0, 8.0
_TEXT, _SMALL = 8.5, 8.0

_LEGEND_SPACES = {"borderaxespad": 0, "borderpad": 0, "handlelength": 1, "handletextpad": 0.5, "labelspacing": 0.4}
_NUMBER_SHARE = 0.2  # share of the bars' width for the number beside the longest bar
_CATEGORY_SHARE = 0.4  # the most that a category takes of an item's line
_SLACK = 1.04  # a font on screen may be that much wider than its outlines


def build_attention_picture(name: str, example: Example) -> Picture:
    """The picture of one example for a page."""
    user = example["user"]
    return Picture(
        name,
        draw_attention(example),
        f"User {user}: the weight of each behaviour, oldest first, for the clicked item and for a sampled one.",
        f"Activation weights of the behaviours of user {user}",
    )


def draw_attention(example: Example, *, clicked_as: str = "clicked") -> Figure:
    """Draw one example.

    Args:
        clicked_as: what the first candidate is called.
    """
    sampled, others = example["sampled"], example.get("sequences", {})
    sequences = {"history": example["behaviours"], **others}
    candidates = [(clicked_as, example["clicked"]), *([] if sampled is None else [("sampled", sampled)])]
    header = _MARGIN + _LINE * (1 + 2 * len(candidates)) + _GAP
    row = _LINE + (_BAR + 1) * len(candidates) + _GAP
    heading, footer = (_LINE + _GAP / 2 if others else 0.0), _LINE + _MARGIN
    height = header + sum(heading + row * len(each) for each in sequences.values()) + footer
    with figure_style():
        figure = Figure(figsize=(WIDTH, height / 72))
        figure.legend(
            [Patch(color=color) for color in COLORS[: len(candidates)]],
            [_describe_candidate(*each) for each in candidates],
            loc="upper left",
            bbox_to_anchor=(_MARGIN / _WIDTH, 1 - _MARGIN / height),
            title=_cut_text(f"user {make_printable(example['user'])}", _WIDTH - 2 * _MARGIN, "bold"),
            title_fontproperties={"size": _TEXT, "weight": "bold"},
            fontsize=_TEXT,
            alignment="left",
            **_LEGEND_SPACES,
        )
        top = header
        for name, behaviours in sequences.items():
            if others:
                title = _cut_text(name if behaviours else f"{name}: empty", _WIDTH - 2 * _MARGIN, "bold")
                place = (_MARGIN / _WIDTH, 1 - top / height)
                figure.text(*place, title, va="top", fontsize=_TEXT, fontweight="bold")
            body = row * len(behaviours)
            top += heading + body
            if behaviours:
                box = (_DAYS / _WIDTH, 1 - top / height, (_WIDTH - _DAYS - _MARGIN) / _WIDTH, body / height)
                weights = [[each["weight_clicked"], each["weight_sampled"] or 0.0] for each in behaviours]
                of_candidates = list(zip(*weights, strict=True))[: len(candidates)]
                _draw_bars(figure.add_axes(box), row, behaviours, of_candidates)
        has_any = any(sequences.values())
        caption = "activation weights; oldest behaviour first" if has_any else "an empty history: nothing to weigh"
        figure.text(_MARGIN / _WIDTH, _MARGIN / height, caption, fontsize=_SMALL)
    return figure


def _draw_bars(
    axes: Axes, row: float, behaviours: Sequence[EventDescription], weights: Sequence[Sequence[float]]
) -> None:
    """Draw bars that share one zero, with positive ones to its right; y is in points from the top."""
    tops = [row * place for place in range(len(behaviours))]
    flat = [weight for series in weights for weight in series]
    low, high, largest = min(0.0, *flat), max(0.0, *flat), max(map(abs, flat))
    room = (high - low) or 1.0
    for number, (series, color) in enumerate(zip(weights, COLORS, strict=False)):
        places = [top + _LINE + (_BAR + 1) * number for top in tops]
        axes.barh(places, series, height=_BAR, align="edge", color=color)
        for weight, place in zip(series, places, strict=True):
            axes.annotate(
                format_weight(weight, largest),
                (max(weight, 0.0), place + _BAR / 2),
                xytext=(3, 0),
                textcoords="offset points",
                va="center_baseline",
                fontsize=_SMALL,
            )
    for behaviour, top in zip(behaviours, tops, strict=True):
        title = _describe_item(behaviour, _WIDTH - _DAYS - _MARGIN)
        axes.text(0, top, title, va="top", fontsize=_TEXT, transform=axes.get_yaxis_transform())
    axes.set(xlim=(low, high + _NUMBER_SHARE * room), ylim=(row * len(tops), 0), xticks=[])
    axes.set_yticks([top + _LINE / 2 for top in tops], [format_day(each["timestamp"]) for each in behaviours])
    axes.tick_params(axis="y", labelsize=_SMALL)
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set(bounds=(0, row * len(tops) - _GAP), position=("outward", 4))


def format_weight(weight: float, largest: float) -> str:
    """Three decimal places, or scientific notation if the largest weight is tiny or huge."""
    return f"{weight:.3f}" if largest == 0 or 0.01 <= largest < 1000 else f"{weight:.2e}"


def format_day(timestamp: int | None) -> str:
    """The day in UTC, or nothing if the log has no times."""
    return "" if timestamp is None else datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")


def _describe_candidate(called: str, candidate: Candidate) -> str:
    item = _describe_item(candidate, _WIDTH - 2 * _MARGIN - 15)
    return f"{called}, click probability {candidate['click_probability']:.3f}:\n{item}"


def _describe_item(item: ItemDescription, room: float) -> str:
    """The title (else the raw id) and the category; a long title leaves the category its place."""
    category = f" · {make_printable(item['category'])}" if item["category"] else ""
    category = _cut_text(category, room * _CATEGORY_SHARE)
    return _cut_text(make_printable(item["title"] or item["item"]), room - _measure_text(category)) + category


def _cut_text(text: str, room: float, weight: str = "normal") -> str:
    """The text, or as much of its beginning as fits, with an ellipsis."""
    if _measure_text(text, weight) <= room:
        return text
    fits, too_long = 0, len(text)  # characters
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _measure_text(text[:middle].rstrip() + "…", weight) <= room:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…"


def _measure_text(text: str, weight: str = "normal") -> float:
    """Points; a wide (Chinese, Japanese, Korean) character counts as a square, whatever glyph stands in for it here."""
    wide = [each for each in text if unicodedata.east_asian_width(each) in "WF"]
    narrow = "".join(each for each in text if unicodedata.east_asian_width(each) not in "WF")
    font = FontProperties(size=_TEXT, weight=weight)
    width = float(text_to_path.get_text_width_height_descent(narrow, font, ismath=False)[0])
    return (width + _TEXT * len(wide)) * _SLACK
