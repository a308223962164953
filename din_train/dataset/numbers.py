"""Numbers as people write them.

They are such as `12.99`, `$1,299.00`, `1.299,00 €`, `1 299,00` and `1e3`. A field has one way of writing. Thousands
come in groups of three behind commas, dots, blanks or apostrophes. Its decimal mark is the dot, unless more of its
values can only be read with a decimal comma (`12,99`, `1.299,00`) than only with a decimal point (`12.99`, `1,299.00`):
`1,299` is 1299 beside `12.99`, and 1.299 beside `12,99`. A currency sign, three capital letters (`EUR`) or `%` may
stand before or after; a field has one of them, the most frequent, and values without. Anything else (a range, a word,
`inf`, a value in another currency or with the other mark) is no number.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLANKS = " '\u00a0\u2009\u202f\u2019"  # apostrophes too
_CURRENCY = r"$\u00a2-\u00a5\u058f\u20a0-\u20cf"
_UNIT = rf"[A-Z]{{0,3}}[{_CURRENCY}]|[A-Z]{{3}}|%"
_POWER = r"(?:[eE][+-]?[0-9]{1,3})?"
_DIGITS = rf"(?:[0-9][0-9.,{_BLANKS}]*|[.,][0-9]+){_POWER}"
_AMOUNT = re.compile(
    rf"(?P<sign>[+-]?)\s*(?:(?P<before>{_UNIT})\s*)?(?P<inner>[+-]?)(?P<digits>{_DIGITS})\s*(?P<after>{_UNIT})?"
)
_OTHER = {".": ",", ",": "."}
_WAYS = {
    mark: re.compile(
        "(?:"
        + "|".join(rf"[1-9][0-9]{{0,2}}(?:{re.escape(each)}[0-9]{{3}})+" for each in (thousands, *_BLANKS))
        + rf"|[0-9]*)(?:{re.escape(mark)}[0-9]*)?{_POWER}"
    )
    for mark, thousands in _OTHER.items()
}


@dataclass(frozen=True)
class _Amount:
    """A text cut into `+` or `-`, digits with their marks, and the unit around them."""

    sign: str
    digits: str
    unit: str

    @property
    def marks(self) -> list[str]:
        """The decimal marks with which it is a number."""
        return [mark for mark, way in _WAYS.items() if way.fullmatch(self.digits)]

    def read(self, mark: str) -> float:
        """The number with that decimal mark; NaN where it is none, or beyond floating point."""
        if mark not in self.marks:
            return math.nan
        plain = self.digits.translate({ord(each): None for each in (*_BLANKS, _OTHER[mark])}).replace(mark, ".")
        number = float(self.sign + plain)
        return number if math.isfinite(number) else math.nan


@dataclass(frozen=True)
class NumberStyle:
    """How a field's numbers are written: their decimal mark, and the unit beside some of them ("" if there is none)."""

    mark: str
    unit: str


def find_style(texts: Sequence[str | None]) -> NumberStyle:
    """How most of the different texts are written."""
    marks, units = Counter[str](), Counter[str]()
    for amount in (_cut(text) for text in dict.fromkeys(texts) if text is not None):
        if amount is not None:
            units.update([amount.unit] if amount.unit else [])
            marks.update(amount.marks if len(amount.marks) == 1 else [])
    unit = max(units, key=lambda each: (units[each], each), default="")
    return NumberStyle("," if marks[","] > marks["."] else ".", unit)


def parse_numbers(texts: Sequence[str | None], style: NumberStyle | None = None) -> NDArray[np.float64]:
    """[n] texts of one field -> [n] numbers; NaN for null and for what is no number.

    Args:
        style: how the field is written; told by the texts if left out.
    """
    style = find_style(texts) if style is None else style
    amounts = {text: _cut(text) for text in dict.fromkeys(texts) if text is not None}
    numbers = {
        text: math.nan if amount is None or amount.unit not in ("", style.unit) else amount.read(style.mark)
        for text, amount in amounts.items()
    }
    return np.array([math.nan if text is None else numbers[text] for text in texts], np.float64)


def _cut(text: str) -> _Amount | None:
    """None for what is no number in any way of writing."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or (found["sign"] and found["inner"]) or (found["before"] and found["after"]):
        return None
    return _Amount(
        sign=found["sign"] or found["inner"],
        digits=found["digits"].strip(_BLANKS),
        unit=found["before"] or found["after"] or "",
    )
