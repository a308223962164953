"""The file that a log's source needs besides, looked for beside it."""

import re
from pathlib import Path

from din_train.config.data import Source
from din_train.errors import DataError
from din_train.inspection.recognise import TEST, TRAIN, Recognised, recognise


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
