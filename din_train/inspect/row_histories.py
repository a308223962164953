"""Histories that the rows of a file hold: which columns are lists of items, and which are parallel to them."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from din_train.inspect.column_values import (
    BRACKETS,
    depends_on,
    find_list_separator,
    find_time_form,
    is_number,
    split_list,
)
from din_train.logs.first_rows import FirstRows

_HISTORY = re.compile(r"hist|seq|click|past|prev|recent|last|behavio")
_SURE_HISTORY = re.compile(r"hist|_seq(?:uence)?s?$")
_NUMBERED = re.compile(r"(.*[^0-9])([0-9]+)")
_LEAST_NUMBERED = 3
_CHECKED = 2_000
_LEAST_PARALLEL = 0.8  # of the rows with behaviours
_LEAST_GROWN = 2
_LEAST_SHARE = 0.3  # of the behaviours of a column, whose items are the rows' items

# [rows] the behaviours of each row.
Lists = Sequence[Sequence[str]]


def find_histories(
    rows: FirstRows, items: Collection[str], chosen: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], str, list[str], list[str]]:
    """Find `data.sequences`.

    Args:
        items: the ids of the items of the rows. chosen: role -> column.

    Returns:
        Name -> sequence, the history first; counts in words; the columns in use; and remarks. All are empty if there
        is none.
    """
    lists = {name: found for name in rows.values if name not in chosen.values() and (found := _take_lists(rows, name))}
    numbered = _find_numbered(rows)
    lists |= {f"{stem}*": (None, _join_numbered(rows, columns)) for stem, columns in numbered.items()}
    of_item = rows.values.get(chosen.get("item", ""))
    named = [name for name in lists if _HISTORY.search(name.lower())]
    shares = {
        name: _share_inside(values, items)
        for name, (_, values) in lists.items()
        if of_item is None or name in named or not depends_on(list(map(str, values)), of_item[:_CHECKED])
    }
    of_items = [name for name, share in shares.items() if share >= (0 if name in named else _LEAST_SHARE) and share]
    histories = sorted(of_items, key=lambda name: -shares[name]) or named[:1]
    left = list(lists)
    sequences: dict[str, dict[str, Any]] = {}
    counts, remarks = "", list[str]()
    for name in histories:
        if name not in left:
            continue  # parallel to another one
        separator, values = lists[name]
        sequence: dict[str, Any] = {"item": name if rows.has_header else int(name)}
        if separator not in (None, BRACKETS):
            sequence["separator"] = separator
        padding = _find_padding(values, items)
        if padding is not None:
            sequence["padding"] = padding
        parallel = [each for each in left if each != name and _are_parallel(values, lists[each][1])]
        for each in parallel:
            differing = sum(len(one) != len(other) for one, other in zip(values, lists[each][1], strict=True))
            if differing:
                remarks.append(
                    f"'{each}' is taken to be parallel to '{name}', though its list has another length in "
                    f"{differing:,} of {len(values):,} rows, which are bad rows: write lists of one length, or remove "
                    f"'{each}' from data.sequences"
                )
        sequence |= _describe_parallel(rows, parallel, lists, chosen)
        times = [each for each in parallel if "timestamp" in sequence and str(sequence["timestamp"]) == each]
        of_users = rows.values.get(chosen.get("user", ""), ())
        if _are_newest_first(lists[times[0]][1]) if times else _grow_in_front(of_users, values, padding):
            sequence["order"] = "newest_first"
        left = [each for each in left if each not in (name, *parallel)]
        if not sequences:
            lengths = sorted(map(len, values))
            counts = f"{shares[name]:.0%} of its ids are items of rows, median length {lengths[len(lengths) // 2]}"
        sequences[name.rstrip("_*") if sequences else "history"] = sequence
    used = [each for name in lists if name not in left for each in numbered.get(name.removesuffix("*"), [name])]
    return sequences, counts, used, remarks


def _take_lists(rows: FirstRows, name: str) -> tuple[str | None, Lists] | None:
    """What joins the lists of a column, and the lists; None if it has none."""
    values = rows.values[name][:_CHECKED]
    separator: str | None = BRACKETS
    if name not in rows.nested:
        separator = find_list_separator(values, "any" if _SURE_HISTORY.search(name.lower()) else "ids")
    if separator is None:
        return None
    lists = [split_list(value, separator) for value in values]
    return (None if name in rows.nested else separator), lists


def _find_numbered(rows: FirstRows) -> dict[str, list[str]]:
    """Stem -> columns of one behaviour each, such as `hist_1` to `hist_10`."""
    stems: dict[str, list[str]] = {}
    for name in rows.values:
        if (match := _NUMBERED.fullmatch(name)) and _HISTORY.search(match[1].lower()):
            stems.setdefault(match[1], []).append(name)
    return {stem: columns for stem, columns in stems.items() if len(columns) >= _LEAST_NUMBERED}


def _join_numbered(rows: FirstRows, columns: Sequence[str]) -> Lists:
    cells = [rows.values[name][:_CHECKED] for name in columns]
    return [[cell for cell in row if cell] for row in zip(*cells, strict=True)]


def _share_inside(lists: Lists, items: Collection[str]) -> float:
    """The share of behaviours whose item is one of the rows' items, padding aside."""
    padding = _find_padding(lists, items)
    ids = [each for row in lists for each in row if each != padding]
    return sum(each in items for each in ids) / max(len(ids), 1)


