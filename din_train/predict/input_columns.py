"""Which columns of a file say what is to be scored, checked against the file before any work."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from din_train.config import DataConfig
from din_train.config.data import TIME_FIELDS
from din_train.errors import ConfigError, DataError
from din_train.logs.columns import find_columns
from din_train.logs.history_text import HistoryFormat
from din_train.logs.row_files import RowFile

ROLES = ("user", "item", "history", "timestamp", "event")
NEEDED = ("user", "item")
_ONLY_AS_GIVEN = ("event",)  # a column of that name may be anything
# The role under which histories are counted that are joined by something else than the separator.
SEPARATOR = "history separator"

ADDED = ("click_probability", "logit")

_OF_X1 = {"user": "user_id", "item": "item_id", "history": "item_history"}

_IS_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
_IS_LIST = (pa.types.is_list, pa.types.is_large_list)
_IS_FIELD = (*_IS_TEXT, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)


@dataclass(frozen=True)
class RequestColumns:
    """Names of a file's columns; None where it has no such column, or it is not used.

    timestamp: used for histories that are not given, and for time fields.
    event: the row of the log, whose history and context fields are taken; then no other column is, but user and item.
    context: context fields that are columns of the log. time_fields: those that follow from the time.
    history_format: how a history of text is written.
    """

    user: str
    item: str
    history: str | None
    timestamp: str | None
    event: str | None
    context: tuple[str, ...]
    time_fields: tuple[str, ...]
    history_format: HistoryFormat


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """`user=uid,item=asin` -> a column name a role; an empty name says that there is none.

    Raises:
        ConfigError: where a part is not of that form.
    """
    given: dict[str, str] = {}
    for text in texts:
        for part in re.split(rf",(?=(?:{'|'.join(ROLES)})=)", text):  # a name may have a comma
            role, equals, name = part.partition("=")
            if role not in ROLES or not equals or (role in NEEDED and not name):
                raise ConfigError(
                    f"--columns {text}: received '{part}', expected ROLE=COLUMN with a role of {', '.join(ROLES)}, "
                    "such as user=uid,item=asin"
                )
            given[role] = name
    return given


def find_request_columns(
    file: RowFile, data: DataConfig, given: Mapping[str, str], separator: str | None = None
) -> RequestColumns:
    """The columns of each role, as given, else as the run's log or ready-made samples have them.

    `history` and `timestamp` may be missing, unless they were named or a context field needs them.

    Args:
        separator: of histories; None: that of the run's ready-made samples, else `^`.

    Raises:
        ConfigError: with one line for each column that is missing, of a type that will not do, or given twice.
    """
    usual = {role: "" if role in _ONLY_AS_GIVEN else role for role in ROLES}
    if data.columns is not None:
        usual |= {role: getattr(data.columns, role) for role in ("user", "item", "timestamp")}
    elif data.source == "x1":
        usual |= _OF_X1
    if separator == "":
        raise ConfigError("--history-separator: received nothing, expected what joins the ids, such as '|' or ' '")
    names = {**usual, **given}
    _check_different(names, file)
    taken = [name for name in ADDED if name in file.schema.names]
    if taken:
        raise ConfigError(
            f"{file.path}: has a column '{taken[0]}' already, which the output is to have; rename it, or score the "
            "file that this one was made from"
        )
    if given.get("event"):
        others = [role for role in ("history", "timestamp") if given.get(role)]
        if others:
            raise ConfigError(
                f"--columns event={given['event']}: says the history and the time, and so does {others[0]}="
                f"{given[others[0]]}; give one of the two"
            )
        names |= {"history": "", "timestamp": ""}
    fields = () if given.get("event") else data.context_fields
    context = tuple(name for name in fields if name not in TIME_FIELDS)
    time_fields = tuple(name for name in fields if name in TIME_FIELDS)
    optional = [role for role in ROLES if role not in NEEDED and role not in given]
    wanted = {
        **{f"--columns {role}=": names[role] for role in ROLES if names[role] and role not in optional},
        **{f"data.context_fields.{name}": name for name in context},
    }
    try:
        find_columns(wanted, file.schema.names, file.path, file.form)
    except DataError as error:
        raise ConfigError(error.problems) from None
    found = {role: names[role] if names[role] in file.schema.names else None for role in ROLES}
    columns = RequestColumns(
        user=names["user"],
        item=names["item"],
        history=found["history"],
        timestamp=found["timestamp"] if time_fields or found["history"] is None else None,
        event=found["event"],
        context=context,
        time_fields=time_fields,
        history_format=HistoryFormat(separator or data.history_separator or "^", frozenset(data.null_values)),
    )
    problems = [*_find_time_problems(columns, names["timestamp"], file), *_find_type_problems(columns, file)]
    if problems:
        raise ConfigError(problems)
    return columns


def _check_different(names: Mapping[str, str], file: RowFile) -> None:
    roles: dict[str, str] = {}
    for role in ROLES:
        name = names[role]
        if name in file.schema.names and roles.setdefault(name, role) != role:
            raise ConfigError(
                f"--columns {role}={name}: is the column of {roles[name]} already; every role needs a column of its own"
            )


def _find_time_problems(columns: RequestColumns, usual: str, file: RowFile) -> list[str]:
    if columns.time_fields and columns.timestamp is None:
        return [
            f"{file.path}: no column '{usual or 'timestamp'}', from which the run's context field "
            f"'{columns.time_fields[0]}' follows; add the times, or name their column with --columns timestamp=..."
        ]
    if "days_since_last" in columns.time_fields and columns.history is not None:
        return [
            f"{file.path}: the run's context field 'days_since_last' needs the times of the history, which column "
            f"'{columns.history}' does not have; score with the stored histories: --columns history="
        ]
    return []


def _find_type_problems(columns: RequestColumns, file: RowFile) -> list[str]:
    expected: dict[str, tuple[Any, str]] = {
        columns.user: (_IS_TEXT, "text or whole numbers"),
        columns.item: (_IS_TEXT, "text or whole numbers"),
        **dict.fromkeys(columns.context, (_IS_FIELD, "text, numbers, or true and false")),
    }
    if columns.history is not None:
        expected[columns.history] = ((*_IS_TEXT, *_IS_LIST), "ids joined by a separator, or a list of them")
    if columns.event is not None:
        expected[columns.event] = (_IS_TEXT, "whole numbers")
    if columns.timestamp is not None:
        expected[columns.timestamp] = (
            (*_IS_TEXT, pa.types.is_timestamp),
            "whole numbers or timestamps",
        )
    problems = []
    for name, (checks, what) in expected.items():
        kind = _decoded(file.schema.field(name).type)
        values = _decoded(kind.value_type) if name == columns.history and _is(_IS_LIST, kind) else kind
        if not _is(checks, kind) or (values is not kind and not _is(_IS_TEXT, values)):
            problems.append(f"{file.path}: column '{name}' is of type {kind}, expected {what}; convert it")
    return problems


def _decoded(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is(checks: Any, kind: Any) -> bool:
    return any(check(kind) for check in checks)
