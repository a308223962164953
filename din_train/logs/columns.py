"""Finds the columns that the config names in a file's header."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from din_train.config.column_roles import ROLES
from din_train.config.file_formats import FormatConfig
from din_train.errors import DataError
from din_train.logs.expressions import describe_type_problem
from din_train.logs.log import FileReport
from din_train.printable import make_printable

if TYPE_CHECKING:
    from din_train.logs.row_files import RowFile

# Behind the names in RecBole's atomic files: `user_id:token`.
_RECBOLE_TYPE = re.compile(r":(?:token|float)(?:_seq)?$")
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
    if len(wanted) > 1 and not any(_find(name, found) for name in wanted.values()):
        raise DataError(
            f"{path}: none of the columns {', '.join(wanted.values())} is in its header, which has "
            f"{_show_all(found)} (read as {form}); check the path and the columns in the config"
        )
    problems = [
        f"{path}: {key}: {_describe(name, found)} (read as {form})"
        for key, name in wanted.items()
        if len(_find(name, found)) != 1
    ]
    if problems:
        raise DataError(problems)
    return {key: _find(name, found)[0] for key, name in wanted.items()}


def resolve_columns(wanted: Mapping[str, str | int], file: "RowFile") -> dict[str, str]:
    """The name in a file of each wanted column, by the config key that names it.

    Args:
        wanted: dotted config key -> column name, or its position from 1.

    Raises:
        DataError: see `find_columns`; if a position is beyond the file's columns.
    """
    if not file.has_header:
        return {key: file.resolve(column, key) for key, column in wanted.items()}
    names = file.schema.names
    positions = {key: str(file.resolve(column, key)) for key, column in wanted.items() if isinstance(column, int)}
    by_name = {key: column for key, column in wanted.items() if isinstance(column, str)}
    places = find_columns(by_name, names, file.path, file.form) if by_name else {}
    return {key: positions[key] if key in positions else names[places[key]] for key in wanted}


def note_doubtful_header(
    report: FileReport, columns: Iterable[str | int], file: "RowFile", format: FormatConfig | None
) -> None:
    """Note what a text's first line is taken for, if nothing but its looks says that it is a header."""
    is_said = format is not None and format.header is not None
    if file.dialect is not None and file.has_header and not is_said and all(isinstance(each, int) for each in columns):
        report.note(f"first line taken for a header ({_show_all(file.schema.names)}), see data.format.header", 1)


def check_types(kinds: Iterable[tuple[str, str, str]], file: "RowFile") -> None:
    """Compare the types of a file's columns with what they are read as.

    Args:
        kinds: (config key, kind, the file's column), see `describe_type_problem`.

    Raises:
        DataError: with one line for each column whose type will not do.
    """
    found = ((key, describe_type_problem(kind, file.schema.field(name))) for key, kind, name in kinds)
    if problems := [f"{file.path}: {key}: {problem}" for key, problem in found if problem is not None]:
        raise DataError(problems)


def check_roles_differ(named: Mapping[str, tuple[str, str]], path: Path) -> None:
    """Two roles, or a role and a field, may name one column in two ways: by its name and by its position.

    Args:
        named: role or field -> config key and the file's column.
        path: of the file, for messages.

    Raises:
        DataError: with one line for each column that has a role and is named again.
    """
    key_of = {named[role][1]: named[role][0] for role in reversed(ROLES) if role in named}
    problems = [
        f"{path}: {key}: '{column}' is the column of {key_of[column]} already; name another one"
        for key, column in named.values()
        if key_of.get(column, key) != key and not key.startswith("data.behaviour_fields")
    ]
    if problems:
        raise DataError(problems)


def has_column(column: str | int, file: "RowFile") -> bool:
    """Whether a file has a column of a name, or at a position from 1."""
    if isinstance(column, int):
        return column <= len(file.schema.names)
    return file.has_header and bool(_find(column, file.schema.names))


def _find(name: str, found: Sequence[str]) -> list[int]:
    """The places of a column: exactly so, else but for blanks at its ends, else but for RecBole's type behind it."""
    for same in (str, str.strip, lambda each: _RECBOLE_TYPE.sub("", each.strip())):
        places = [place for place, each in enumerate(found) if same(each) == name]
        if places:
            return places
    return []


def _describe(name: str, found: Sequence[str]) -> str:
    if _find(name, found):
        return (
            f"the header has the column '{name}' {len(_find(name, found))} times; expected it once, rename the others"
        )
    close = difflib.get_close_matches(name, found, n=1)
    advice = f"did you mean '{close[0]}'?" if close else "its first line must be a header; name one of these columns"
    return f"no column '{name}' in the header, which has {_show_all(found)}; {advice}"


def _show_all(names: Sequence[str]) -> str:
    return ", ".join(_show(each) for each in names[:_MOST_SHOWN]) + (", ..." if len(names) > _MOST_SHOWN else "")


def _show(name: str) -> str:
    printable = make_printable(name[: _LONGEST_SHOWN + 1])
    return printable if len(name) <= _LONGEST_SHOWN else printable + "..."