def _find_padding(lists: Lists, items: Collection[str]) -> str | None:
    """The id, no item of a row, that fills empty places: more often than any item would be there, and in runs."""
    others = Counter(each for row in lists for each in row if each not in items)
    for padding, count in others.most_common(1):
        rows = [row for row in lists if padding in row]
        runs = sum(any(pair == (padding, padding) for pair in pairwise(row)) for row in rows)
        if 10 * count >= sum(map(len, lists)) and (padding == "0" or 2 * runs >= len(rows)):
            return padding
    return None


def _are_parallel(one: Lists, other: Lists) -> bool:
    pairs = [(len(first), len(second)) for first, second in zip(one, other, strict=True) if first or second]
    equal = sum(first == second for first, second in pairs)
    return equal >= _LEAST_PARALLEL * len(pairs) and any(len(row) > 1 for row in one)


def _are_newest_first(times: Lists) -> bool:
    """Whether most lists of times fall."""
    ends = [(row[0], row[-1]) for row in times if len(row) > 1 and row[0] != row[-1]]
    are_numbers = all(is_number(each) for pair in ends for each in pair)
    falling = sum(float(first) > float(last) if are_numbers else first > last for first, last in ends)
    return 2 * falling > len(ends)


def _grow_in_front(users: Sequence[str], lists: Lists, padding: str | None) -> bool:
    """Whether a user's longer lists mostly end like the shorter one before or after them, instead of beginning so."""
    last: dict[str, list[str]] = {}
    in_front = 0
    for user, row in zip(users, lists, strict=False):
        ids = [each for each in row if each != padding]
        short, long = sorted((last.get(user, []), ids), key=len)
        if 0 < len(short) < len(long):
            in_front += (long[-len(short) :] == short) - (long[: len(short)] == short)
        last[user] = ids
    return in_front > _LEAST_GROWN


def _describe_parallel(
    rows: FirstRows, columns: Sequence[str], lists: Mapping[str, tuple[str | None, Lists]], chosen: Mapping[str, str]
) -> dict[str, Any]:
    """What the lists beside a history are: categories, times, or fields of a behaviour."""
    described: dict[str, Any] = {}
    categories = set(rows.values.get(chosen.get("category", ""), ()))
    for name in columns:
        values = [each for row in lists[name][1] for each in row]
        column: str | int = name if rows.has_header else int(name)
        is_category = re.search("cat", name.lower()) or sum(each in categories for each in values) > 0.5 * len(values)
        if "timestamp" not in described and values and find_time_form(values) is not None:
            described["timestamp"] = column
        elif "category" not in described and is_category:
            described["category"] = column
        else:
            described.setdefault("fields", {})[name] = column
    return described
