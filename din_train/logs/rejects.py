"""The lines of one input file that cannot be used: kept with their reasons, and fatal past a stated share.

How many lines a file has is known at its end alone, and a packed one may have any number. So reading stops before that
where there is no hope: none of the first 1,000 lines was good; or more than 100,000 are bad, which is more than half
of those read so far and more than ten times what `data.max_bad_share` allows of them, or nearly all (98 %).
"""

import math
import os
from typing import Any, BinaryIO, get_args

import numpy as np
import orjson
from numpy.typing import NDArray

from din_train.config import DataConfig
from din_train.config.file_formats import Encoding
from din_train.errors import DataError
from din_train.logs.log import FileReport

TEXT_LENGTH = 200
FIRST_LINES = 1000
MANY_BAD_LINES = 100_000  # also the most that are kept with their texts

# The words that every reason for a timestamp of another unit than the log's begins with.
OTHER_UNIT = "timestamp in "

INVALID_UTF8 = "invalid UTF-8"
# Why a label is none, by what it looks like.
NO_LABEL, MINUS_ONE, LIKE_A_RATING = "label not 0 or 1", "label -1", "label like a rating"
_ADVICE_ON_LABELS = {
    NO_LABEL: "a label is 0 or 1, true or false, or 1 or -1: let {column} be such a column{or_none}",
    MINUS_ONE: "a label is 0 or 1, or 1 or -1, and {column} has both 0 and -1: write one of them in place of the "
    "other{at_least}",
    LIKE_A_RATING: "a label is 0 or 1, true or false, or 1 or -1, and these look like ratings: make {column} a column "
    "of 1 where a rating counts as a click and else 0{at_least}{or_none}",
}


class BadLine(Exception):  # noqa: N818 - a signal inside the readers, never shown as an error of its own
    """A line cannot be used.

    Args:
        reason: short and the same for every such line, since lines are counted by it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def count_allowed(share: float, lines: int) -> int:
    """How many of a file's lines may be bad: none if the share is 0, else at least one."""
    return max(1, math.floor(share * lines + 1e-9)) if share else 0


