"""The numbers that a Markdown text prints, each with the values it may stand for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

# Unit, its other spellings, and what it multiplies a number by: several where a result may be in either unit.
_UNITS = (
    ("%", ("per cent",), (1, "0.01")),
    ("k", ("K",), (1000,)),
    ("million", ("M",), (10**6,)),
    ("billion", (), (10**9,)),
    ("万", (), (10**4,)),
    ("亿", (), (10**8,)),
    ("kB", ("KB",), (1, 1000)),
    ("MB", (), (1, 10**6)),
    ("GB", (), (1, 1000, 10**9)),
    ("ms", ("毫秒",), (1, "0.001")),
    ("s", ("second", "seconds", "秒"), (1,)),
    ("min", ("minute", "minutes", "分钟"), (1, 60)),
    ("h", ("hour", "hours", "小时"), (1, 60, 3600)),
    ("times", ("倍",), (1,)),
)
_SCALES = {unit: tuple(map(Decimal, scales)) for unit, _, scales in _UNITS}
_SPELLINGS = {spelling: unit for unit, others, _ in _UNITS for spelling in (unit, *others)}

_ANY_UNIT = "|".join(sorted(map(re.escape, _SPELLINGS), key=len, reverse=True))
_FIGURE = re.compile(
    r"(?<![A-Za-z0-9_.])(?<![A-Za-z_]-)"  # `b1`, `SHA-256` and `0.9.4` are names
    r"(?P<sign>(?<![^\s(\[|])[-−+])?"
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\.\d+|\d+)(?P<exponent>[eE][-+]?\d+)?"
    rf"(?:\s?(?P<unit>{_ANY_UNIT})|(?P<x>x))?"
    r"(?![A-Za-z0-9_]|\.\d|,\d{3}(?!\d))"
)
_RANGE = re.compile(r"\s?(?:[-–~～]|to|至|到)\s?")

# What has digits and no figure. A fence with another language than `text`, or inline code, is code.
_LANGUAGES_OF_FIGURES = ("", "text")
_FENCE = re.compile(r"^(?P<fence>```+|~~~+)[ ]*(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=fence)[ ]*$", re.M | re.S)
_INLINE_CODE = re.compile(r"(?<!`)(`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)\1(?!`)", re.S)
_NO_FIGURES = re.compile(
    r"(?<=\])\([^)\s]*\)|https?://[^\s)>]+|<[A-Za-z/!][^>]*>"  # link targets, tags
    r"|^[ ]*\d+\.(?=\s)"  # the number of a list's item
    r"|\b\d{4}-\d\d-\d\d\b|\barXiv[ :]\S+"
    r"|\b(?:sections?|tables?|figures?|fig\.|equations?)\s\d[\d.]*(?:(?:,|,? and| to)\s\d[\d.]*)*"
    r"|(?:第|表|图)\s?\d[\d.]*(?=[\s节章、，。;；,.）)]|$)",
    re.M | re.I,
)
_HIDDEN = "\x00"


@dataclass(frozen=True)
class Figure:
    """A printed number: `text` with its unit, at `start` to `end` of the document, on `line`.

    number: as printed, without its unit. step: what its last digit counts. scales: what its unit may multiply it by.
    is_count: a whole number of at most ten without a unit in a sentence, which counts things (`3 seeds`).
    """

    text: str
    line: int
    start: int
    end: int
    number: Decimal
    step: Decimal
    scales: tuple[Decimal, ...]
    is_count: bool

    def shows(self, value: Decimal) -> bool:
        """Whether `value`, rounded to the digits printed, is this number; a half may be rounded either way."""
        return any(abs(self.number * scale - value) <= self.step * scale / 2 for scale in self.scales)

    @property
    def amount(self) -> Decimal:
        """The number times its `k` or `million`, equal for the same figure in another language."""
        return (self.number * self.scales[0]).normalize()


def find_figures(markdown: str) -> Iterator[Figure]:
    """Every number outside code, link targets, references such as `section 4.3`, versions and ISO dates."""
    text = _hide(markdown)
    matches = list(_FIGURE.finditer(text))
    units = [_SPELLINGS.get(match["unit"] or "", "") for match in matches]
    for place, (first, second) in reversed(list(enumerate(pairwise(matches)))):
        if not units[place] and _RANGE.fullmatch(text, first.end(), second.start()):
            units[place] = units[place + 1]
    blocks = [match.span("body") for match in _FENCE.finditer(markdown)]
    for match, unit in zip(matches, units, strict=True):
        line_start = markdown.rfind("\n", 0, match.start()) + 1
        in_sentence = markdown[line_start] != "|" and not any(a <= match.start() < b for a, b in blocks)
        digits = match["number"].replace(",", "")
        number = Decimal(digits + (match["exponent"] or ""))
        yield Figure(
            text=" ".join(markdown[match.start() : match.end()].split()),
            line=markdown.count("\n", 0, match.start()) + 1,
            start=match.start(),
            end=match.end(),
            number=-number if match["sign"] in ("-", "−") else number,
            step=_find_step(digits) * Decimal("1" + (match["exponent"] or "")),
            scales=_SCALES.get(unit, (Decimal(1),)),
            is_count=in_sentence
            and not unit
            and match["number"].isdecimal()
            and not match["exponent"]
            and number <= 10,
        )


def find_blocks(markdown: str, language: str) -> list[str]:
    """The bodies of the fenced blocks of a language, in their order."""
    return [match["body"] for match in _FENCE.finditer(markdown) if match["language"] == language]


def _find_step(digits: str) -> Decimal:
    """What the last digit counts: `.8385` ten-thousandths; `58000` thousands, as two digits at least are meant."""
    whole, _, decimals = digits.partition(".")
    if decimals:
        return Decimal(1).scaleb(-len(decimals))
    zeros = len(whole) - len(whole.rstrip("0"))
    return Decimal(10) ** min(zeros, len(whole) - 2) if len(whole) > 3 else Decimal(1)


def _hide(markdown: str) -> str:
    """The text with all that holds no figures blotted out, each character at its place."""
    pieces, end = [], 0
    for match in _FENCE.finditer(markdown):
        pieces.append(_hide_inline(markdown[end : match.start()]))
        body = match["body"]
        shown = body if match["language"] in _LANGUAGES_OF_FIGURES else _blot(body)
        pieces.append(_blot(markdown[match.start() : match.start("body")]) + shown)
        end = match.end("body")
    return "".join([*pieces, _hide_inline(markdown[end:])])


def _hide_inline(text: str) -> str:
    for pattern in (_INLINE_CODE, _NO_FIGURES):
        text = pattern.sub(lambda match: _blot(match[0]), text)
    return text


def _blot(text: str) -> str:
    return re.sub(r"[^\n]", _HIDDEN, text)
