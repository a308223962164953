"""Whether an event is a click: a label that the log has, or a rating that is high enough."""

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from din_train.logs.rejects import BadLine

_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
_RATING = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
_LEAST_RATING, _MOST_RATING = 0.5, 5.0


@dataclass(frozen=True)
class LabelRule:
    """A column's text -> 1 for a click, 0 for an impression without one.

    min_rating: the least rating that is a click; None where the column holds the label itself, 0 or 1.
    """

    min_rating: float | None = None

    def parse(self, text: str) -> int:
        """The label of one event.

        Raises:
            BadLine: where there is no telling.
        """
        if self.min_rating is None:
            if text not in _LABELS:
                raise BadLine("label not 0 or 1" if text else "no label")
            return _LABELS[text]
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
