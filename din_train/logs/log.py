"""What every reader hands on: normalised Parquet files and an account of every line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# Called with the number of input bytes read since the last call.
Progress = Callable[[int], None]


@dataclass
class FileReport:
    """What became of one input file's lines; blank lines and a header are not among them.

    Of a log of events, lines = kept + rejected. Of a metadata file, `kept` are items and the rest is in `notes`.
    """

    path: Path
    lines: int = 0
    kept: int = 0
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> lines
    notes: dict[str, int] = field(default_factory=dict)  # what is no fault but worth knowing -> how many

    def note(self, what: str, count: int) -> None:
        """Count something worth knowing; nothing is noted of a count of 0."""
        if count:
            self.notes[what] = self.notes.get(what, 0) + count


@dataclass(frozen=True)
class RawLog:
    """A log read into normalised files.

    events: Parquet, one row an event in the log's own order: user string, item string, timestamp int64,
        ordinal int64 (0, 1, ... the place in the log), and category string or null where `items` is None.
    items: Parquet, one row an item: item string, category string or null, title string or null.
    rejected: JSON lines, one a rejected line: file, line, reason, text (its beginning).
    """

    events: Path
    items: Path | None
    rejected: Path
    reports: tuple[FileReport, ...]
