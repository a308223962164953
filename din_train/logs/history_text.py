"""A history as text: raw ids joined by a separator, or a list of them as JSON, Python and NumPy write one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.logs.records import NullValues, drop_null_values

BLANKS = " \t"
BROKEN_LIST = "history in brackets that is no list of ids"

_ELEMENT = r"""'[^'\\]*'|"[^"\\]*"|[^\s,;|'"\[\]]+"""
# A list that is cut at its commas alone: its elements have no comma, bracket or escape.
_PLAIN_ELEMENT = r"""(?:'[^',\[\]\\]*'|"[^",\[\]\\]*"|[^\s,;|'"\[\]]+)"""
_PLAIN_LIST = rf"^\[\s*(?:{_PLAIN_ELEMENT}(?:\s*,\s*{_PLAIN_ELEMENT})*)?\s*\]$"
_LISTS = tuple(
    re.compile(rf"\[\s*(?:(?:{_ELEMENT})(?:{between}(?:{_ELEMENT}))*{end})?\s*\]")
    for between, end in ((r"\s*,\s*", r"\s*,?"), (r"\s+", ""))
)


@dataclass(frozen=True)
class HistoryFormat:
    """How histories are written.

    separator: between ids; blanks beside it are no part of an id. Separators of blanks alone may be repeated.
    nulls: texts that stand for no value: a history that is one is empty, an id that is one is missing.
    """

    separator: str = "^"
    nulls: NullValues = frozenset()

    def split(self, text: str) -> list[str | None]:
        """The ids of a history, oldest first; None for one that is missing.

        Raises:
            ValueError: where it is in brackets and no list of ids.
        """
        text = text.strip(BLANKS)
        if not text or text in self.nulls:
            return []
        if text.startswith("["):
            ids: Sequence[str | None] = _parse_list(text)
        elif self.separator.isspace():
            ids = text.split(self.separator) if self.separator.strip(BLANKS) else re.split(f"[{BLANKS}]+", text)
        else:
            ids = [each.strip(BLANKS) for each in text.split(self.separator)]
        return [None if not each or each in self.nulls else each for each in ids]

    def split_column(self, texts: Any) -> tuple[Any, NDArray[np.bool_]]:
        """A string column as lists of ids (null: missing), and where a text is in brackets and no list of ids."""
        texts = drop_null_values(pc.utf8_trim(pc.fill_null(texts, ""), BLANKS), self.nulls)
        if pc.any(pc.starts_with(texts, "[")).as_py():
            if not pc.all(pc.match_substring_regex(texts, _PLAIN_LIST)).as_py():
                return self._split_one_by_one(texts)
            inner = pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(texts, 1, -1))
            inner = pc.if_else(pc.equal(inner, ""), pa.scalar(None, pa.string()), inner)
            lists = pc.split_pattern_regex(inner, r"\s*,\s*")
            ids = pc.replace_substring_regex(pc.list_flatten(lists), r"""^(?:"(.*)"|'(.*)')$""", r"\1\2")
            return self._join(lists, drop_null_values(ids, self.nulls)), np.zeros(len(texts), bool)
        if self.separator.isspace() and self.separator.strip(BLANKS):
            return self._split_one_by_one(texts)
        if self.separator.isspace():
            lists = pc.split_pattern_regex(texts, f"[{BLANKS}]+")
        else:
            lists = pc.split_pattern(texts, self.separator)
        ids = drop_null_values(pc.utf8_trim(pc.list_flatten(lists), BLANKS), self.nulls)
        return self._join(lists, ids), np.zeros(len(texts), bool)

    @staticmethod
    def _join(lists: Any, ids: Any) -> Any:
        """Lists of those ids, as long as `lists`; empty for null."""
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), ids)

    def _split_one_by_one(self, texts: Any) -> tuple[Any, NDArray[np.bool_]]:
        broken = np.zeros(len(texts), bool)
        lists: list[list[str | None]] = []
        for row, text in enumerate(texts.to_pylist()):
            try:
                lists.append(self.split(text or ""))
            except ValueError:
                lists.append([])
                broken[row] = True
        return pa.array(lists, pa.list_(pa.string())), broken


def _parse_list(text: str) -> list[str | None]:
    """The elements of a list: quoted texts, and bare ones such as numbers, exactly as they are written.

    Raises:
        ValueError: where it is none.
    """
    try:
        elements = orjson.loads(text)
    except orjson.JSONDecodeError:
        elements = None
    if isinstance(elements, list) and all(each is None or isinstance(each, str) for each in elements):
        return elements  # with JSON's escapes
    if not any(pattern.fullmatch(text) for pattern in _LISTS):
        raise ValueError(f"no list of ids: {text}")
    return [each[1:-1] if each[0] in "'\"" else each for each in re.findall(_ELEMENT, text[1:-1])]
