"""What every reader hands on: normalised Parquet files and an account of every line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

# Called with the number of input bytes read since the last call.
Progress = Callable[[int], None]


@dataclass
class FileReport:
    """What became of one input file's lines; blank lines and a header are not among them.

    Of a log of events, lines = kept + rejected + skipped. Of a metadata file, `kept` are items and the rest is in
    `notes`.
    """

    path: Path
    lines: int = 0
    kept: int = 0
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> lines
    skipped: dict[str, int] = field(default_factory=dict)  # what the config leaves out -> lines
    notes: dict[str, int] = field(default_factory=dict)  # what is no fault but worth knowing -> how many

    def note(self, what: str, count: int) -> None:
        """Count something worth knowing; nothing is noted of a count of 0."""
        if count:
            self.notes[what] = self.notes.get(what, 0) + count

    def skip(self, what: str, count: int) -> None:
        """Count lines that are good but not wanted."""
        if count:
            self.skipped[what] = self.skipped.get(what, 0) + count

    def add(self, other: "FileReport") -> None:
        """Count the lines of a part of the file."""
        self.lines += other.lines
        self.kept += other.kept
        for own, more in ((self.rejected, other.rejected), (self.skipped, other.skipped), (self.notes, other.notes)):
            for what, count in more.items():
                own[what] = own.get(what, 0) + count


@dataclass(frozen=True)
class Measures:
    """Of normalised rows: how many they are, and column of numbers -> the least and the greatest."""

    rows: int = 0
    ranges: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    def join(self, other: "Measures") -> "Measures":
        """Those of two parts together."""
        ranges = {**self.ranges, **other.ranges}
        for name in self.ranges.keys() & other.ranges.keys():
            (least, most), (also_least, also_most) = self.ranges[name], other.ranges[name]
            ranges[name] = (min(least, also_least), max(most, also_most))
        return Measures(self.rows + other.rows, ranges)


@dataclass(frozen=True)
class Offset:
    """Where a part of a log begins: how many events and rows the parts before it have."""

    events: int
    rows: int


class Cluster(Protocol):
    """The machines that read the parts of a log at the same time.

    folder: one that all of them see.
    """

    folder: Path

    def choose_piece_bytes(self, total: int) -> int:
        """How large the pieces of files of so many bytes should be."""

    def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """The function's result for each argument, each in a task that may be started several times."""


@dataclass(frozen=True)
class RawLog:
    """A log read into normalised files.

    events: Parquet, one row per event in the log's own order: user string, item string, timestamp int64; label int8 if
        `labelled`, but in a log whose clicks are rows of their own (`click_window`) click int8: 1 of a click, 0 of an
        impression; weight float32 if the log has weights; strings or nulls (`category`, `request` if the log names a
        column of request ids, and fields named by `field_column`, of which those in `data.list_fields` are lists of
        strings); and ordinal int64 (0, 1, ... the place in the log).
    items: Parquet, one row an item: item string, category, title and fields, strings or nulls. Where it is None, or has
        no such column, an item's category and fields are those of its first event that has them.
    users: Parquet, one row a user: user string and fields; None as for items.
    rejected: JSON lines, one a rejected line: file, line, reason, text (its beginning).
    labelled: whether it has impressions.
    ticks: timestamps a second; None if they are no unix times.
    click_window: seconds after an impression in which a click, a row of its own, belongs to it; None if the labels are
        in the log, or all rows are clicks.
    remarks: sentences about what the log lacks.
    measures: of the events.
    offsets: of a log that a cluster has read in pieces, so that `events` is a folder, by the events' column `piece`.
        `ordinal` counts from 0 in each piece.
    in_file_order: whether the log has no times, so that `timestamp` is the row, which counts from 0 in each piece too.
    """

    events: Path
    items: Path | None
    users: Path | None
    rejected: Path
    reports: tuple[FileReport, ...]
    labelled: bool
    ticks: int | None
    click_window: int | None = None
    remarks: tuple[str, ...] = ()
    measures: Measures = field(default_factory=Measures)
    offsets: tuple[Offset, ...] = ()
    in_file_order: bool = False


def field_column(name: str) -> str:
    """The column of a declared field in the normalised files; no name of a field clashes with ours."""
    return f"field {name}"
