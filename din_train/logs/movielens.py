r"""MovieLens: ratings, movies and, where they are published, users.

    ratings.csv   userId,movieId,rating,timestamp     20M, 25M, 32M
    ratings.dat   user::movie::rating::timestamp      1M, 10M
    u.data        user \t movie \t rating \t timestamp   100K

A rating is an impression; one of at least `data.click_rating` is a click. A movie's category is its first genre, its
`year` the one at the end of its title.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from din_train.config import ColumnsConfig, DataConfig
from din_train.config.file_formats import FormatConfig
from din_train.errors import DataError
from din_train.logs.labels import LabelRule
from din_train.logs.lines import read_lines
from din_train.logs.log import Cluster, FileReport, Progress, RawLog
from din_train.logs.records import NullValues, decode_line
from din_train.logs.rejects import BadLine, Rejects
from din_train.logs.side_table import build_side_table
from din_train.logs.table import TableSource, read_events

_NAMES = ("userId", "movieId", "rating", "timestamp")
_NO_GENRE = ("(no genres listed)", "unknown")
_GENRES_100K = ["unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"]
_GENRES_100K += ["Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War"]
_GENRES_100K += ["Western"]
_FIRST_GENRE_100K = 5
_YEAR = re.compile(r"\(([0-9]{4})\)\s*$")

Values = TypeVar("Values")


def read_movielens(
    data: DataConfig, ratings: Sequence[Path], folder: Path, progress: Progress, cluster: Cluster | None = None
) -> RawLog:
    """Read the ratings, in the order given, as labelled events, and the movies and users, into files in `folder`.

    Raises:
        DataError: if a file cannot be read, is of another format or has too many bad lines, or there is no event.
    """
    if data.click_rating is None:
        raise ValueError("DataConfig lets no movielens log be without a rating that is a click")
    log = read_events(data, _describe_ratings(ratings, data.click_rating), ratings, folder, progress, cluster)
    with log.rejected.open("ab") as rejected:
        if data.items is not None:
            report, path = FileReport(data.items.path), folder / "items.parquet"
            pq.write_table(read_movies(data, Rejects(rejected, report, data), progress), path)
            log = replace(log, items=path, reports=(*log.reports, report))
        if data.users is not None:
            report, path = FileReport(data.users.path), folder / "users.parquet"
            people = dict(_read_users(Rejects(rejected, report, data), data.user_fields, progress))
            pq.write_table(build_side_table("user", people, category=False, fields=data.user_fields), path)
            log = replace(log, users=path, reports=(*log.reports, report))
    return log


def read_movies(data: DataConfig, rejects: Rejects, progress: Progress) -> pa.Table:
    """The movies of `rejects.report.path`: item, category, title and, if `data.item_fields` has it, year."""
    rows = dict(_read_movies(rejects, progress, with_year="year" in data.item_fields))
    return build_side_table("item", rows, category=True, fields=data.item_fields, title=True)


def _describe_ratings(paths: Sequence[Path], click_rating: float) -> TableSource:
    """The columns of ratings files, by their first lines."""
    delimiter, has_header = _find_layout(paths[0])
    for path in paths[1:]:
        if _find_layout(path) != (delimiter, has_header):
            raise DataError(
                f"{path}: its first line is of another MovieLens layout than {paths[0]}; give files of one layout in "
                "data.events"
            )
    user, item, rating, timestamp = _NAMES if has_header else (1, 2, 3, 4)
    return TableSource(
        columns=ColumnsConfig(
            user=user, item=item, label=rating, timestamp=timestamp, label_at_least=click_rating, time_unit="seconds"
        ),
        format=FormatConfig(delimiter=delimiter, header=has_header),
        label_rule=LabelRule(click_rating, is_rating=True),
        keys={role: f"column {role}" for role in ("user", "item", "timestamp", "label")},
    )


def _find_layout(path: Path) -> tuple[Literal[",", "::", "\t"], bool]:
    """The delimiter of a ratings file, and whether it has a header."""
    line = next((line for _, line in read_lines(path, lambda _: None) if line.strip()), b"")
    delimiters: tuple[Literal["::", "\t"], ...] = ("::", "\t")
    delimiter = next((each for each in delimiters if line.count(each.encode()) == 3), None)
    has_header = line.startswith(b"userId")
    if delimiter is None and not has_header:
        raise DataError(
            f"{path}: its first line is not of a MovieLens ratings file; expected the header "
            "userId,movieId,rating,timestamp, or user::movie::rating::timestamp, or the same between tabs "
            "(ratings.csv, ratings.dat, u.data); check data.events"
        )
    return delimiter or ",", has_header


def _read_movies(
    rejects: Rejects, progress: Progress, *, with_year: bool
) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    """Movie id -> category, title and, if asked for, year."""
    for movie, (title, genres) in _read_records(rejects, progress, "data.items", _find_movie_parser):
        year = _YEAR.search(title)
        yield (
            movie,
            (_first_genre(genres, rejects.nulls), title or None, *((year[1] if year else None,) if with_year else ())),
        )


def _find_movie_parser(line: bytes) -> Callable[[bytes], tuple[str, tuple[str, list[str]]]]:
    if line.startswith(b"movieId,"):
        return _parse_movie_csv
    if b"::" in line:
        return _parse_movie_dat
    return _parse_movie_100k if line.count(b"|") >= _FIRST_GENRE_100K else _parse_movie_csv


def _parse_movie_csv(line: bytes) -> tuple[str, tuple[str, list[str]]]:
    movie, title, genres = _expect(_split_csv(decode_line(line).removesuffix("\r")), 3)
    return movie, (title, genres.split("|"))


def _split_csv(text: str) -> list[str]:
    if "\0" in text or "\r" in text:
        raise BadLine("NUL character" if "\0" in text else "carriage return inside the line")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error:
        raise BadLine("broken quotes") from None


def _parse_movie_dat(line: bytes) -> tuple[str, tuple[str, list[str]]]:
    movie, title, genres = _expect(_decode(line).split("::"), 3)
    return movie, (title, genres.split("|"))


def _parse_movie_100k(line: bytes) -> tuple[str, tuple[str, list[str]]]:
    movie, title, *rest = _expect(_decode(line).split("|"), _FIRST_GENRE_100K + len(_GENRES_100K))
    flags = zip(_GENRES_100K, rest[_FIRST_GENRE_100K - 2 :], strict=True)
    return movie, (title, [genre for genre, flag in flags if flag == "1"])


def _read_users(
    rejects: Rejects, fields: tuple[str, ...], progress: Progress
) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    """User id -> the wanted fields."""
    for user, profile in _read_records(rejects, progress, "data.users", _find_user_parser):
        yield user, tuple(None if profile[name] in rejects.nulls else profile[name] or None for name in fields)


def _find_user_parser(line: bytes) -> Callable[[bytes], tuple[str, dict[str, str]]]:
    return _parse_user_dat if b"::" in line else _parse_user_100k


def _parse_user_dat(line: bytes) -> tuple[str, dict[str, str]]:
    user, gender, age, occupation, _ = _expect(_decode(line).split("::"), 5)
    return user, {"gender": gender, "age": age, "occupation": occupation}


def _parse_user_100k(line: bytes) -> tuple[str, dict[str, str]]:
    user, age, gender, occupation, _ = _expect(_decode(line).split("|"), 5)
    return user, {"gender": gender, "age": age, "occupation": occupation}


def _read_records(
    rejects: Rejects,
    progress: Progress,
    key: str,
    find_parser: Callable[[bytes], Callable[[bytes], tuple[str, Values]]],
) -> Iterator[tuple[str, Values]]:
    """Id and values of each good line; the first line tells the layout of all."""
    report, seen, parse = rejects.report, set[str](), None
    for number, line in read_lines(report.path, progress):
        if not line.strip():
            continue
        if parse is None:
            parse = find_parser(line)
            if line.startswith(b"movieId,"):
                continue
        report.lines += 1
        try:
            name, values = parse(line.removesuffix(b"\r"))
            if name in rejects.nulls:
                raise BadLine("no id")
            if name in seen:
                raise BadLine("id given twice")
        except BadLine as bad:
            rejects.add(number, bad.reason, line)
            continue
        seen.add(name)
        report.kept += 1
        yield name, values
    rejects.check_share()
    if not report.kept:
        raise DataError(f"{report.path}: nothing in its {report.lines:,} lines can be read; check {key}")


def _expect(fields: list[str], width: int) -> list[str]:
    if len(fields) != width:
        raise BadLine("wrong number of fields")
    if not fields[0]:
        raise BadLine("empty id")
    if any("\0" in field for field in fields):
        raise BadLine("NUL character")
    return fields


def _first_genre(genres: list[str], nulls: NullValues) -> str | None:
    return next((genre for genre in genres if genre and genre not in _NO_GENRE and genre not in nulls), None)


def _decode(line: bytes) -> str:
    """The 1M and 100K files are Latin-1, in which any byte is a letter."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")
