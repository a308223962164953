"""Whether an event is a click: a label that the log has, or a rating that is high enough."""

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from din_train.logs.rejects import LIKE_A_RATING, MINUS_ONE, NO_LABEL, BadLine

_FALSE, _TRUE = ("0", "0.0", "false", "f"), ("1", "1.0", "true", "t")
_LABELS = {**dict.fromkeys(_FALSE, 0), **dict.fromkeys(_TRUE, 1)}
_MOST_OF_A_RATING = 100.0
_RATING = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
_LEAST_RATING, _MOST_RATING = 0.5, 5.0


@dataclass(frozen=True)
class LabelRule:
    """A column's text -> 1 for a click, 0 for an impression without one.

    min_rating: the least rating that is a click; None where the column holds the label itself: 0 and 1, or `true` and
        `false` or `t` and `f` in small or large letters.
    """

    min_rating: float | None = None

    def parse(self, text: str) -> int:
        """The label of one event.

        Raises:
            BadLine: where there is no telling.
        """
        if self.min_rating is None:
            label = _LABELS.get(text.lower())
            if label is None:
                raise BadLine(describe_bad_label(text))
            return label
        if not _RATING.fullmatch(text):
            raise BadLine("rating not a number" if text else "no rating")
        rating = float(text)
        if not _LEAST_RATING <= rating <= _MOST_RATING:
            raise BadLine("rating not from 0.5 to 5")
        return int(rating >= self.min_rating)

    def parse_column(self, column: Any) -> Any | None:
        """int8 labels of a string column; None where any value has none (see `parse`)."""
        distinct = column.dictionary_encode()
        try:
            labels = pa.array([self.parse(text) for text in distinct.dictionary.to_pylist()], pa.int8())
        except BadLine:
            return None
        return pc.take(labels, distinct.indices)


def describe_bad_label(text: str) -> str:
    """Why a text is no label, by what it looks like: the reason of a bad line."""
    if not text:
        return "no label"
    if text in ("-1", "-1.0"):
        return MINUS_ONE
    return LIKE_A_RATING if _RATING.fullmatch(text) and float(text) <= _MOST_OF_A_RATING else NO_LABEL
