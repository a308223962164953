"""What all pages share: the frame, and one look for their figures, which also become PNG and SVG files.

Templates escape what they are given, have one style, and load nothing from elsewhere. Colours are chosen to be read on
white and on black. Text and axes are drawn in `INK`, which becomes the colour of the page's own text if a figure stands
in a page.
"""

import html
import io
import logging
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from din_train.evaluation.display import format_interval, format_metric
from din_train.files import atomic_folder
from din_train.printable import make_lines_printable, make_printable

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # else it prints that it builds its font cache

INK = "#23272e"
QUIET = "#868c96"
COLORS = ("#3b82c4", "#d4731c", "#2f9a68", "#a866c9", "#c2504f", "#8a7a4a")

WIDTH = 4.8  # inches; a phone shows 75 pixels per inch

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
    "font.size": 10.0,
    "grid.alpha": 0.35,
    "grid.color": QUIET,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "din-train",
    "text.color": INK,
    "text.parse_math": False,  # a name may contain dollar signs
    "xtick.color": INK,
    "ytick.color": INK,
}
# Those that are installed draw the Chinese, Japanese and Korean characters of PNG files.
_WIDE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei",
    "WenQuanYi Zen Hei", "SimHei", "Arial Unicode MS",
)  # fmt: skip

# This style would apply to the whole page, whose own style says the same for its figures.
_GLOBAL_STYLE = re.compile(r"\s*<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)

_RENDERED: WeakKeyDictionary[Figure, str] = WeakKeyDictionary()

_FIGURES = shutil.ignore_patterns("*.svg", "*.png")

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Picture:
    """A figure, its caption, and what it shows for those who do not see it."""

    name: str
    figure: Figure
    caption: str
    description: str

    @property
    def svg(self) -> Markup:
        """The element; matplotlib has escaped the texts in it."""
        svg = to_svg(self.figure, name=self.name, description=self.description)
        return Markup(svg)  # noqa: S704


def render_page(template: str, **values: Any) -> str:
    """Fill `templates/<template>.html`; every value is made printable and escaped.

    Raises:
        jinja2.UndefinedError: if the template needs a value that is not given.
    """
    return _build_environment().get_template(f"{template}.html").render(values)


@cache
def _build_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("din_train.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: make_lines_printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["metric"] = format_metric
    environment.filters["interval"] = format_interval
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment


@contextmanager
def figure_style() -> Iterator[None]:
    """Set the look; a figure is both built and rendered inside it."""
    with rc_context({**_STYLE, "font.family": _find_fonts()}), warnings.catch_warnings():  # type: ignore[dict-item]
        warnings.filterwarnings("ignore", r"Glyph .* missing from")  # the browser has the glyph
        yield


@cache
def _find_fonts() -> list[str]:
    installed = set(fontManager.get_font_names())
    return ["sans-serif", *(name for name in _WIDE_FONTS if name in installed)]


def new_figure(height: float = 3.2, *, title: str) -> tuple[Figure, Axes]:
    """A figure of one plot. Inside `figure_style`.

    Args:
        height: inches.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """One row per name, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def to_svg(figure: Figure, *, name: str, description: str) -> str:
    """An `<svg>` element to stand in a page, the same for the same figure.

    It takes the colours and the fonts of the page's text, and refers to nothing outside itself.

    Args:
        name: comes before every id inside, so that no two figures of a page share an id.
        description: what it shows, for those who do not see it.
    """
    svg = _in_tags(_GLOBAL_STYLE.sub("", _render(figure)), lambda tag: _fit_into_page(tag, name))
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg, count=2)  # HTML does not need them
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(make_printable(description))}" ', 1)


def write_figures(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Write `<name>.svg` and `<name>.png` of each, on white, in place of the folder's figures; other files stay."""
    with atomic_folder(folder) as temporary:
        if folder.is_dir():
            shutil.copytree(folder, temporary, ignore=_FIGURES, dirs_exist_ok=True, symlinks=True)
        for name, figure in figures.items():
            for suffix in ("svg", "png"):
                write_figure(temporary / f"{name}.{suffix}", figure)


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure on white to a file whose name ends in `.svg` or `.png`; not atomic, see `files.atomic_file`."""
    if path.suffix.lower() == ".svg":
        svg = re.sub(r"(<svg [^>]*>)", r'\1\n<rect width="100%" height="100%" fill="#ffffff"/>', _render(figure))
        path.write_text(svg, encoding="utf-8")
    else:
        with figure_style():
            figure.savefig(path, format="png", dpi=144, facecolor="white", metadata={"Software": None})


def clip_text(text: str, width: int = 24) -> str:
    """A name on one line, and short enough for an axis."""
    one_line = make_printable(" ".join(text.split()))
    return one_line if len(one_line) <= width else one_line[: width - 1] + "…"


def _render(figure: Figure) -> str:
    """Render as SVG; a figure is laid out and drawn once, for its page and for its file."""
    if figure in _RENDERED:
        return _RENDERED[figure]
    text = io.StringIO()
    with figure_style():
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    figure.set_layout_engine("none")  # keep the layout
    svg = text.getvalue()
    _RENDERED[figure] = svg[svg.index("<svg") :]  # without the XML header, which has no place inside a page
    return _RENDERED[figure]


def _fit_into_page(tag: str, name: str) -> str:
    for fixed in (INK, "#000000"):
        tag = tag.replace(fixed, "currentColor")
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    return re.sub(r'\bid="|(?<=href=")#|(?<=url\()#', rf"\g<0>{name}-", tag)


def _in_tags(svg: str, change: Callable[[str], str]) -> str:
    """Change the tags alone: matplotlib escapes the angle brackets in texts and attributes."""
    return re.sub(r"<[^>]+>", lambda match: change(match[0]), svg)
