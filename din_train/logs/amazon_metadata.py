"""Amazon metadata: Python dict literals (2014) or JSON objects (2018, 2023), one item a line.

An item's category is the leaf of its path: the last of `categories` (2014, 2023) or `category` (2018), ended at its
first junk entry (HTML markup got into some). An item on several lines takes the first line that has a category;
one that has none on any line falls back on its `main_cat` (2018) or `main_category` (2023).
"""

import contextlib
import html
import re
from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from din_train.logs.amazon_reviews import KEYS, Release
from din_train.logs.lines import read_lines
from din_train.logs.log import Progress
from din_train.logs.records import NullValues, parse_json_object, parse_literal_object, take_id
from din_train.logs.rejects import BadLine, Rejects

MAX_TITLE_LENGTH = 300
MAX_PRICE_LENGTH = 40

UNMENTIONED = "items no review mentions"

_PRICE = re.compile(r"\$?([0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]{1,9}(?:\.[0-9]+)?)")
_TOO_DEAR = 10**9
_ASIN = re.compile(rb"""['"]asin['"]\s*:\s*[uU]?(['"])(.*?)\1""")


@dataclass(frozen=True, slots=True)
class Item:
    """One metadata line.

    main_category: the shop's department, for want of a category path.
    junk: the category path was cut at a junk entry.
    fields: those asked for, in that order.
    """

    asin: str
    category: str | None
    title: str | None
    main_category: str | None = None
    junk: bool = False
    fields: tuple[str | None, ...] = ()


def read_metadata(
    release: Release,
    mentioned: Container[str],
    rejects: Rejects,
    progress: Progress,
    *,
    fields: Sequence[str] = (),
) -> dict[str, Item]:
    """Read the items of `rejects.report.path` that `mentioned` holds, in the order of their first lines.

    Args:
        fields: item fields beside the category, see `ITEM_FIELDS` in the config.

    Raises:
        DataError: where the file cannot be read or has too many bad lines.
    """
    report, items = rejects.report, dict[str, Item]()
    parse = _PARSERS[release]
    for number, line in read_lines(report.path, progress):
        if not line or line.isspace():
            continue
        report.lines += 1
        if release == "amazon-2014" and not _may_mention(line, mentioned):
            report.note(UNMENTIONED, 1)
            continue
        try:
            item = parse(line, fields, rejects.nulls)
        except BadLine as bad:
            rejects.add(number, bad.reason, line)
            continue
        report.note("junk category", item.junk)
        if item.asin not in mentioned:
            report.note(UNMENTIONED, 1)
            continue
        earlier = items.get(item.asin)
        if earlier is not None:
            report.note("duplicate asin", 1)
            report.note("duplicate asin with another category", _disagree(earlier, item))
            item = _merge(earlier, item)
        items[item.asin] = item
    rejects.check_share()
    report.kept = len(items)
    for asin, item in items.items():
        if item.category is None and item.main_category is not None:
            report.note("category from " + ("main_category" if release == "amazon-2023" else "main_cat"), 1)
            items[asin] = replace(item, category=item.main_category)
    report.note("no category", sum(item.category is None for item in items.values()))
    if isinstance(mentioned, Collection):
        report.note("reviewed items without metadata", len(mentioned) - len(items))
    return items


def find_first_item(release: Release, path: Path) -> str | None:
    """The id of the first item of a metadata file, as an example."""
    for _, line in read_lines(path, lambda _: None):
        with contextlib.suppress(BadLine):
            return _PARSERS[release](line, (), frozenset()).asin
    return None


def parse_item_2014(line: bytes, fields: Sequence[str] = (), nulls: NullValues = frozenset()) -> Item:
    """One line of the 2014 release.

    Raises:
        BadLine: where it is not one.
    """
    record = parse_literal_object(line, ("asin", "categories"))
    paths = _take_list(record, "categories", instead="category")
    path = paths[-1] if paths else []
    return _build_item(record, "asin", path if isinstance(path, list) else [], fields, nulls)


