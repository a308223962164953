"""Finds the columns that the config names in a file's header."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from din_train.errors import DataError
from din_train.printable import make_printable

_MOST_SHOWN = 20
_LONGEST_SHOWN = 40


def find_columns(wanted: Mapping[str, str], found: Sequence[str], path: Path, form: str) -> dict[str, int]:
    """Place in `found` of each wanted column, by the config key that names it.

    Args:
        wanted: dotted config key (`data.columns.user`) -> column name.
        found: the file's column names in order.
        path: of the file, for messages.
        form: what the file was read as, for messages ("comma-separated", ...).

    Raises:
        DataError: with one line for each column that is missing, or there twice; one line if none is there at all.
    """
    if not any(name in found for name in wanted.values()):
        raise DataError(
            f"{path}: none of the columns {', '.join(wanted.values())} is in its header, which has "
            f"{_show_all(found)} (read as {form}); check the path and the columns in the config"
        )
    problems = [
        f"{path}: {key}: {_describe(name, found)} (read as {form})"
        for key, name in wanted.items()
        if found.count(name) != 1
    ]
    if problems:
        raise DataError(problems)
    return {key: found.index(name) for key, name in wanted.items()}


def _describe(name: str, found: Sequence[str]) -> str:
    if name in found:
        return f"the header has the column '{name}' {found.count(name)} times; expected it once, rename the others"
    close = difflib.get_close_matches(name, found, n=1)
    advice = f"did you mean '{close[0]}'?" if close else "its first line must be a header; name one of these columns"
    return f"no column '{name}' in the header, which has {_show_all(found)}; {advice}"


def _show_all(names: Sequence[str]) -> str:
    return ", ".join(_show(each) for each in names[:_MOST_SHOWN]) + (", ..." if len(names) > _MOST_SHOWN else "")


def _show(name: str) -> str:
    printable = make_printable(name[: _LONGEST_SHOWN + 1])
    return printable if len(name) <= _LONGEST_SHOWN else printable + "..."
