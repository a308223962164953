"""`din-train data inspect`: what a raw log is, what it holds, and a config to start from."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from din_train.config import ColumnsConfig, Config, DataConfig
from din_train.config.data import AMAZON_SOURCES
from din_train.config.yaml_text import parse_yaml
from din_train.errors import DataError
from din_train.inspect.contents import count_lines, read_contents
from din_train.inspect.recognise import find_other_file, recognise
from din_train.inspect.starter_config import fill_in_starter, mark_bad_share
from din_train.inspect.table_columns import list_names
from din_train.logs import input_files
from din_train.printable import make_printable

ReadStarter = Callable[[str], str]


def inspect_log(path: Path, read_starter: ReadStarter) -> str:
    """Write one YAML document: the findings as comments, then a config for the log.

    Args:
        path: a file; or a folder or a glob of tables.
        read_starter: source -> its starter config.

    Raises:
        DataError: if there is no file, or it is of no known format, or cannot be read.
    """
    path = _name_path(path)
    files = _find_log_files(path)
    found = recognise(files[0])
    if found.source != "table" and files != (path,):
        raise DataError(f"{path}: its first file, {files[0]}, is {found.what}; give the path of that file itself")
    other_key, other_file = find_other_file(path, found)
    if other_file is not None and found.source in AMAZON_SOURCES:
        source = recognise(other_file).source
        found = replace(found, source=source, what=f"Amazon reviews, {source[-4:]} release")
    text, to_edit = fill_in_starter(read_starter(found.source), path, found, other_key, other_file)
    form = found.what if len(files) == 1 else f"{found.what}, in {len(files):,} files"
    findings = [f"{path}: {form}"]
    if found.columns:
        findings.append(f"columns: {list_names(found.columns)}")
    findings += found.remarks
    if found.can_be_read:
        data = Config.model_validate(parse_yaml(text)).data
        rows, bad_lines, reports = read_contents(data, path, files, other_file)
        findings += ["", *_align(rows), *bad_lines]
        text, too_bad = mark_bad_share(text, data.max_bad_share, reports)
        to_edit += too_bad
    else:
        findings += ["", *_align([("lines", f"{sum(map(count_lines, files)):,}")])]
        if found.source != "table":
            log = "reviews" if found.source in AMAZON_SOURCES else "ratings"
            findings.append(f"The {log} file is the one to inspect; this one is looked for beside it.")
    findings += ["", *(f"EDIT {each}" for each in to_edit)] if to_edit else []
    comments = "".join(f"# {make_printable(line)}".rstrip() + "\n" for line in findings)
    return f"{comments}\n{text}"


def _name_path(path: Path) -> Path:
    """The path in a form that a config can hold."""
    path = path.resolve() if path.name in ("", "..") else path
    shown = os.fsencode(path).decode(errors="replace")
    if shown != str(path):
        raise DataError(f"{shown}: the path is not in UTF-8, so that no config can hold it; rename the file")
    if not path.name:
        raise DataError(f"{path}: is the root of all files; give the path of a log")
    return path


def _find_log_files(path: Path) -> tuple[Path, ...]:
    columns = ColumnsConfig(user="user", item="item", timestamp="time")
    try:
        return input_files(DataConfig(source="table", events=path, columns=columns, prepared=Path("prepared")))
    except DataError as error:
        raise DataError([problem.removeprefix("data.events: ") for problem in error.problems]) from None


def _align(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _value in rows)
    return [f"{name:{width}}  {value}".rstrip() for name, value in rows]
