"""The histories of a chunk of rows: lists, text with a separator or in brackets, or several columns of one id each."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.config.rows import SequenceConfig
from din_train.errors import DataError
from din_train.logs.expressions import (
    Mask,
    Reasons,
    find_nulls,
    flatten,
    is_list,
    shorten_decimals,
    take_field,
    take_text,
    to_mask,
)
from din_train.logs.history_text import BROKEN_LIST, HistoryFormat
from din_train.logs.log import FileReport
from din_train.logs.records import NullValues
from din_train.logs.rejects import count_allowed
from din_train.logs.times import TimeReader

Ints = NDArray[np.int64]

_ONE_NUMBER = r"^-?[0-9]+(\.0)?$"  # an id, however it is written


def find_sequence_columns(column: str, names: Sequence[str]) -> list[str]:
    """The columns of a file that hold a sequence: its own, or those of a pattern in the order of their numbers."""
    if "*" not in column or column in names:
        return [column]
    pattern = re.compile(re.escape(column).replace(r"\*", "([0-9]+)"))
    numbered = {name: int(match[1]) for name in names if (match := pattern.fullmatch(name))}
    return sorted(numbered, key=lambda name: numbered[name]) or [column]


@dataclass(frozen=True)
class Lists:
    """A list per row: values: [N] of all rows, one after the other. lengths: [rows].

    Texts may be a dictionary array whose nulls are nulls of its indices.
    """

    values: Any
    lengths: Ints

    @property
    def offsets(self) -> Ints:
        ends: Ints = np.cumsum(self.lengths)
        return ends - self.lengths

    def find_rows(self, where: Mask) -> Mask:
        """[rows] whether any of a row's values is marked. where: [N]."""
        if not where.any():
            return np.zeros(len(self.lengths), bool)
        rows = np.repeat(np.arange(len(self.lengths)), self.lengths)
        found: Mask = np.bincount(rows[where], minlength=len(self.lengths)) > 0
        return found


@dataclass(frozen=True)
class SequenceReader:
    """Reads one sequence of a file.

    columns: role (`item`, `category`, `timestamp`, or a field's name) -> the file's columns.
    form: how a history of text is written.
    """

    name: str
    config: SequenceConfig
    columns: Mapping[str, Sequence[str]]
    form: HistoryFormat

    @property
    def is_numbered(self) -> bool:
        """Whether each behaviour has a column of its own, so that an empty one is no behaviour."""
        return len(self.columns["item"]) > 1

    def read(self, table: Any, times: TimeReader | None) -> tuple[dict[str, Lists], Reasons]:
        """Role -> a list per row, oldest first and as long as the row's items, and where a row is bad, by reason.

        A bad row has lists of any length.

        Args:
            times: of the behaviours, if they have any.
        """
        size = table.num_rows
        reasons: Reasons = {}
        lists: dict[str, Lists] = {}
        for role, columns in self.columns.items():
            raw, broken = _read_lists(table, columns, self.form)
            if role == "timestamp" and times is not None:
                seconds, of_values = times.read(raw.values, np.ones(len(raw.values), bool))
                lists[role] = Lists(pa.array(seconds), raw.lengths)
                of_values = {f"{reason} in {self._show(role)}": mask for reason, mask in of_values.items()}
            else:
                values = shorten_decimals(raw.values) if role == "item" else raw.values
                texts, of_values = take_distinct(values, self.form.nulls)
                lists[role] = Lists(texts, raw.lengths)
            found = {reason: raw.find_rows(mask) for reason, mask in of_values.items()}
            for reason, mask in {BROKEN_LIST: broken, **found}.items():
                reasons[reason] = reasons.get(reason, np.zeros(size, bool)) | mask
        items = lists["item"]
        keep = ~_look_up(items.values, to_mask(pc.equal(items.values.dictionary, self.config.padding or "")))
        missing = find_nulls(items.values)
        if self.is_numbered:
            keep &= ~missing
        else:
            reasons[f"empty id in {self._show('item')}"] = items.find_rows(missing)
        for role, each in lists.items():
            unequal = (each.lengths != items.lengths) & ~_is_single_missing(items, each)
            reasons[f"{self._show('item')} and {self._show(role)} of different lengths"] = unequal
        return {role: self._arrange(each, items, keep) for role, each in lists.items()}, reasons

    def _arrange(self, each: Lists, items: Lists, keep: Mask) -> Lists:
        """A role's values, aligned with the items that are kept, oldest first; of a bad row anything."""
        if self.config.order == "oldest_first" and keep.all() and np.array_equal(each.lengths, items.lengths):
            return each
        rows = np.repeat(np.arange(len(items.lengths)), items.lengths)
        step = np.arange(len(rows)) - items.offsets[rows]
        if self.config.order == "newest_first":
            step = items.lengths[rows] - 1 - step
            keep = keep[items.offsets[rows] + step]
        places = (each.offsets[rows] + step)[keep]
        inside = step[keep] < each.lengths[rows[keep]]
        values = each.values.take(pa.array(places, mask=~inside))
        return Lists(values, np.bincount(rows[keep], minlength=len(items.lengths)).astype(np.int64))

    def _show(self, role: str) -> str:
        column = {"item": self.config.item, "category": self.config.category, "timestamp": self.config.timestamp}
        return str(column[role] if role in column else self.config.fields[role])


