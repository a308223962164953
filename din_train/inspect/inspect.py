"""A raw log looked at: what it is, what it holds, and a config to start from."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from din_train.config import ColumnsConfig, Config, DataConfig
from din_train.config.data import AMAZON_SOURCES, Source
from din_train.config.yaml_text import parse_yaml
from din_train.errors import DataError
from din_train.inspect.contents import count_lines, read_contents
from din_train.inspect.recognise import TEST, TRAIN, Recognised, list_names, recognise
from din_train.inspect.starter_config import fill_in_starter, mark_bad_share
from din_train.logs import input_files
from din_train.printable import make_printable

__all__ = ["inspect_log"]

ReadStarter = Callable[[str], str]


def inspect_log(path: Path, read_starter: ReadStarter) -> str:
    """One YAML document: the findings as comments, then a config for the log.

    Args:
        path: a file; or a folder or a glob of tables.
        read_starter: source -> the starter config of it.

    Raises:
        DataError: where there is no file, or it is of no known format, or cannot be read.
    """
    path = _name_path(path)
    files = _find_files(path)
    found = recognise(files[0])
    if found.source != "table" and files != (path,):
        raise DataError(f"{path}: its first file, {files[0]}, is {found.what}; give the path of that file itself")
    partner_key, partner = find_partner(path, found)
    if partner is not None and found.source in AMAZON_SOURCES:
        source = recognise(partner).source
        found = replace(found, source=source, what=f"Amazon reviews, {source[-4:]} release")
    text, to_edit = fill_in_starter(read_starter(found.source), path, found, partner_key, partner)
    findings = [f"{path}: {_describe_form(found, files)}"]
    if found.columns:
        findings.append(f"columns: {list_names(found.columns)}")
    findings += found.remarks
    if found.can_be_read:
        data = Config.model_validate(parse_yaml(text)).data
        rows, bad_lines, reports = read_contents(data, path, files, partner)
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
    """A path that a config can hold."""
    path = path.resolve() if path.name in ("", "..") else path
    shown = os.fsencode(path).decode(errors="replace")
    if shown != str(path):
        raise DataError(f"{shown}: the path is not in UTF-8, so that no config can hold it; rename the file")
    if not path.name:
        raise DataError(f"{path}: is the root of all files; give the path of a log")
    return path


def _find_files(path: Path) -> tuple[Path, ...]:
    columns = ColumnsConfig(user="user", item="item", timestamp="time")
    try:
        return input_files(DataConfig(source="table", events=path, columns=columns, prepared=Path("prepared")))
    except DataError as error:
        raise DataError([problem.removeprefix("data.events: ") for problem in error.problems]) from None


def _describe_form(found: Recognised, files: Sequence[Path]) -> str:
    return found.what if len(files) == 1 else f"{found.what}, in {len(files):,} files"


def _align(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _value in rows)
    return [f"{name:{width}}  {value}".rstrip() for name, value in rows]


def find_partner(path: Path, found: Recognised) -> tuple[str | None, Path | None]:
    """The key of `data` of the other file that a log needs, and that file where one beside `path` is it."""
    match found.source, found.key:
        case "movielens", "events":
            key, names = "items", ["movies.csv", "movies.dat", "u.item"]
        case (("amazon-2014" | "amazon-2018" | "amazon-2023"), "reviews"):
            key, names = "items", _name_metadata(path.name)
        case "x1", "train":
            key, names = "test", [TRAIN.sub("test", path.name)]
        case "x1", "test":
            key, names = "train", [TEST.sub("train", path.name)]
        case _:
            return None, None
    for candidate in (path.with_name(each) for name in names for each in (name, f"{name}.gz")):
        if candidate.name != path.name and candidate.is_file() and _is_partner(candidate, found.source, key):
            return key, candidate
    return key, None


def _name_metadata(reviews: str) -> list[str]:
    """`reviews_Toys_5.json.gz`, `Toys_5.json.gz`, `Toys.jsonl.gz` -> `meta_Toys.json`, ..."""
    stem = re.sub(r"(\.jsonl?)?(\.gz)?$", "", reviews)
    category = re.sub(r"_\d+$", "", stem.removeprefix("reviews_"))
    stems = [*dict.fromkeys((f"meta_{category}", f"meta_{stem}")), *(["meta"] if stem == "reviews" else [])]
    return [f"{each}.{ending}" for each in stems for ending in ("json", "jsonl")]


def _is_partner(candidate: Path, source: Source, key: str) -> bool:
    try:
        found = recognise(candidate)
    except DataError:
        return False
    until_2018 = ("amazon-2014", "amazon-2018")  # their reviews are alike; the metadata tells which it is
    return found.key == key and (found.source == source or (source in until_2018 and found.source in until_2018))
