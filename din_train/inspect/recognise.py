"""What a raw log is, told by its first lines, and the other file that its format needs."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from din_train.config.data import Behaviour, Source
from din_train.errors import DataError
from din_train.inspect.table_columns import (
    LISTS,
    NEEDED_ROLES,
    are_unix_times,
    choose_columns,
    find_separator,
    guess_roles,
    is_typed,
    list_names,
)
from din_train.logs.amazon_reviews import KEYS, Release
from din_train.logs.delimited import FORMS, split_fields
from din_train.logs.first_rows import read_first_rows
from din_train.logs.lines import read_blocks, read_magic
from din_train.logs.records import parse_json_object, parse_literal_object
from din_train.logs.rejects import BadLine
from din_train.logs.samples import X1_COLUMNS
from din_train.printable import make_printable

_HEAD_LINES = 100
_TEXT_SHOWN = 100

_EXPECTED = (
    "expected Amazon reviews, MovieLens ratings, Taobao's UserBehavior.csv, x1 samples, or a table in UTF-8: a header "
    "that names a user, an item and a time column between commas or tabs, then one event a line; or Parquet"
)


@dataclass(frozen=True)
class Recognised:
    """What a file is.

    key: the key of `data` that names the file; `items` and `users` are side tables, all others logs.
    columns: those of a table, in order. roles, remarks, comments: see `TableColumns`.
    """

    source: Source
    what: str
    key: str
    columns: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    comments: Mapping[str, str] = field(default_factory=dict)

    @property
    def can_be_read(self) -> bool:
        """Whether it is a log, and all that is needed to read it is known."""
        roles_known = self.source != "table" or all(role in self.roles for role in NEEDED_ROLES)
        return self.key not in ("items", "users") and roles_known


_BEHAVIOURS = "|".join(get_args(Behaviour))
# Of the two files of x1.
_TRAIN, _TEST = (re.compile(rf"(?<![a-z]){name}(?![a-z])") for name in ("train", "test"))

# What a whole line looks like, of the formats without a header.
_LINE_FORMS: tuple[tuple[str, Recognised], ...] = (
    (rf"[^,]+,[^,]+,[^,]*,(?:{_BEHAVIOURS}),\d+", Recognised("taobao", "Taobao user behaviour", "events")),
    (r"[^:]+::[^:]+::[0-5](?:\.\d+)?::\d+", Recognised("movielens", "MovieLens ratings between '::'", "events")),
    (r"\d+\t\d+\t[1-5]\t\d+", Recognised("movielens", "MovieLens ratings between tabs (u.data)", "events")),
    (r"\d+::[MF]::\d+::\d+::.*", Recognised("movielens", "MovieLens users, not the ratings", "users")),
    (r"\d+\|\d+\|[MF]\|[^|]*\|[^|]*", Recognised("movielens", "MovieLens users (u.user), not the ratings", "users")),
    (r"\d+::(?:(?!::).)+::(?:(?!::).)*", Recognised("movielens", "MovieLens movies, not the ratings", "items")),
    (r"\d+\|.*(?:\|[01]){19}", Recognised("movielens", "MovieLens movies (u.item), not the ratings", "items")),
)


def recognise(path: Path) -> Recognised:
    """Tell what one file is, by its first lines.

    Raises:
        DataError: if it cannot be read, or is of no known format.
    """
    if read_magic(path).startswith(b"PAR1"):
        return _recognise_table("Parquet", path)
    lines = read_head(path)
    if sum(line.startswith(b"{") for line in lines) * 2 > len(lines):
        return _recognise_json(path, lines)
    delimiter = "\t" if b"\t" in lines[0] else ","
    try:
        names, bad = split_fields(lines[0], delimiter), None
    except BadLine as error:
        names, bad = [], error.reason
    if lines[0].startswith(b"userId") and {"movieId", "rating", "timestamp"} <= set(names):
        return Recognised("movielens", "MovieLens ratings with a header", "events")
    if lines[0].startswith(b"movieId,") and {"title", "genres"} <= set(names):
        return Recognised("movielens", "MovieLens movies, not the ratings", "items")
    if set(X1_COLUMNS) <= set(names):
        key = "test" if _TEST.search(path.name) else "train"
        return Recognised("x1", "ready-made samples in the x1 layout", key, remarks=_remark_on_histories(path))
    rows = list(_split_rows(lines[1:], delimiter, len(names)))
    samples = {name: [row[names.index(name)] for row in rows] for name in names if names.count(name) == 1}
    roles, _remarks = guess_roles(samples)
    if not {"user", "item"} <= roles.keys():
        texts = [line.decode(errors="replace") for line in lines]
        for form, recognised in _LINE_FORMS:
            if sum(re.fullmatch(form, text) is not None for text in texts) * 2 > len(texts):
                return recognised
    other = next((each for each in (b";", b"|") if lines[0].count(each) >= len(NEEDED_ROLES) - 1 >= len(names)), None)
    if other is not None:
        shown = make_printable(lines[0][:_TEXT_SHOWN].decode(errors="replace"))
        raise DataError(
            f"{path}: its columns stand between '{other.decode()}' ({shown}), which is not read; write the file with "
            "commas or tabs"
        )
    if bad is not None:
        raise DataError(f"{path}: of no known format: its first line cannot be read ({bad}); {_EXPECTED}")
    if len(names) < len(NEEDED_ROLES) or (not roles and 2 * len(rows) < max(len(lines) - 1, 1)):
        shown = lines[0][:_TEXT_SHOWN].decode(errors="replace")
        raise DataError(f"{path}: of no known format: its first line is '{make_printable(shown)}'; {_EXPECTED}")
    if not roles.keys() & set(NEEDED_ROLES) and _is_row(names, samples):
        raise DataError(
            f"{path}: no header (its first line looks like the others: {list_names(names)}); put one first, such as "
            f"{_suggest_header(samples, delimiter)}"
        )
    return _recognise_table(FORMS[delimiter], path)


def _is_row(names: Sequence[str], samples: Mapping[str, Sequence[str]]) -> bool:
    """Whether a first line is an event like those below it: it has numbers or times in the same columns."""
    typed = [name for name, values in samples.items() if values and all(is_typed(each) for each in values if each)]
    return any(is_typed(name) for name in typed) or all(re.fullmatch(r"[-+.\d]*", name) for name in names)


# Separators that `find_separator` names by other words than they are written.
_IN_YAML = {"blanks": "' '", "the character 1": '"\\x01"'}


def _remark_on_histories(path: Path) -> tuple[str, ...]:
    """Remark on ready-made histories whose ids are joined by something that only the config can tell."""
    rows = read_first_rows(path)
    found = {
        name: find_separator(rows.values[name]) for name in ("item_history", "cate_history") if name in rows.values
    }
    return tuple(
        f"{name} holds lists between {separator}, but each is one value as the config stands; add "
        f"data.history_separator: {_IN_YAML.get(separator, separator)}"
        for name, separator in found.items()
        if separator is not None and separator not in ("'^'", LISTS)
    )


def _suggest_header(samples: Mapping[str, Sequence[str]], delimiter: str) -> str:
    """Suggest names for the columns of a log without a header; if two are left, they are users and items."""
    names = {}
    for place, values in enumerate(samples.values()):
        is_date = all(is_typed(each) and not re.fullmatch(r"[-+.\d]*", each) for each in values)
        is_rating = 2 < len(set(values)) < min(12, len(values) / 2 + 1) and all(
            re.fullmatch(r"\d(?:\.[05]0*)?|10", each) for each in values
        )
        if values and (is_date or are_unix_times(values)):
            names[place] = "timestamp"
        elif is_rating:
            names[place] = "rating"
    left = [place for place in range(len(samples)) if place not in names]
    of_left = ("user_id", "item_id") if len(left) == 2 else [f"column_{place + 1}" for place in left]
    names |= dict(zip(left, of_left, strict=True))
    shown = ",".join(names[place] for place in sorted(names))
    return f"{shown} between tabs" if delimiter == "\t" else shown


def read_head(path: Path) -> list[bytes]:
    """The first lines that are not blank."""
    for _first, block in read_blocks(path, ignore_progress):
        lines = [line.removesuffix(b"\r") for line in block.split(b"\n") if line.strip()]
        if lines:
            return lines[:_HEAD_LINES]
    raise DataError(f"{path}: nothing in it but blank lines; fetch the file again")


def ignore_progress(_bytes: int) -> None:
    """No progress to show."""


def _split_rows(lines: Sequence[bytes], delimiter: str, width: int) -> Iterator[list[str]]:
    """The fields of good lines."""
    for line in lines:
        try:
            row = split_fields(line, delimiter)
        except BadLine:
            continue
        if len(row) == width:
            yield row


def _recognise_json(path: Path, lines: Sequence[bytes]) -> Recognised:
    counts: Counter[str] = Counter()
    for line in lines:
        for parse in (parse_json_object, parse_literal_object):
            try:
                counts.update(str(key) for key in parse(line))
                break
            except BadLine:
                continue
    keys = {key for key, count in counts.items() if count * 2 > len(lines)}
    if set(KEYS["amazon-2023"]) <= keys:
        return Recognised("amazon-2023", "Amazon reviews, 2023 release", "reviews")
    if set(KEYS["amazon-2018"]) <= keys:
        release: Release = "amazon-2014" if "helpful" in keys else "amazon-2018"
        return Recognised(release, f"Amazon reviews, {release[-4:]} release", "reviews")
    if keys & {"parent_asin", "asin"}:
        release = "amazon-2023" if "parent_asin" in keys else "amazon-2018" if "category" in keys else "amazon-2014"
        return Recognised(release, f"Amazon metadata, {release[-4:]} release: the items, not the reviews", "items")
    has = f"objects with the keys {list_names(sorted(keys))}" if keys else "lines that begin with {, but are no objects"
    raise DataError(f"{path}: of no known format: {has}; {_EXPECTED}")


def _recognise_table(form: str, path: Path) -> Recognised:
    rows = read_first_rows(path)
    chosen = choose_columns(rows)
    return Recognised("table", f"a table, {form}", "events", rows.names, chosen.roles, chosen.remarks, chosen.comments)


def find_other_file(path: Path, found: Recognised) -> tuple[str | None, Path | None]:
    """The key of `data` that names the other file a log needs, and that file if it is beside `path`."""
    match found.source, found.key:
        case "movielens", "events":
            key, names = "items", ["movies.csv", "movies.dat", "u.item"]
        case (("amazon-2014" | "amazon-2018" | "amazon-2023"), "reviews"):
            key, names = "items", _name_metadata(path.name)
        case "x1", "train":
            key, names = "test", [_TRAIN.sub("test", path.name)]
        case "x1", "test":
            key, names = "train", [_TEST.sub("train", path.name)]
        case _:
            return None, None
    for candidate in (path.with_name(each) for name in names for each in (name, f"{name}.gz")):
        if candidate.name != path.name and candidate.is_file() and _is_other_file(candidate, found.source, key):
            return key, candidate
    return key, None


def _name_metadata(reviews: str) -> list[str]:
    """`reviews_Toys_5.json.gz`, `Toys_5.json.gz`, `Toys.jsonl.gz` -> `meta_Toys.json`, ..."""
    stem = re.sub(r"(\.jsonl?)?(\.gz)?$", "", reviews)
    category = re.sub(r"_\d+$", "", stem.removeprefix("reviews_"))
    stems = [*dict.fromkeys((f"meta_{category}", f"meta_{stem}")), *(["meta"] if stem == "reviews" else [])]
    return [f"{each}.{ending}" for each in stems for ending in ("json", "jsonl")]


def _is_other_file(candidate: Path, source: Source, key: str) -> bool:
    try:
        found = recognise(candidate)
    except DataError:
        return False
    until_2018 = ("amazon-2014", "amazon-2018")  # their reviews are alike; the metadata tells which it is
    return found.key == key and (found.source == source or (source in until_2018 and found.source in until_2018))
