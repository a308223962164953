"""Which columns of a file hold users, items, histories and times, checked before any work."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from din_train.config import ColumnsConfig, DataConfig
from din_train.config.column_roles import FILE_ORDER
from din_train.config.data import TIME_FIELDS
from din_train.config.file_formats import FormatConfig
from din_train.config.rows import SequenceConfig
from din_train.errors import ConfigError, DataError
from din_train.logs.columns import find_columns
from din_train.logs.expressions import describe_type_problem
from din_train.logs.history_text import HistoryFormat
from din_train.logs.json_rows import list_of
from din_train.logs.row_files import RowFile, open_row_file
from din_train.logs.sample_rows import describe_rows
from din_train.logs.sequences import SequenceReader, find_sequence_columns
from din_train.printable import make_printable

ROLES = ("user", "item", "history", "timestamp", "event", "category")
NEEDED = ("user", "item")
# The role under which histories with another separator are counted.
SEPARATOR = "history separator"
# Before the name of a further sequence: the role of its ids.
SEQUENCE = "data.sequences."

SCORE_COLUMNS = ("click_probability", "logit")


@dataclass(frozen=True)
class InputColumns:
    """Names of a file's columns; None if it has no such column, or it is not used.

    timestamp: used for histories that are not given, and for time fields.
    event: the row of the log, whose history and context fields are taken; then only user and item are used as well.
    context: context fields that are columns of the log. time_fields: those that follow from the time.
    item_fields: item field, the category among them -> column, of items that the data set does not know.
    history_reader: reads the histories as the run's rows have them. times: how the log's times are.
    sequences: readers of the further sequences that the run's rows have; none if an event says them.
    taken: all columns of the file that are kept. If some of those above are inside a list of objects, each of these
        objects is a row, and its columns are among them in place of the list.
    """

    user: str
    item: str
    history: str | None
    timestamp: str | None
    event: str | None
    context: tuple[str, ...]
    time_fields: tuple[str, ...]
    item_fields: Mapping[str, str]
    history_reader: SequenceReader
    times: ColumnsConfig
    sequences: tuple[SequenceReader, ...]
    taken: tuple[str, ...]


def open_input(path: Path, format: FormatConfig | None) -> RowFile:
    """Open a file to score: its text is written as the run's `data.format` says, the rest is told by its content."""
    if format is not None and format.delimiter is not None:
        file = open_row_file(path, format.model_copy(update={"delimiter": None}))
        if file.dialect is None:  # JSON; what has a delimiter is none
            return file
    return open_row_file(path, format)


