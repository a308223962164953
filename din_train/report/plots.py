"""Figures: one look for all of them, as an element of a page and as PNG and SVG files.

Colours are chosen to be read on white and on black. Text and axes are drawn in `INK`, which becomes the colour of the
page's own text where a figure stands in a page.
"""

import html
import io
import logging
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakKeyDictionary

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from din_train.files import atomic_folder
from din_train.printable import make_printable

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells users that it builds its font cache

INK = "#23272e"
QUIET = "#868c96"
COLORS = ("#3b82c4", "#d4731c", "#2f9a68", "#a866c9", "#c2504f", "#8a7a4a")

WIDTH = 4.8  # inches, of which a phone shows each as 75 pixels

_STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "grid.alpha": 0.35,
    "grid.color": QUIET,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "din-train",
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollars
    "xtick.color": INK,
    "ytick.color": INK,
}
# It would hold for the whole page; the page says the same of its figures.
_GLOBAL_STYLE = re.compile(r"\s*<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)

_RENDERED: WeakKeyDictionary[Figure, str] = WeakKeyDictionary()

_FIGURES = shutil.ignore_patterns("*.svg", "*.png")

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@contextmanager
def figure_style() -> Iterator[None]:
    """The look; a figure is both built and rendered inside it."""
    with rc_context(_STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")  # the browser has it
        yield


def new_figure(height: float = 3.2, *, title: str) -> tuple[Figure, Axes]:
    """A figure of one plot. Inside `figure_style`.

    Args:
        height: inches.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def to_svg(figure: Figure, *, name: str, description: str, ink: str = INK) -> str:
    """An `<svg>` element to stand in a page, the same for the same figure.

    It has the colours and the fonts of the page's text, and refers to nothing outside itself.

    Args:
        name: comes before every id inside, so that figures of one page keep theirs apart.
        description: what it shows, for those who do not see it.
        ink: the colour to replace by that of the page's text.
    """
    svg = _in_tags(_GLOBAL_STYLE.sub("", _render(figure)), lambda tag: _fit_into_page(tag, name, ink))
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg, count=2)  # HTML has no use for them
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(make_printable(description))}" ', 1)


def write_figures(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Put `<name>.svg` and `<name>.png` of each, on white, in place of those in the folder; other files stay."""
    with atomic_folder(folder) as temporary:
        if folder.is_dir():
            shutil.copytree(folder, temporary, ignore=_FIGURES, dirs_exist_ok=True, symlinks=True)
        for name, figure in figures.items():
            svg = re.sub(r"(<svg [^>]*>)", r'\1\n<rect width="100%" height="100%" fill="#ffffff"/>', _render(figure))
            (temporary / f"{name}.svg").write_text(svg, encoding="utf-8")
            with figure_style():
                figure.savefig(temporary / f"{name}.png", dpi=144, facecolor="white", metadata={"Software": None})


def clip_text(text: str, width: int = 24) -> str:
    """Someone else's name, on one line and not too long for an axis."""
    one_line = make_printable(" ".join(text.split()))
    return one_line if len(one_line) <= width else one_line[: width - 1] + "…"


def _render(figure: Figure) -> str:
    """As SVG; a figure is laid out and drawn once, for its page and for its file."""
    if figure in _RENDERED:
        return _RENDERED[figure]
    text = io.StringIO()
    with figure_style():
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    figure.set_layout_engine("none")  # it stays as it is laid out
    svg = text.getvalue()
    _RENDERED[figure] = svg[svg.index("<svg") :]  # without the XML header, which has no place inside a page
    return _RENDERED[figure]


def _fit_into_page(tag: str, name: str, ink: str) -> str:
    for fixed in (ink, "#000000"):
        tag = tag.replace(fixed, "currentColor")
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    return re.sub(r'\bid="|(?<=href=")#|(?<=url\()#', rf"\g<0>{name}-", tag)


def _in_tags(svg: str, change: Callable[[str], str]) -> str:
    """Texts stay as they are: matplotlib escapes the angle brackets in them, and in attributes."""
    return re.sub(r"<[^>]+>", lambda match: change(match[0]), svg)
