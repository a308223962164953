"""The other files of a log, looked for beside it: metadata, splits, and tables of items and of users."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from din_train.config.data import AMAZON_SOURCES
from din_train.errors import DataError
from din_train.inspect.column_values import find_list_separator, is_null
from din_train.inspect.recognise import Recognised, are_amazon, read_rows, recognise
from din_train.inspect.table_columns import COLUMN_NAMES, find_row_numbers
from din_train.logs.feedback import simplify_name
from din_train.logs.first_rows import FirstRows
from din_train.remote_path import is_remote

# Key of `data` -> words for it in the names of files.
_SPLITS = {"train": ("train", "training"), "validation": ("valid", "validation", "val", "dev"), "test": ("test",)}
_MOST_NEIGHBOURS = 20
_LEAST_OVERLAP = 0.5


def find_splits(path: Path) -> dict[str, Path]:
    """Key of `data` -> file: the splits beside a file whose name, or whose folder's name, says which it is."""
    for own, words in _SPLITS.items():
        pattern = re.compile(rf"(?<![a-z])(?:{'|'.join(words)})(?![a-z])", re.IGNORECASE)
        for part in (path, path.parent):
            if not pattern.search(part.name):
                continue
            found = {own: path}
            for key, others in _SPLITS.items():
                renamed = (part.with_name(pattern.sub(word, part.name)) for word in others)
                paths = (each if part == path else each / path.name for each in renamed)
                there = next((each for each in paths if each.is_file()), None)
                if key != own and there is not None:
                    found[key] = there
            return found
    return {"train": path}


def find_metadata(path: Path, found: Recognised) -> Recognised | None:
    """The file of items beside reviews or ratings, as `what` of its path; None if there is none."""
    if found.source in AMAZON_SOURCES and found.key == "reviews":
        names = _name_metadata(path.name)
    elif found.source == "movielens" and found.key == "events":
        names = ["movies.csv", "movies.dat", "u.item"]
    else:
        return None
    for candidate in (path.with_name(each) for name in names for each in (name, f"{name}.gz")):
        if candidate.name != path.name and candidate.is_file():
            try:
                other = recognise(candidate)
            except DataError:
                continue
            if other.key == "items" and are_amazon(found, other):
                return Recognised(other.source, str(candidate), "items")
    return None


def _name_metadata(reviews: str) -> list[str]:
    """`reviews_Toys_5.json.gz`, `Toys_5.json.gz`, `Toys.jsonl.gz` -> `meta_Toys.json`, ..."""
    stem = re.sub(r"(\.jsonl?)?(\.gz)?$", "", reviews)
    category = re.sub(r"_\d+$", "", stem.removeprefix("reviews_"))
    stems = [*dict.fromkeys((f"meta_{category}", f"meta_{stem}")), *(["meta"] if stem == "reviews" else [])]
    return [f"{each}.{ending}" for each in stems for ending in ("json", "jsonl")]


def find_side_tables(
    path: Path, rows: FirstRows, columns: Mapping[str, Any], items: set[str], taken: Sequence[Path]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Keys of `data` that name tables of the log's items or users beside it, and why.

    Args:
        columns: `data.columns` so far. items: the ids of the log's items. taken: files that are something else.
    """
    ids = {"item": items, "user": {*rows.values.get(_column(rows, columns.get("user")), ())}}
    best: dict[str, tuple[float, Path, str, FirstRows]] = {}
    beside = () if is_remote(path) else sorted(path.parent.iterdir())  # a bucket may hold any number of files
    neighbours = [each for each in beside if each.is_file() and each.name[0] not in "._"]
    for candidate in [each for each in neighbours if each not in (path, *taken)][:_MOST_NEIGHBOURS]:
        try:
            side = read_rows(candidate)
        except DataError:
            continue
        found = [(*_find_key(side, ids[role], columns.get(role), role), role) for role in ids]
        share, key, role = max(found)
        if share >= _LEAST_OVERLAP and share > best.get(role, (0.0,))[0]:
            best[role] = (share, candidate, key, side)
    data: dict[str, Any] = {}
    comments: dict[str, str] = {}
    for role, (share, candidate, key, side) in best.items():
        is_given = role == "item" and isinstance(columns.get("category"), int)  # else it would be one of this table's
        name = key if side.has_header else int(key)
        table: dict[str, Any] = {"path": str(candidate)}
        table |= {} if name == columns.get(role) else {"key": name}
        table |= {} if side.has_header else {"format": {"header": False}}
        if not is_given:
            data[f"{role}s"] = table if len(table) > 1 else table["path"]
        comments[f"{role}s"] = f"{share:.0%} of the {role}s in the first rows are there"
        numbers = find_row_numbers(side)
        others = [each for each in side.names if each != key and each not in numbers]
        category = _find_category(side, others) if role == "item" and "category" not in columns else None
        if category is not None:
            data["category"] = category if side.has_header else int(category)
            comments["columns.category"] = f"of {candidate.name}"
            others.remove(category)
        if others:
            comments[f"{role}s.others"] = f"data.{role}_fields may be: {', '.join(others[:20])} (of {candidate.name})"
    return data, comments


def _column(rows: FirstRows, name: str | int | None) -> str:
    return rows.names[name - 1] if isinstance(name, int) else str(name)


def _find_key(side: FirstRows, ids: set[str], name: str | int | None, role: str) -> tuple[float, str]:
    """The share of the log's ids that a side table has, and their column; a name counts if not all of it was read."""
    other = COLUMN_NAMES["user" if role == "item" else "item"].split()
    shares = [(0.0, "")]
    for column, values in side.values.items():
        plain = simplify_name(column)
        if side.rows < 2 or len(set(values)) < side.rows or plain in other:
            continue
        share = len(ids & set(values)) / max(len(ids), 1)
        is_named = plain in (*COLUMN_NAMES[role].split(), simplify_name(str(name)))
        if not is_named and all(map(str.isdigit, ids)):
            continue  # whole numbers are in many columns
        shares.append((max(share, _LEAST_OVERLAP) if is_named and share and not side.is_all else share, column))
    return max(shares)


def _find_category(side: FirstRows, columns: Sequence[str]) -> str | None:
    plain = {simplify_name(name): name for name in reversed(columns) if name in side.values}
    for known in COLUMN_NAMES["category"].split():
        values = [each for each in side.values.get(plain.get(known, ""), ()) if not is_null(each)]
        if values and find_list_separator(values, "words") is None:
            return plain[known]
    few = (name for name in columns if name in side.values and not side.has_header and _has_few(side.values[name]))
    return next(few, None)


def _has_few(values: Sequence[str]) -> bool:
    return 2 <= len(set(values)) <= len(values) / 2 and find_list_separator(values) is None
