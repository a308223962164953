"""The `x1` layout: ready-made samples, one a row, with their histories.

    label,user_id,item_id,cate_id,item_history,cate_history
    1,0,7,3,0^1^2,3^10^211

Histories are ids joined by `data.history_separator` (`^` unless set) or lists, oldest first. Every good row is kept, in
order.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from din_train.config import DataConfig
from din_train.errors import DataError
from din_train.logs.delimited import Header, parse_header, parse_lines, read_body, split_columns, split_row
from din_train.logs.equal_files import check_contents_differ
from din_train.logs.history_text import BLANKS, BROKEN_LIST, HistoryFormat
from din_train.logs.labels import LabelRule
from din_train.logs.log import FileReport, Progress
from din_train.logs.records import drop_null_values, find_null_values
from din_train.logs.rejects import BadLine, Rejects, count_allowed

COLUMNS = ("label", "user_id", "item_id", "cate_id", "item_history", "cate_history")
SPLITS = ("train", "test")
_SCHEMA = pa.schema([*((name, pa.string()) for name in COLUMNS), ("split", pa.string()), ("ordinal", pa.int64())])

Columns = list[Any]


@dataclass(frozen=True)
class RawSamples:
    """Ready-made samples read into one normalised file.

    rows: Parquet, the columns of `COLUMNS` as strings (label 0 or 1, histories joined by `^`, a category that is not
        there null), split, and ordinal (0, 1, ... over
        both files, training first).
    rejected: JSON lines, as for a log.
    """

    rows: Path
    rejected: Path
    reports: tuple[FileReport, ...]


def read_x1(data: DataConfig, train: Path, test: Path, folder: Path, progress: Progress) -> RawSamples:
    """Read the training and the test file into files in `folder`.

    Raises:
        DataError: where a file cannot be read, lacks a column, has too many bad lines, or no row.
    """
    check_contents_differ([train, test])
    form = HistoryFormat(data.history_separator or "^", frozenset(data.null_values))
    samples = RawSamples(folder / "rows.parquet", folder / "rejected.jsonl", (FileReport(train), FileReport(test)))
    ordinal = 0
    with samples.rejected.open("wb") as rejected, pq.ParquetWriter(samples.rows, _SCHEMA) as writer:
        for split, report in zip(SPLITS, samples.reports, strict=True):
            rejects, separators = Rejects(rejected, report, data), _Separators(form.separator)
            for columns in _read_columns(rejects, form, progress):
                separators.look_at(columns)
                rows = len(columns[0])
                numbers = pa.array(np.arange(ordinal, ordinal + rows))
                table = pa.table([*columns, pa.repeat(split, rows), numbers], schema=_SCHEMA)
                writer.write_table(table)
                ordinal += rows
                report.kept += rows
            rejects.check_share()
            rejects.check_kept()
            separators.check(report, data.max_bad_share)
    return samples


def _read_columns(rejects: Rejects, form: HistoryFormat, progress: Progress) -> Iterator[Columns]:
    """Good rows as string columns in the order of `COLUMNS`, block after block."""
    path, report = rejects.report.path, rejects.report
    wanted = {f"column {name}": name for name in COLUMNS}
    for header, first, block in read_body(path, lambda line: (parse_header(line, wanted, path), True), progress):
        columns = _parse_clean(block, header, form)
        if columns is not None:
            report.lines += len(columns[0])
            yield columns
            continue
        rows = list(parse_lines(first, block, header[0], partial(_parse_row, header, form), rejects))
        if rows:
            yield [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]


def _parse_row(header: Header, form: HistoryFormat, line: bytes) -> list[str | None]:
    delimiter, names, places = header
    fields = split_row(line, delimiter, len(names))
    label, user, item, category, item_history, cate_history = (fields[place] for place in places.values())
    label = str(LabelRule().parse("" if label in form.nulls else label))
    for name, value in (("user_id", user), ("item_id", item)):
        if not value or value in form.nulls:
            raise BadLine(f"no {name}" if value else f"empty {name}")
    return [
        *(label, user, item, None if not category or category in form.nulls else category),
        *_join_histories(item_history, cate_history, form),
    ]


def _join_histories(item_history: str, cate_history: str, form: HistoryFormat) -> tuple[str, str]:
    """Both histories, joined by `^`."""
    try:
        items, categories = form.split(item_history), form.split(cate_history)
    except ValueError:
        raise BadLine(BROKEN_LIST) from None
    if None in items:
        raise BadLine("empty id in item_history")
    if len(items) == 1 and not categories:
        categories = [None]
    if len(items) != len(categories):
        raise BadLine("item_history and cate_history of different lengths")
    joined = tuple("^".join(each or "" for each in ids) for ids in (items, categories))
    if any(text.count("^") != max(len(items) - 1, 0) for text in joined):
        raise BadLine("'^' inside an id of a history")
    return joined[0], joined[1]


def _parse_clean(block: bytes, header: Header, form: HistoryFormat) -> Columns | None:
    """The columns of a block in which every line is plainly good, else None."""
    delimiter, names, places = header
    columns = split_columns(block, delimiter, len(names), list(places.values()))
    if columns is None:
        return None
    label, user, item, category, *histories = columns
    if form.separator != "^":
        if form.separator.isspace() or any(pc.any(pc.match_substring(each, "^")).as_py() for each in histories):
            return None
        histories = [pc.replace_substring(each, form.separator, "^") for each in histories]
    item_history, cate_history = histories
    odd = _find_odd_histories(form)
    good = (
        pc.is_in(label, pa.array(["0", "1"])),
        *(pc.not_equal(each, "") for each in (user, item)),
        *(pc.invert(find_null_values(each, form.nulls)) for each in (user, item)),
        *(pc.invert(pc.match_substring_regex(each, odd)) for each in histories),
        pc.invert(pc.match_substring_regex(item_history, r"^\^|\^\^|\^$")),
        pc.equal(pc.count_substring(item_history, "^"), pc.count_substring(cate_history, "^")),
        pc.or_(pc.not_equal(item_history, ""), pc.equal(cate_history, "")),
    )
    if not all(pc.all(each).as_py() for each in good):
        return None
    return [label, user, item, drop_null_values(category, form.nulls), item_history, cate_history]


def _find_odd_histories(form: HistoryFormat) -> str:
    """A regular expression of what `HistoryFormat.split` changes: lists, blanks beside a separator, missing values."""
    blanks = f"[{BLANKS}]"
    words = "|".join(map(re.escape, sorted(form.nulls - {""}))) or "[^\\s\\S]"
    return rf"^\[|^{blanks}|{blanks}$|{blanks}\^|\^{blanks}|(?:^|\^)(?:{words})(?:\^|$)"


class _Separators:
    """Looks for histories that are joined by something else than the separator: one id, with a letter no item has."""

    def __init__(self, separator: str) -> None:
        self._separator = separator
        self._histories = 0
        self._of_items = set[str]()
        self._rows = Counter[str]()
        self._examples: dict[str, str] = {}

    def look_at(self, columns: Columns) -> None:
        """Count the letters of a block's rows."""
        item, history = columns[2], columns[4]
        self._of_items |= set("".join(pc.unique(item).to_pylist()))
        self._histories += pc.sum(pc.not_equal(history, "")).as_py()
        single = history.filter(pc.invert(pc.match_substring(history, "^")))
        for letter in set("".join(pc.unique(single).to_pylist())) - self._of_items:
            if not letter.isalnum():
                found = single.filter(pc.match_substring(single, letter))
                self._rows[letter] += len(found)
                self._examples.setdefault(letter, found[0].as_py())

    def check(self, report: FileReport, share: float) -> None:
        """Count such histories in the file's report.

        Raises:
            DataError: where they are more than the share of bad lines that a file may have.
        """
        rows = Counter({letter: count for letter, count in self._rows.items() if letter not in self._of_items})
        for letter, count in rows.most_common(1):
            if count > count_allowed(share, self._histories):
                raise DataError(
                    f"{report.path}: {count:,} of {self._histories:,} histories hold no {self._separator!r} but "
                    f"{letter!r}, which no item_id has, such as {self._examples[letter][:80]!r}; give the separator, "
                    f"such as data.history_separator: {letter!r}"
                )
            report.note("histories of one id with a letter that no item_id has", count)
