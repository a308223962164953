"""Whether an event is a click: a label that the log has, or a number that is high enough."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from din_train.logs.expressions import Reasons, flatten, take_text
from din_train.logs.records import NullValues
from din_train.logs.rejects import INVALID_UTF8, LIKE_A_RATING, MINUS_ONE, NO_LABEL, BadLine

_MINUS_ONE, _FALSE, _TRUE = ("-1", "-1.0"), ("0", "0.0", "false", "f"), ("1", "1.0", "true", "t")
_MOST_OF_A_RATING = 100.0
_RATING = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?")
_LEAST_RATING, _MOST_RATING = 0.5, 5.0


class LabelRule:
    """The texts of one log's column -> 1 for a click, 0 for an impression without one.

    A label is 0 and 1, `true` and `false`, or `t` and `f` in small or large letters; or 1 and -1. The first label of a
    log that is no click tells which: a 0 among -1s is a bad row, and a -1 among 0s.

    Args:
        at_least: the column holds numbers, of which those of at least this are clicks.
        is_rating: they are ratings from 0.5 to 5.

    Attributes:
        has_minus_one: whether -1 is the label of what is no click; None if no row so far tells.
    """

    def __init__(self, at_least: float | None = None, *, is_rating: bool = False) -> None:
        self._at_least, self._is_rating = at_least, is_rating
        self.has_minus_one: bool | None = None  # not known yet

    def parse(self, text: str) -> int:
        """The label of one event.

        Raises:
            BadLine: if there is no telling.
        """
        if self._at_least is not None:
            return int(self._parse_number(text) >= self._at_least)
        lower = text.lower()
        if lower in _TRUE:
            return 1
        if lower not in (*_FALSE, *_MINUS_ONE):
            raise BadLine(describe_bad_label(text))
        is_minus_one = lower in _MINUS_ONE
        if self.has_minus_one is None:
            self.has_minus_one = is_minus_one
        if is_minus_one != self.has_minus_one:
            raise BadLine(MINUS_ONE if is_minus_one else "label 0 among 1 and -1")
        return 0

    def _parse_number(self, text: str) -> float:
        what = "rating" if self._is_rating else "label"
        if not (_RATING.fullmatch(text) if self._is_rating else _NUMBER.fullmatch(text.strip(" "))):
            raise BadLine(f"{what} not a number" if text else f"no {what}")
        number = float(text)
        if self._is_rating and not _LEAST_RATING <= number <= _MOST_RATING:
            raise BadLine("rating not from 0.5 to 5")
        return number

    def read(self, column: Any, nulls: NullValues) -> tuple[Any, Reasons]:
        """int8 labels of a column of any type, and where there is none; the same values are labels in every type."""
        column = flatten(column)
        texts, broken = take_text(column)
        distinct = texts.dictionary_encode()
        labels: list[int | None] = []
        reasons: list[str | None] = []
        for value in [*distinct.dictionary.to_pylist(), None]:
            try:
                labels.append(self.parse("" if value is None or value in nulls else value))
                reasons.append(None)
            except BadLine as bad:
                labels.append(None)
                reasons.append(bad.reason)
        places = pc.fill_null(distinct.indices, len(labels) - 1).to_numpy(zero_copy_only=False)
        masks = {
            reason: np.isin(places, [place for place, each in enumerate(reasons) if each == reason])
            for reason in dict.fromkeys(reasons[:-1] if not distinct.null_count else reasons)
            if reason is not None
        }
        return pa.array(labels, pa.int8()).take(pa.array(places)), {INVALID_UTF8: broken, **masks}


def describe_bad_label(text: str) -> str:
    """Why a text is no label, by what it looks like: the reason of a bad line."""
    if not text:
        return "no label"
    return LIKE_A_RATING if _RATING.fullmatch(text) and float(text) <= _MOST_OF_A_RATING else NO_LABEL