def doubt_header(file: RowFile, data: DataConfig, given: Mapping[str, str]) -> str | None:
    """What is unsure of a file's first line; None if a name tells that it is a header, or the run's log has it so."""
    if file.dialect is None:
        return None
    columns = describe_rows(data).columns if data.holds_histories else data.columns
    header = None if data.format is None else data.format.header
    if header is None and file.has_header:
        if columns is None or any(role in given or isinstance(getattr(columns, role), str) for role in NEEDED):
            return None
        names = ", ".join(map(make_printable, file.schema.names))
        return (
            f"{file.path}: its first line is taken for a header, {names}, and is not scored; if it is a row, give "
            "--set data.format.header=false"
        )
    if (
        header is False
        and open_input(file.path, FormatConfig(**{**dict(data.format or ()), "header": None})).has_header
    ):
        return (
            f"{file.path}: its first line may be a header, but is scored as a row, since data.format.header is false; "
            "if it is one, give --set data.format.header=true"
        )
    return None


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """`user=uid,item=asin` -> role -> column name; an empty name says that the file has no such column.

    Raises:
        ConfigError: if a part is not of that form.
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


def find_input_columns(
    file: RowFile, data: DataConfig, given: Mapping[str, str], separator: str | None = None
) -> InputColumns:
    """Find the column of each role, as given, else as the run's log or ready-made samples have it.

    `history` and `timestamp` may be missing, unless they were named or a context field needs them. If the run's rows
    have several sequences, the file has all of them or says the event.

    Args:
        separator: of histories; None: that of the run's ready-made samples, else `^`.

    Raises:
        ConfigError: with one line for each column that is missing, of a type that will not do, or given twice.
    """
    usual = {role: role for role in ROLES} | {"event": ""}  # a column called event may be anything
    history = None
    if data.holds_histories:
        layout = describe_rows(data)
        history = next(iter(layout.sequences.values()))
        given_columns = {"user": layout.columns.user, "item": layout.columns.item, "history": history.item}
        given_columns |= {"timestamp": layout.columns.timestamp, "category": _find_category(layout.columns, data)}
        usual |= {role: _name_column(column, file) for role, column in given_columns.items() if column is not None}
    elif data.columns is not None:
        usual |= {role: _name_column(getattr(data.columns, role), file) for role in ("user", "item", "timestamp")}
        usual["category"] = _name_column(_find_category(data.columns, data), file) or "category"
    if separator == "":
        raise ConfigError("--history-separator: received nothing, expected what joins the ids, such as '|' or ' '")
    names, has = {**usual, **given}, file.schema.names
    of_history = find_sequence_columns(names["history"], has)
    names["history"] = of_history[0]
    _check_names(names, given, file)
    if given.get("event"):
        names |= {"history": "", "timestamp": ""}
    fields = () if given.get("event") else data.context_fields
    context = tuple(name for name in fields if name not in TIME_FIELDS)
    wanted = {f"--columns {role}=": names[role] for role in ROLES if names[role] and role in (*NEEDED, *given)}
    wanted |= {f"data.context_fields.{name}": name for name in context}
    of_rows = describe_rows(data).sequences if data.further_sequences and not given.get("event") else {}
    sequences = tuple(
        _build_reader(name, config, find_sequence_columns(_name_column(config.item, file), has), data)
        for name, config in list(of_rows.items())[1:]
    )
    wanted |= {f"data.sequences.{each.name}.item": each.columns["item"][0] for each in sequences}
    if sequences and names["history"] not in has:
        raise ConfigError(
            f"{file.path}: has no column '{names['history'] or 'history'}', and the run's rows have several sequences "
            f"(the history, {', '.join(each.name for each in sequences)}), which only a file has together; add the "
            "column, or name it with --columns history=..."
        )
    for role in NEEDED:
        if not names[role]:
            raise ConfigError(
                f"{file.path}: has no {role}: the run's log has it in a later column than the {len(has)} of this file "
                f"(read as {file.form}); name its column with --columns {role}=..."
            )
    try:
        places = find_columns(wanted, has, file.path, file.form)
    except DataError as error:
        raise ConfigError(error.problems) from None
    names |= {role: has[places[key]] for role in ROLES if (key := f"--columns {role}=") in places}
    found = {role: names[role] if names[role] in has else None for role in ROLES}
    time_fields = tuple(name for name in fields if name in TIME_FIELDS)
    columns = InputColumns(
        user=names["user"],
        item=names["item"],
        history=found["history"],
        timestamp=found["timestamp"] if time_fields or found["history"] is None else None,
        event=found["event"],
        context=context,
        time_fields=time_fields,
        item_fields={
            field: name
            for field, name in {"category": names["category"], **{name: name for name in data.item_fields}}.items()
            if name in has
        },
        history_reader=_build_reader("history", history, of_history, data, separator),
        times=data.columns or ColumnsConfig(user=names["user"], item=names["item"]),
        sequences=sequences,
        taken=(),
    )
    columns = replace(columns, taken=_choose_taken(columns, file))
    problems = [*_find_time_problems(columns, names["timestamp"], file), *_find_type_problems(columns, file)]
    if problems:
        raise ConfigError(problems)
    return columns


def _find_category(columns: ColumnsConfig, data: DataConfig) -> str | int | None:
    """The log's column of the category; a position is one of `data.items` if there is such a file."""
    return None if data.items is not None and isinstance(columns.category, int) else columns.category


