"""What is guessed of a file of rows, and how its columns are named and shown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from din_train.inspect.column_values import is_null
from din_train.logs.first_rows import FirstRows
from din_train.printable import make_printable

_NAMES_SHOWN, _NAME_SHOWN = 50, 100


@dataclass
class Guess:
    """What a file of rows means, as far as its names and values tell.

    data: keys of `data`. is_named: whether a name tells users, items or times. items: the ids of the items.
    is_labelled: whether rows are impressions. comments: dotted key of `data` -> why it is so, with counts. missing:
    dotted key -> what could not be told. remarks: what else is worth knowing.
    """

    data: dict[str, Any]
    is_named: bool = False
    items: set[str] = field(default_factory=set)
    is_labelled: bool = False
    comments: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def columns(self) -> dict[str, Any]:
        columns: dict[str, Any] = self.data["columns"]
        return columns


def list_names(names: Sequence[str]) -> str:
    """The first names, shortened."""
    shown = [name if len(name) <= _NAME_SHOWN else name[:_NAME_SHOWN] + "..." for name in names[:_NAMES_SHOWN]]
    return make_printable(", ".join(shown)) + (f", ... ({len(names)} of them)" if len(names) > _NAMES_SHOWN else "")


def name_column(rows: FirstRows, column: str) -> str | int:
    """As the config names a column: by its name, or by its position if the file has no header."""
    return column if rows.has_header else int(column)


def take_filled(values: Sequence[str]) -> list[str]:
    """The values of a column, without blanks at their ends and without those that stand for none."""
    return [value.strip() for value in values if not is_null(value.strip())]