class Rejects:
    """Rejected lines of one file: written out, counted in its report, and checked against `data.max_bad_share`.

    nulls: `data.null_values`.

    Args:
        output: takes one JSON object a rejected line: file, line, reason, text (its first 200 characters); those
            after the first 100,000 of a file are only counted.
        report: of the file; its reader keeps `lines` (blank ones left out) and `kept` up to date.
        data: says what share may be bad, and goes into the advice.
        most_texts: how many lines are written out, if not the first 100,000.
        is_part: whether the report is of a part of a file; its lines are kept until `add_part` writes them out.
        is_beginning: whether the report begins with the first line of the file.
    """

    def __init__(
        self,
        output: BinaryIO,
        report: FileReport,
        data: DataConfig,
        *,
        most_texts: int | None = None,
        is_part: bool = False,
        is_beginning: bool = True,
    ) -> None:
        self.report = report
        self.nulls = frozenset(data.null_values)
        self._output = output
        self._data = data
        self._file = os.fsencode(str(report.path)).decode(errors="replace")
        self._most_texts = MANY_BAD_LINES if most_texts is None else most_texts
        self._is_part, self._is_beginning = is_part, is_beginning
        self._total = self._written = 0
        self._first: tuple[int, str] | None = None  # line and reason
        self._rows: list[dict[str, Any]] = []  # of a part: what is to be written out
        self._records = self._broken_records = self._last_line = 0

    def count_records(self, lines: NDArray[np.int64], broken: NDArray[np.int64]) -> None:
        """Count lines of which each may be several rows, and those of them that are lost as a whole.

        Args:
            lines: [rows] the line of each row of a chunk. broken: the places of rows that could not be read.
        """
        begins = np.append(lines[0] != self._last_line, lines[1:] != lines[:-1])
        is_whole = begins & np.append(begins[1:], True)
        self._records += int(begins.sum())
        self._broken_records += int(is_whole[broken].sum())
        self._last_line = int(lines[-1])

    def add(self, line: int, reason: str, text: bytes | str) -> None:
        """Reject a line; `report.lines` already counts it.

        Raises:
            DataError: where none of the first 1,000 lines was good, or far too many are bad.
        """
        self.report.rejected[reason] = self.report.rejected.get(reason, 0) + 1
        self._total += 1
        self._first = self._first or (line, reason)
        if self._written == self._most_texts:
            if not self._is_part:
                self._check_hope()
            return
        self._written += 1
        if isinstance(text, bytes):
            text = text[: 4 * TEXT_LENGTH].decode(errors="replace")
        row = {"file": self._file, "line": line, "reason": reason, "text": text[:TEXT_LENGTH]}
        if self._is_part:
            self._rows.append(row)
        else:
            self._output.write(orjson.dumps(row) + b"\n")
        if self._is_beginning and self._total == self.report.lines == FIRST_LINES:
            self._check_units(0)
            raise DataError(
                f"{self.report.path}: none of its first {FIRST_LINES:,} lines can be read ({self._counts()}; first bad "
                f"line {self._show_first()}); it looks like another format: {self._advice()}"
            )

    def add_part(self, part: "Rejects", lines_before: int) -> None:
        """Take in a part of the file; the parts come in their order.

        Args:
            lines_before: how many lines the parts before have; those of a part are numbered from 1.

        Raises:
            DataError: as `add`, with what is known at the end of a part.
        """
        self.report.add(part.report)
        self._total += part._total
        self._records += part._records
        self._broken_records += part._broken_records
        if self._first is None and part._first is not None:
            self._first = (lines_before + part._first[0], part._first[1])
        for row in part._rows[: self._most_texts - self._written]:
            self._output.write(orjson.dumps({**row, "line": lines_before + row["line"]}) + b"\n")
            self._written += 1
        if self._total > self._most_texts:
            self._check_hope()

    def _show_first(self) -> str:
        return "" if self._first is None else f"{self.report.path}:{self._first[0]}: {self._first[1]}"

    def _check_hope(self) -> None:
        lines = self.report.lines
        if self._total > min(max(0.5, 10 * self._data.max_bad_share), 0.98) * lines:
            raise DataError(
                f"{self.report.path}: {self._total:,} of its first {lines:,} lines cannot be read ({self._counts()}), "
                f"so the rest is not read; first bad line {self._show_first()}; it looks like another format: "
                f"{self._advice()}"
            )

    def check_share(self) -> None:
        """Compare with what the file may have.

        Raises:
            DataError: where more lines are bad.
        """
        share, lines = self._data.max_bad_share, self.report.lines
        without = self._total - self._written
        self.report.note(f"bad lines after the first {self._written:,}, whose texts are not kept", without)
        self._check_units(share * lines)
        allowed = count_allowed(share, lines)
        if self._total > allowed:
            raise DataError(
                f"{self.report.path}: {self._total:,} of {lines:,} lines cannot be read ({self._counts()}), more than "
                f"the {allowed:,} that data.max_bad_share = {share:g} allows; first bad line {self._show_first()}; "
                f"{self._advice()}{', or raise data.max_bad_share' if self._may_raise() else ''}"
            )
        broken, records = self._broken_records, self._records
        if broken > count_allowed(share, records):  # each is one bad row, but stands for the rows of a line
            raise DataError(
                f"{self.report.path}: {broken:,} of {records:,} objects cannot be read ({self._counts()}), whose rows "
                f"are lost, more than the {count_allowed(share, records):,} that data.max_bad_share = {share:g} "
                f"allows; first bad line {self._show_first()}; {self._advice()}, or raise data.max_bad_share"
            )

    def _check_units(self, allowed: float) -> None:
        """A stray line in another unit is a bad line like any other, but a log in two units has a wrong order."""
        other = {reason: n for reason, n in self.report.rejected.items() if reason.startswith(OTHER_UNIT)}
        if sum(other.values()) > allowed:
            found = ", ".join(f"{reason}: {count:,}" for reason, count in other.items())
            raise DataError(
                f"{self.report.path}: mixed units of time ({found} of {self.report.lines:,} lines), so that events "
                f"cannot be put in order; first bad line {self._show_first()}; convert the timestamps to one unit, "
                "or check data.source"
            )

    def check_kept(self) -> None:
        """Call at the end of a log of events.

        Raises:
            DataError: where no line was kept.
        """
        if not self.report.kept:
            why = f" ({self._counts()}; first bad line {self._show_first()})" if self._total else ""
            left_out = ", ".join(f"{what}: {count:,}" for what, count in self.report.skipped.items())
            if left_out:
                raise DataError(
                    f"{self.report.path}: all of its good lines are left out ({left_out}){why}; check data.behaviours"
                )
            raise DataError(
                f"{self.report.path}: no event in its {self.report.lines:,} lines{why}; "
                f"check that the file is whole, and {self._advice()}"
            )

    def _may_raise(self) -> bool:
        """Whether leaving the bad lines out can be right: not where they are most of all, or all of one class."""
        return 2 * self._total < self.report.lines and not _ADVICE_ON_LABELS.keys() & self.report.rejected.keys()

    def _counts(self) -> str:
        most_first = sorted(self.report.rejected.items(), key=lambda each: (-each[1], each[0]))
        return ", ".join(f"{reason}: {count:,}" for reason, count in most_first)

    def _advice(self) -> str:
        """What to do about the most frequent reason."""
        most = max(self.report.rejected, key=lambda reason: self.report.rejected[reason], default="")
        if most in _ADVICE_ON_LABELS:
            is_table = self._data.columns is not None
            return _ADVICE_ON_LABELS[most].format(
                column="data.columns.label" if is_table else "column label",
                at_least=", or say in data.columns.label_at_least which numbers count as clicks" if is_table else "",
                or_none=", or leave data.columns.label out, so that every row is a click" if is_table else "",
            )
        if most == INVALID_UTF8 and self._data.source in ("table", "rows"):
            return f"give the encoding ({', '.join(get_args(Encoding))}) in data.format.encoding, or write it in UTF-8"
        if most.startswith("no "):
            return f"fill in what is missing, or take what is a value from data.null_values ({self._check_source()})"
        return self._check_source()

    def _check_source(self) -> str:
        columns = " and data.columns" if self._data.source == "table" else ""
        return f"check data.source ('{self._data.source}'){columns}"