def _choose_taken(columns: InputColumns, file: RowFile) -> tuple[str, ...]:
    """See `InputColumns.taken`.

    Raises:
        ConfigError: if columns of two lists of objects are used.
    """
    used = [columns.user, columns.item, columns.history, columns.timestamp, columns.event]
    used += [*columns.context, *columns.item_fields.values()]
    used += [name for each in (columns.history_reader, *columns.sequences) for name in each.columns["item"]]
    inside = {each.name: list_of(each) for each in file.schema}
    lists = sorted({name for column in used if column is not None and (name := inside.get(column)) is not None})
    if len(lists) > 1:
        raise ConfigError(
            f"{file.path}: columns of several lists of objects are used ({', '.join(lists)}); name those of one, whose "
            "objects are the rows"
        )
    return tuple(name for name, of in inside.items() if (of is None and name not in lists) or of in lists)


def _build_reader(
    name: str, config: SequenceConfig | None, columns: Sequence[str], data: DataConfig, separator: str | None = None
) -> SequenceReader:
    """The reader of a sequence's items; its messages name it `name`."""
    separator = separator or (config and config.separator) or data.history_separator or "^"
    named = SequenceConfig(item=name) if config is None else config.model_copy(update={"item": name})
    return SequenceReader(name, named, {"item": columns}, HistoryFormat(separator, frozenset(data.null_values)))


def _check_names(names: Mapping[str, str], given: Mapping[str, str], file: RowFile) -> None:
    roles: dict[str, str] = {}
    for role, name in names.items():
        if name in file.schema.names and roles.setdefault(name, role) != role:
            raise ConfigError(
                f"--columns {role}={name}: is the column of {roles[name]} already; every role needs a column of its own"
            )
    for name in SCORE_COLUMNS:
        if name in file.schema.names:
            raise ConfigError(
                f"{file.path}: has a column '{name}' already, which the output adds; rename it, or score the "
                "file that this one was made from"
            )
    for role in ("history", "timestamp"):
        if given.get("event") and given.get(role):
            raise ConfigError(
                f"--columns event={given['event']}: says the history and the time, and so does {role}={given[role]}; "
                "give one of the two"
            )


def _find_time_problems(columns: InputColumns, usual: str, file: RowFile) -> Iterator[str]:
    if columns.time_fields and columns.timestamp is None:
        yield (
            f"{file.path}: no column '{usual or 'timestamp'}', from which the run's context field "
            f"'{columns.time_fields[0]}' follows; add the times, or name their column with --columns timestamp=..."
        )
    elif "days_since_last" in columns.time_fields and columns.history is not None:
        yield (
            f"{file.path}: the run's context field 'days_since_last' needs the times of the history, which column "
            f"'{columns.history}' does not have; score with the stored histories: --columns history="
        )


def _find_type_problems(columns: InputColumns, file: RowFile) -> Iterator[str]:
    kinds: dict[str | None, str] = {
        **dict.fromkeys((columns.user, columns.item), "id"),
        **dict.fromkeys((*columns.context, *columns.item_fields.values()), "list"),
        columns.history: "history",
        columns.event: "id",
        columns.timestamp: "time",
        **{name: "list" for each in columns.sequences for name in each.columns["item"]},
    }
    for name, kind in kinds.items():
        problem = None if name is None else describe_type_problem(kind, file.schema.field(name))
        if problem is not None:
            yield f"{file.path}: {problem}"


def _name_column(column: str | int | None, file: RowFile) -> str:
    """The name of a column of the log, which may have been given by its position."""
    if isinstance(column, int):
        return file.schema.names[column - 1] if column <= len(file.schema) else ""
    return "" if column in (None, FILE_ORDER) else str(column)
