"""The histories of a chunk of rows: lists, text with a separator or in brackets, or several columns of one id each."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.config.rows import SequenceConfig
from din_train.errors import DataError
from din_train.logs.history_text import BROKEN_LIST, HistoryFormat
from din_train.logs.log import FileReport
from din_train.logs.records import drop_null_values
from din_train.logs.rejects import count_allowed
from din_train.logs.table_parquet import take_text

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
# A column of times -> int64 (null: none), and where one cannot be used, by reason.
TakeTimes = Callable[[Any], tuple[Any, Mapping[str, Mask]]]


def find_sequence_columns(column: str, names: Sequence[str]) -> list[str]:
    """The columns of a file that hold a sequence: its own, or those of a pattern in the order of their numbers."""
    if "*" not in column or column in names:
        return [column]
    pattern = re.compile(re.escape(column).replace(r"\*", "([0-9]+)"))
    numbered = {name: int(match[1]) for name in names if (match := pattern.fullmatch(name))}
    return sorted(numbered, key=lambda name: numbered[name]) or [column]


@dataclass(frozen=True)
class Lists:
    """A list per row: values: [N] of all rows, one after the other. lengths: [rows]."""

    values: Any
    lengths: Ints

    @property
    def offsets(self) -> Ints:
        ends: Ints = np.cumsum(self.lengths)
        return ends - self.lengths

    def find_rows(self, where: Mask) -> Mask:
        """[rows] whether any of a row's values is marked. where: [N]."""
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

    def read(self, table: Any, take_times: TakeTimes) -> tuple[dict[str, Lists], dict[str, Mask]]:
        """Role -> a list per row, oldest first and as long as the row's items, and where a row is bad, by reason.

        A bad row has lists of any length.
        """
        size = table.num_rows
        reasons: dict[str, Mask] = {}
        lists: dict[str, Lists] = {}
        for role, columns in self.columns.items():
            raw, broken = _read_lists(table, columns, self.form)
            if role == "timestamp":
                times, of_times = take_times(raw.values)
                lists[role] = Lists(times, raw.lengths)
                found = {f"{reason} in {self._show(role)}": raw.find_rows(mask) for reason, mask in of_times.items()}
            else:
                texts, no_text = take_text(raw.values)
                lists[role] = Lists(drop_null_values(texts, self.form.nulls), raw.lengths)
                found = {
                    "invalid UTF-8": raw.find_rows(no_text),
                    "NUL character": raw.find_rows(_mask(pc.match_substring(texts, "\0"))),
                }
            for reason, mask in {BROKEN_LIST: broken, **found}.items():
                reasons[reason] = reasons.get(reason, np.zeros(size, bool)) | mask
        items = lists["item"]
        keep = ~_mask(pc.equal(items.values, self.config.padding or ""))
        missing = _mask(pc.is_null(items.values))
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


def _read_lists(table: Any, columns: Sequence[str], form: HistoryFormat) -> tuple[Lists, Mask]:
    """A list per row, and where its text is in brackets and no list."""
    size = table.num_rows
    good = np.zeros(size, bool)
    if len(columns) > 1:
        cells = pa.concat_arrays([take_text(table[name].combine_chunks())[0] for name in columns])
        order = np.arange(size * len(columns)).reshape(len(columns), size).T.ravel()
        return Lists(cells.take(pa.array(order)), np.full(size, len(columns))), good
    column = table[columns[0]].combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not is_list(column.type):
        column, good = form.split_column(take_text(column)[0])
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return Lists(pc.list_flatten(column), lengths), good


def is_list(kind: Any) -> bool:
    """Whether an Arrow type is one of lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


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
        single = histories.values.take(pa.array(histories.offsets[histories.lengths == 1]))
        for letter in set("".join(pc.unique(single).to_pylist())) - self._of_items:
            if not letter.isalnum():
                found = single.filter(pc.match_substring(single, letter))
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


def _mask(column: Any) -> Mask:
    """Nulls are False."""
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)
