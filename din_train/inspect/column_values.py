"""What the values of a column may be, whatever its name says: times, ids, lists, numbers."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from din_train.config import ColumnsConfig
from din_train.config.data import NULL_VALUES
from din_train.logs.history_text import HistoryFormat
from din_train.logs.times import TimeReader

_CHECKED = 1_000  # values that are looked at, at most
_COLUMNS = ColumnsConfig(user="user", item="item", timestamp="timestamp")

_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
# Of times that only a pattern tells; the first that reads all values is taken. If both readings of a date are possible,
# the month comes first, as in the logs that are published.
TIME_FORMATS = (
    *("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%m/%d/%y %H:%M", "%m/%d/%y"),
    *("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y"),
    *("%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d"),
    *("%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%d %H:%M:%S UTC"),
    *("%b %d, %Y", "%B %d, %Y", "%m %d, %Y", "%d %b %Y", "%d-%b-%Y", "%Y-%m-%d-%H:%M:%S", "%Y%m%d %H:%M:%S"),
    "%Y-%m-%d %H",
)

_SEPARATORS = ("^", "|", ";", ",", " ", "#", "\x01", "\t")
_ID = re.compile(r"[A-Za-z]{0,4}[0-9][A-Za-z0-9_:-]*|[0-9a-fA-F]{8,}|[A-Za-z0-9_-]*[0-9][A-Za-z0-9_-]*")
_IMPRESSIONS = re.compile(r"[^\s-]\S*-[01](?: [^\s-]\S*-[01])*")
BRACKETS = "[]"
_LONGEST_WORD = 40


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def is_null(text: str) -> bool:
    """Whether a text stands for no value."""
    return not text or text in NULL_VALUES


def find_time_form(values: Sequence[str]) -> str | None:
    """How times are written: a unit, `ISO 8601`, `YYYYMMDD`, or a pattern of `TIME_FORMATS`; None if they are none."""
    checked = [value.strip() for value in list(dict.fromkeys(values))[:_CHECKED]]
    if not checked or not checked[0][:1].isalnum():
        return None
    reader = TimeReader(_COLUMNS, frozenset(NULL_VALUES))
    _, reasons = reader.read(pa.array(checked, pa.string()), np.ones(len(checked), bool))
    if not any(rows.any() for rows in reasons.values()):
        return reader.form
    if all(map(is_number, checked)):
        return None
    return next((form for form in TIME_FORMATS if all(_fits(value, form) for value in checked)), None)


def _fits(value: str, form: str) -> bool:
    try:
        return 1980 <= datetime.strptime(value, form).year <= 2100
    except ValueError:
        return False


def are_impressions(values: Sequence[str]) -> bool:
    """Whether values are the items and labels of a request, such as `N1-0 N2-1`."""
    return len(values) > 0 and all(map(_IMPRESSIONS.fullmatch, values[:_CHECKED]))


def find_list_separator(values: Sequence[str], parts: Literal["ids", "words", "any"] = "ids") -> str | None:
    """What stands between the parts of lists; `BRACKETS` if they are lists in brackets; None if they are none.

    Args:
        parts: what they must be: ids; or words that come again, such as genres; or whatever has no blank in it.
    """
    filled = [value.strip() for value in values if not is_null(value.strip())][:_CHECKED]
    if not filled:
        return None
    if 2 * sum(value.startswith("[") and value.endswith("]") for value in filled) > len(filled):
        return BRACKETS
    if all(is_number(value.replace(",", ".", 1)) for value in filled) or find_time_form(filled) is not None:
        return None
    for separator in _SEPARATORS:
        several = [value.split(separator) for value in filled if separator in value]
        found = [part.strip() for value in several for part in value if part.strip()]
        if not found or 10 * len(several) < len(filled):
            continue
        if sum(_ID.fullmatch(part) is not None for part in found) > 0.9 * len(found):
            return separator
        are_tags = separator in "|;," and len(set(found)) < len(found) / 3 and max(map(len, found)) <= _LONGEST_WORD
        if (parts == "words" and are_tags) or (parts == "any" and not any(" " in part for part in found)):
            return separator
    return None


def split_list(text: str, separator: str) -> list[str]:
    """The parts of a list as the readers of histories take them; none if it is no list."""
    try:
        parts = HistoryFormat("^" if separator == BRACKETS else separator).split(text)
    except ValueError:
        return []
    return [part for part in parts if part is not None]


def find_shape(text: str) -> str:
    """`AB12-x` -> `A9-a`: how an id is written."""
    return re.sub(r"[0-9]+", "9", re.sub(r"[a-z]+", "a", re.sub(r"[A-Z]+", "A", text.strip())))


def is_row(first: Sequence[str], columns: Sequence[Sequence[str]]) -> bool:
    """Whether a first line is a row like those below it: a column's values are written alike, and its cell too."""
    for cell, values in zip(first, columns, strict=True):
        filled = [value for value in values if not is_null(value)][:_CHECKED]
        if is_null(cell) or not filled:
            continue
        if all(map(is_number, filled)):
            if is_number(cell):
                return True
            continue
        if find_time_form(filled) is not None and find_time_form([cell]) is not None:
            return True
        shape, count = Counter(map(find_shape, filled)).most_common(1)[0]
        if "9" in shape and 10 * count >= 9 * len(filled) and find_shape(cell) == shape:
            return True
    return all(is_number(cell) for cell in first)


def count_distinct(values: Collection[str]) -> int:
    return len({value for value in values if not is_null(value)})


def depends_on(values: Sequence[str], key: Sequence[Any]) -> bool:
    """Whether rows of one key have one value, as an item has one category."""
    first: dict[Any, str] = {}
    return all(first.setdefault(each, value) == value for each, value in zip(key, values, strict=True))