def _is_single_missing(items: Lists, each: Lists) -> Mask:
    """[rows] of one behaviour whose value is empty, as a text of one value is then."""
    found: Mask = (items.lengths == 1) & (each.lengths == 0)
    return found


def take_distinct(column: Any, nulls: NullValues) -> tuple[Any, Reasons]:
    """The same as `take_field` of the column, each different value looked at once; as a dictionary array."""
    distinct = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts, reasons = take_field(distinct.dictionary, nulls)
    reasons = {reason: _look_up(distinct, mask) for reason, mask in reasons.items()}
    places = pa.array(np.arange(len(texts), dtype=np.int32), mask=find_nulls(texts))
    if pa.types.is_floating(column.type) or column is distinct:  # 0.0 and -0.0 are one text; a dictionary may repeat
        again = texts.dictionary_encode()
        places, texts = again.indices, again.dictionary
    return pa.DictionaryArray.from_arrays(places.take(distinct.indices), texts), reasons


def _look_up(values: Any, of_dictionary: Mask) -> Mask:
    """[N] what holds for the text of each value of a dictionary array; False for null."""
    if not of_dictionary.any():
        return np.zeros(len(values), bool)
    places = pc.fill_null(values.indices, len(of_dictionary)).to_numpy(zero_copy_only=False)
    found: Mask = np.append(of_dictionary, False)[places]
    return found


def _read_lists(table: Any, columns: Sequence[str], form: HistoryFormat) -> tuple[Lists, Mask]:
    """A list per row, and where its text is in brackets and no list."""
    size = table.num_rows
    good = np.zeros(size, bool)
    if len(columns) > 1:
        cells = pa.concat_arrays([take_text(shorten_decimals(flatten(table[name])))[0] for name in columns])
        order = np.arange(size * len(columns)).reshape(len(columns), size).T.ravel()
        return Lists(cells.take(pa.array(order)), np.full(size, len(columns))), good
    column = flatten(table[columns[0]])
    if not is_list(column.type):
        column, good = form.split_column(take_text(column)[0])
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return Lists(pc.list_flatten(column), lengths), good


class Separators:
    """Looks for histories that are joined by something else than the separator: one id, with a letter no item has.

    Args:
        separator: of the histories. item: the column of item ids, for messages.
    """

    def __init__(self, separator: str, item: str) -> None:
        self._separator, self._item = separator, item
        self._histories = 0
        self._of_items = set[str]()
        self._rows = Counter[str]()
        self._examples: dict[str, str] = {}

    def look_at(self, items: Any, histories: Lists) -> None:
        """Count the letters of good rows.

        Args:
            items: raw item ids. histories: of raw item ids.
        """
        self._of_items |= set("".join(pc.unique(items).to_pylist()))
        self._histories += int(np.sum(histories.lengths > 0))
        single = flatten(histories.values.take(pa.array(histories.offsets[histories.lengths == 1])))
        texts = single.filter(pc.invert(pc.match_substring_regex(single, _ONE_NUMBER)))
        for letter in set("".join(pc.unique(texts).to_pylist())) - self._of_items:
            if not letter.isalnum():
                found = texts.filter(pc.match_substring(texts, letter))
                self._rows[letter] += len(found)
                self._examples.setdefault(letter, found[0].as_py())

    def check(self, report: FileReport, share: float) -> None:
        """Count such histories in the file's report.

        Raises:
            DataError: if they are more than the share of bad lines that a file may have.
        """
        rows = Counter({letter: count for letter, count in self._rows.items() if letter not in self._of_items})
        for letter, count in rows.most_common(1):
            if count > count_allowed(share, self._histories):
                raise DataError(
                    f"{report.path}: {count:,} of {self._histories:,} histories hold no {self._separator!r} but "
                    f"{letter!r}, which no {self._item} has, such as {self._examples[letter][:80]!r}; give the "
                    f"separator, such as data.history_separator: {letter!r}"
                )
            report.note(f"histories of one id with a letter that no {self._item} has", count)
