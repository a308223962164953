"""What a raw log is, told by its first lines: a format that has a reader of its own, or any file of rows."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from din_train.config.data import AMAZON_SOURCES, Behaviour, Source
from din_train.config.file_formats import FormatConfig
from din_train.errors import DataError
from din_train.inspect.column_values import is_row
from din_train.inspect.guess import Guess, list_names
from din_train.inspect.table_columns import NoBehavioursError, guess_columns
from din_train.logs.amazon_reviews import KEYS
from din_train.logs.delta import is_delta_table
from din_train.logs.first_rows import FirstRows, join_rows, read_first_rows
from din_train.logs.lines import read_blocks, read_magic
from din_train.logs.records import parse_json_object, parse_literal_object
from din_train.logs.rejects import BadLine

_HEAD_LINES = 100

_EXPECTED = (
    "expected a log: rows of at least a user and an item, as CSV or another delimited text, JSON lines or Parquet; "
    "Amazon reviews, MovieLens ratings, Taobao's UserBehavior.csv; or samples with histories"
)


@dataclass(frozen=True)
class Recognised:
    """What a file is.

    key: the key of `data` that names the file; `items` and `users` are side tables, all others logs.
    has_header: of a known format. rows, guess: of a file that is of none.
    """

    source: Source
    what: str
    key: str
    has_header: bool = False
    rows: FirstRows | None = None
    guess: Guess | None = None

    @property
    def can_be_read(self) -> bool:
        """Whether it is a log, and all that is needed to read it is known."""
        return self.key not in ("items", "users") and (self.guess is None or not self.guess.missing)


_BEHAVIOURS = "|".join(get_args(Behaviour))

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
_WORDS = re.compile(r"\w+(?:[ ,\t][\w-]+)+")
# What the first line, or all lines, of files look like that are no log -> what they are and what to do.
_NO_LOGS = (
    (r"version https://git-lfs\.", "the pointer of Git LFS to the file, and not the file; get it with `git lfs pull`"),
    (r"(?i:<!doctype html|<html)", "a web page, and not the file; fetch it again"),
)
_NO_TABLES = (
    (r"[-+]?[0-9.]+(?: [0-9]+:[-+0-9.eE]+)+ *$", "LIBSVM features; write the log that they were made of as a table"),
    (r'\S+ \S+ \S+ \[[^\]]+\] "', "a web server's log; write the user, item and time of each line as a table"),
)
# Names of a header -> what has them.
_HEADERS: tuple[tuple[Sequence[str], Recognised], ...] = (
    (
        ("userId", "movieId", "rating", "timestamp"),
        Recognised("movielens", "MovieLens ratings with a header", "events", True),
    ),
    (("movieId", "title", "genres"), Recognised("movielens", "MovieLens movies, not the ratings", "items", True)),
)


def recognise(path: Path, others: Sequence[Path] = ()) -> Recognised:
    """Tell what one file is.

    Args:
        others: some more files of the same log, whose rows tell what differs from file to file.

    Raises:
        DataError: if it cannot be read, or is no log.
    """
    texts: list[str] = []
    if not is_delta_table(path) and not read_magic(path).startswith((b"PAR1", b"ARROW1")):
        lines = _read_head(path)
        if sum(line.lstrip().startswith(b"{") for line in lines) * 2 > len(lines):
            amazon = _recognise_amazon(lines)
            if amazon is not None:
                return amazon
        texts = [line.decode(errors="replace") for line in lines]
        for form, recognised in _LINE_FORMS:
            alike = [re.fullmatch(form, text) is not None for text in texts]
            if alike[0] and sum(alike) * 2 > len(texts):
                return recognised
        what = next((what for form, what in _NO_LOGS if re.match(form, texts[0])), None)
        what = what or next((what for form, what in _NO_TABLES if all(re.match(form, text) for text in texts)), None)
        if what is not None:
            raise DataError(f"{path}: {what}")
    rows = join_rows([read_rows(path), *_read_others(others)])
    for names, recognised in _HEADERS:
        if set(names) == set(rows.names):
            return recognised
    try:
        guess = guess_columns(rows)
        inside = None
        for name in rows.lists if guess.missing else ():
            inner = join_rows([read_rows(path, name), *_read_others(others, name)])
            of_inner = guess_columns(inner)
            if not of_inner.missing:
                rows, guess, inside = inner, of_inner, name
                break
    except NoBehavioursError as error:
        raise DataError(f"{path}: {error}") from None
    nested = _explain_nested(path, rows, guess)
    if nested is not None:
        raise DataError(f"{path}: {nested}")
    if not guess.is_named and (guess.missing or rows.broken > rows.rows):
        why = _describe_lines(texts) or f"its columns are {list_names(rows.names)}; {_EXPECTED}"
        raise DataError(f"{path}: of no known format: {why}")
    what = "rows with their histories" if guess.data["source"] == "rows" else "a table"
    of_list = "" if inside is None else f", a row for each object of its lists '{inside}'"
    return Recognised(guess.data["source"], f"{what}, {rows.form}{of_list}", "events", rows=rows, guess=guess)


def read_rows(path: Path, inside: str | None = None) -> FirstRows:
    """Read the first rows of a file; a first line that looks like the others is a row and no header.

    Args:
        inside: a list of objects, which are the rows.

    Raises:
        DataError: if it cannot be read.
    """
    rows = read_first_rows(path, inside=inside)
    columns = [rows.values.get(name, ()) for name in rows.names]
    if rows.dialect is not None and rows.has_header and rows.rows and is_row(rows.names, columns):
        return read_first_rows(path, FormatConfig(header=False))
    return rows


def _read_others(paths: Sequence[Path], inside: str | None = None) -> Iterator[FirstRows]:
    for path in paths:
        with suppress(DataError):  # said when the whole log is read
            yield read_rows(path, inside)


def _describe_lines(lines: Sequence[str]) -> str | None:
    """What keeps lines from being rows, and what to do; None if nothing is known."""
    if lines and lines[0].startswith("#"):
        return "it begins with a comment, '#...'; remove such lines"
    if all(map(_WORDS.fullmatch, lines)) and len({len(re.split(r"[ ,\t]", line)) for line in lines}) > 2:
        return "its lines have several lengths; if each holds a user's items, write a line for each item"
    return None


def _explain_nested(path: Path, rows: FirstRows, guess: Guess) -> str | None:
    """What to do if a file's items are inside lists or objects that cannot be rows; None if it is no such file."""
    nested = [name for name in rows.nested if not any(each.startswith(f"{name}.") for each in rows.names)]
    if "columns.item" not in guess.missing or not nested:
        return None
    names = ['"{}"'.format(name.replace('"', '""')) for name in nested]
    parts = [f"unnest({name}) AS {name}" for name in names] if names[1:] else [f"unnest({names[0]}, recursive := true)"]
    file = "'{}'".format(str(path).replace("'", "''"))
    return (
        f"no column names an item, and each row holds lists or objects ({', '.join(nested)}): if these are the user's "
        "events, write a row for each and inspect that, as by DuckDB's "
        f"COPY (FROM {file} SELECT * EXCLUDE ({', '.join(names)}), {', '.join(parts)}) TO 'events.parquet'"
    )


def _read_head(path: Path) -> list[bytes]:
    """The first lines that are not blank."""
    for _first, block in read_blocks(path, lambda _bytes: None):
        lines = [line.removesuffix(b"\r") for line in block.split(b"\n") if line.strip()]
        if lines:
            return lines[:_HEAD_LINES]
    raise DataError(f"{path}: nothing in it but blank lines; fetch the file again")


def _recognise_amazon(lines: Sequence[bytes]) -> Recognised | None:
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
        release: Source = "amazon-2014" if "helpful" in keys else "amazon-2018"
        return Recognised(release, f"Amazon reviews, {release[-4:]} release", "reviews")
    if keys & {"parent_asin", "asin"} and not keys & {"user_id", "reviewerID"}:
        release = "amazon-2023" if "parent_asin" in keys else "amazon-2018" if "category" in keys else "amazon-2014"
        return Recognised(release, f"Amazon metadata, {release[-4:]} release: the items, not the reviews", "items")
    return None


def are_amazon(one: Recognised, other: Recognised) -> bool:
    """Whether two files may be of one release: the reviews until 2018 are alike."""
    until_2018 = AMAZON_SOURCES[:2]
    return one.source == other.source or (one.source in until_2018 and other.source in until_2018)