def parse_item_2018(line: bytes, fields: Sequence[str] = (), nulls: NullValues = frozenset()) -> Item:
    """One line of the 2018 release.

    Raises:
        BadLine: where it is not one.
    """
    record = parse_json_object(line, ("asin", "category"))
    return _build_item(record, "asin", _take_list(record, "category", instead="categories"), fields, nulls)


def parse_item_2023(line: bytes, fields: Sequence[str] = (), nulls: NullValues = frozenset()) -> Item:
    """One line of the 2023 release.

    Raises:
        BadLine: where it is not one.
    """
    record = parse_json_object(line, ("parent_asin", "categories"))
    return _build_item(record, "parent_asin", _take_list(record, "categories", instead="category"), fields, nulls)


_PARSERS: dict[Release, Callable[[bytes, Sequence[str], NullValues], Item]] = {
    "amazon-2014": parse_item_2014,
    "amazon-2018": parse_item_2018,
    "amazon-2023": parse_item_2023,
}


def _take_list(record: dict[Any, Any], key: str, instead: str) -> list[Any]:
    if key not in record and instead in record:
        raise BadLine(f"has '{instead}' instead of '{key}'")  # another release
    value = record.get(key)
    return value if isinstance(value, list) else []


def _build_item(record: dict[Any, Any], id_key: str, path: list[Any], fields: Sequence[str], nulls: NullValues) -> Item:
    if any(keys[0] in record for keys in KEYS.values()):
        raise BadLine("a review, not an item")
    names = [_clean(name) for name in path]
    good = next((place for place, name in enumerate(names) if _is_junk(name)), len(names))
    category = names[good - 1] if good else None
    title = _clean(record.get("title"))
    department = _clean(record.get("main_cat") or record.get("main_category"))
    main_category = None if _is_junk(department) or department in nulls else department or None
    values = (_take_field(record, name, main_category) for name in fields)
    return Item(
        asin=take_id(record, id_key, nulls),
        category=None if category in nulls else category or None,
        title=title[:MAX_TITLE_LENGTH] if title else None,
        main_category=main_category,
        junk=good < len(names),
        fields=tuple(None if value in nulls else value for value in values),
    )


def _take_field(record: dict[Any, Any], name: str, main_category: str | None) -> str | None:
    if name == "main_category":
        return main_category
    value: Any = record.get(name)
    if name == "price":  # 9.99, "9.99", "$1,009.99"; anything else stays as it is
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        text = str(value) if is_number and abs(value) < _TOO_DEAR else _clean(value)
        match = _PRICE.fullmatch(text) if text else None
        return match[1].replace(",", "") if match else (text or "")[:MAX_PRICE_LENGTH] or None
    return _clean(value) or None


def _is_junk(name: str | None) -> bool:
    return name is None or "<" in name or ">" in name


def _clean(text: object) -> str | None:
    """Unescaped and stripped, so that `Men&#39;s` and `Men's` are one; None for anything but a string."""
    if not isinstance(text, str):
        return None
    with contextlib.suppress(ValueError):  # `&#` and thousands of digits
        text = html.unescape(text)
    return text.replace("\0", "").encode(errors="replace").decode().strip()


def _disagree(earlier: Item, later: Item) -> bool:
    return None not in (earlier.category, later.category) and earlier.category != later.category


def _merge(earlier: Item, later: Item) -> Item:
    """The first line with a category, with what it lacks filled in from the other one."""
    first, other = (earlier, later) if earlier.category or not later.category else (later, earlier)
    return replace(
        first,
        title=first.title or other.title,
        main_category=first.main_category or other.main_category,
        fields=tuple(one if one is not None else two for one, two in zip(first.fields, other.fields, strict=True)),
    )


def _may_mention(line: bytes, mentioned: Container[str]) -> bool:
    """Whether a line is worth its slow parse: it names a mentioned asin, or none that can be told cheaply."""
    asins = [match[1] for match in _ASIN.findall(line)]
    return not asins or any(b"\\" in asin or asin.decode(errors="replace") in mentioned for asin in asins)
