"""`din-train data inspect`: what a raw log is, what it holds, and a config to start from."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from din_train.config import ColumnsConfig, Config, DataConfig
from din_train.config.data import AMAZON_SOURCES
from din_train.config.yaml_text import parse_yaml
from din_train.errors import DataError
from din_train.inspect.contents import count_lines, read_contents
from din_train.inspect.guess import Guess, list_names
from din_train.inspect.neighbour_files import find_metadata, find_side_tables, find_splits
from din_train.inspect.recognise import Recognised, recognise
from din_train.inspect.starter_config import fill_in_starter, mark_bad_share, split_users
from din_train.logs import readable_files
from din_train.logs.dialect import Dialect
from din_train.logs.first_rows import FirstRows
from din_train.logs.sample_rows import X1_COLUMNS
from din_train.printable import make_printable

ReadStarter = Callable[[str], str]

_MOST_SHORT_USERS = 0.9
_MOST_LOOKED_AT = 1000  # files of a folder or a glob
_MOST_GUESSED_FROM = 8

# Of the keys of `data.columns`.
_ORDER = [
    *("user", "item", "timestamp", "time_format", "category"),
    *("label", "label_at_least", "events", "request", "weight"),
]


def inspect_log(path: Path, read_starter: ReadStarter) -> str:
    """Write one YAML document: the findings as comments, then a config for the log.

    Args:
        path: a file; or a folder or a glob of files of rows.
        read_starter: source -> its starter config.

    Raises:
        DataError: if there is no file, or it is no log, or cannot be read.
    """
    path = _name_path(path)
    files = _find_log_files(path)
    first = max(files[:_MOST_LOOKED_AT], key=lambda each: each.stat().st_size)  # the largest: it says most
    others = [each for each in files[:: -(-len(files) // _MOST_GUESSED_FROM)] if each != first]
    found = recognise(first, others)
    if found.guess is None and files != (path,):
        raise DataError(f"{path}: one of its files, {first}, is {found.what}; give the path of that file itself")
    source, data, comments, missing = _describe_files(path, files, found)
    labelled = source in ("movielens", "x1") or "label" in data.get("columns", {})
    labelled |= found.guess is not None and found.guess.is_labelled
    text = fill_in_starter(read_starter(source), data, comments, missing, labelled=labelled)
    to_edit = [f"data.{key}: {why}" for key, why in missing.items()]
    what = (
        f"Amazon reviews, {source[-4:]} release"
        if source in AMAZON_SOURCES[:2] and found.key == "reviews"
        else found.what
    )
    findings = [f"{path}: {what if len(files) == 1 else f'{what}, in {len(files):,} files'}"]
    if found.guess is not None and found.rows is not None:
        findings += [f"columns: {list_names(found.rows.names)}", *found.guess.remarks]
    if found.can_be_read:
        config = Config.model_validate(parse_yaml(text))
        contents = read_contents(config.data)
        findings += ["", *_align(contents.rows), *contents.bad_lines]
        text, too_bad = mark_bad_share(text, config.data.max_bad_share, contents.reports)
        if contents.short_users > _MOST_SHORT_USERS:
            text = split_users(text, contents.short_users)
        to_edit += too_bad
    else:
        findings += ["", *_align([("lines", f"{sum(map(count_lines, files)):,}")])]
        if found.guess is None:
            log = "reviews" if found.source in AMAZON_SOURCES else "ratings"
            findings.append(f"The {log} file is the one to inspect; this one is looked for beside it.")
    findings += ["", *(f"EDIT {each}" for each in to_edit)] if to_edit else []
    header = "".join(f"# {make_printable(line)}".rstrip() + "\n" for line in findings)
    return f"{header}\n{text}"


def _describe_files(
    path: Path, files: Sequence[Path], found: Recognised
) -> tuple[str, dict[str, Any], Mapping[str, str], dict[str, str]]:
    """The source, keys of `data`, comments on them, and what is missing."""
    if found.guess is not None and found.rows is not None:
        return _describe_rows(path, files, found.rows, found.guess)
    data: dict[str, Any] = {"source": found.source, found.key: str(path)}
    missing: dict[str, str] = {}
    if found.key in ("items", "users"):
        log = "reviews" if found.source in AMAZON_SOURCES else "events"
        missing = {log: "the path of that file"}
        data |= {"items": None} if found.key == "users" else {}
    else:
        metadata = find_metadata(path, found)
        if metadata is not None:
            data |= {"source": metadata.source, "items": metadata.what}
        elif found.source != "taobao":
            data["items"] = None
    return data["source"], data, {}, missing


def _describe_rows(
    path: Path, files: Sequence[Path], rows: FirstRows, guess: Guess
) -> tuple[str, dict[str, Any], Mapping[str, str], dict[str, str]]:
    """The same of a file of rows."""
    comments = dict(guess.comments)
    columns = dict(guess.columns)
    given = {
        "columns": columns,
        **{key: value for key, value in guess.data.items() if key not in ("source", "columns")},
    }
    dialect = {} if rows.dialect is None else _describe_dialect(rows.dialect)
    given |= {"format": dialect} if dialect else {}
    files_of_log: dict[str, Any] = {"events": str(path)}
    taken: list[Path] = []
    is_x1 = set(X1_COLUMNS) == set(rows.names)
    if is_x1:
        columns = {"user": "user_id", "item": "item_id", "category": "cate_id", "label": "label"}
        given.setdefault("sequences", {"history": {"item": "item_history", "category": "cate_history"}})
    if guess.data["source"] == "rows" or is_x1:
        splits = find_splits(path) if files == (path,) else {"train": path}
        if "test" not in splits and "validation" in splits:
            splits["test"] = splits.pop("validation")
        taken = list(splits.values())
        files_of_log = {key: str(splits[key]) for key in ("train", "validation", "test") if key in splits}
        if is_x1 and splits.keys() == {"train", "test"}:
            separator = given["sequences"]["history"].get("separator", "^")
            x1 = {"source": "x1", **files_of_log}
            return "x1", x1 if separator == "^" else {**x1, "history_separator": separator}, {}, {}
        by = {key: 0.1 for key in ("validation", "test") if key not in splits}
        given["row_split"] = {"by": "user", **by} if by else None
        comments["row_split"] = f"no file of {' or '.join(by)} rows was found beside it"
    if files == (path,) and not guess.missing:
        tables, of_tables = find_side_tables(path, rows, columns, guess.items, taken)
        category = tables.pop("category", None)
        if isinstance(category, str) and category in columns.values():
            given["item_fields"] = [*given.get("item_fields", []), category]
        elif category is not None:
            columns["category"] = category
        files_of_log |= tables
        comments |= of_tables
        guess.remarks += [of_tables[key] for key in ("items.others", "users.others") if key in of_tables]
    source = "rows" if is_x1 else guess.data["source"]
    data = {"source": source, **files_of_log, **given}
    missing = guess.missing
    columns |= {role.removeprefix("columns."): role.removeprefix("columns.") for role in missing}
    data["columns"] = {key: columns[key] for key in _ORDER if key in columns}
    return source, data, comments, missing


def _describe_dialect(dialect: Dialect) -> dict[str, Any]:
    """Keys of `data.format`, of what is not as in most files."""
    quote = '"' if dialect.delimiter in ",; " else ""
    found = {
        "delimiter": (dialect.delimiter, dialect.delimiter in ",\t"),
        "quote": (dialect.quote, dialect.quote == quote),
        "escape": (dialect.escape, not dialect.escape),
        "encoding": (dialect.encoding.removesuffix("-le").removesuffix("-be"), dialect.encoding == "utf-8"),
        "header": (dialect.has_header, dialect.has_header),
    }
    return {key: value for key, (value, is_usual) in found.items() if not is_usual}


def _name_path(path: Path) -> Path:
    """The path in a form that a config can hold."""
    path = path.resolve() if path.name in ("", "..") else path
    shown = os.fsencode(str(path)).decode(errors="replace")
    if shown != str(path):
        raise DataError(f"{shown}: the path is not in UTF-8, so that no config can hold it; rename the file")
    if not path.name:
        raise DataError(f"{path}: is the root of all files; give the path of a log")
    return path


def _find_log_files(path: Path) -> tuple[Path, ...]:
    columns = ColumnsConfig(user="user", item="item", timestamp="time")
    try:
        return readable_files(DataConfig(source="table", events=path, columns=columns, prepared=Path("prepared")))
    except DataError as error:
        raise DataError([problem.removeprefix("data.events: ") for problem in error.problems]) from None


def _align(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _value in rows)
    return [f"{name:{width}}  {value}".rstrip() for name, value in rows]
