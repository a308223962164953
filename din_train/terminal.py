"""How every command prints: tables and JSON on stdout, all else on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from din_train.printable import dump_printable_json, make_printable

_FILE_WIDTH = 120


class _State:
    muted = False


def mute() -> None:
    """Say nothing from here on; errors are still shown. Of several workers one speaks."""
    _State.muted = True


class PrintableConsole(Console):
    """Makes every text printable, also in the cells of a table, and does not replace `:smile:`."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, emoji=False, quiet=_State.muted)

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(make_printable(text), **how)


def show_table(table: Table) -> None:
    """Print on stdout; 120 columns wide if stdout is a file or a pipe."""
    console = PrintableConsole()
    if not console.is_terminal:
        console.width = _FILE_WIDTH  # `print(width=)` would be capped at 80, the width that rich assumes for a pipe
    console.print(table)


def show_line(line: str) -> None:
    """One line on stdout."""
    PrintableConsole().print(line, highlight=False, markup=False, soft_wrap=True)


def show_json(value: Any) -> None:
    """A value as JSON on stdout."""
    print(dump_printable_json(value))


def say(line: str) -> None:
    """One line on stderr, where everything but results goes."""
    PrintableConsole(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)


def format_seconds(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextmanager
def reading_progress(total_bytes: int, doing: str = "reading") -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of the input, on stderr, gone when done."""
    columns = (TextColumn(doing), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=total_bytes)
        yield lambda count: bar.advance(task, count)
