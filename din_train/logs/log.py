"""What every reader hands on: normalised Parquet files and an account of every line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

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


@dataclass(frozen=True)
class RawLog:
    """A log read into normalised files.

    events: Parquet, one row an event in the log's own order: user string, item string, timestamp int64, label int8
        if `labelled`, strings or nulls (`category`, `request` where the log names a column of request ids, and fields
        named by `field_column`), and ordinal int64 (0, 1, ... the place in the log).
    items: Parquet, one row an item: item string, category, title and fields, strings or nulls. Where it is None, or has
        no such column, an item's category and fields are those of its first event that has them.
    users: Parquet, one row a user: user string and fields; None as for items.
    rejected: JSON lines, one a rejected line: file, line, reason, text (its beginning).
    ticks: timestamps a second; None where they are no unix times.
    """

    events: Path
    items: Path | None
    users: Path | None
    rejected: Path
    reports: tuple[FileReport, ...]
    labelled: bool
    ticks: int | None


def field_column(name: str) -> str:
    """The column of a declared field in the normalised files; no name of a field clashes with ours."""
    return f"field {name}"
