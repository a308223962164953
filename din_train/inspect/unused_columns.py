"""Remarks on the columns of a table that no role uses: what one would run into with them."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from din_train.logs.first_rows import FirstRows

_VALUE_SHOWN = 40
_SEPARATORS = {"^": "'^'", "|": "'|'", ";": "';'", ",": "','", " ": "blanks", "#": "'#'", "\x01": "the character 1"}
_ID = re.compile(r"[A-Za-z]{0,4}[0-9][A-Za-z0-9_-]*|[0-9a-f]{8,}")

_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
# With a currency, a sign of per cent, thousands apart, or a decimal comma.
_CURRENCY = r"(?:[A-Z]{3}|[$€£¥₹])?"
_DECORATED = re.compile(
    rf"[-+]?\s*{_CURRENCY}\s*(?:[0-9]{{1,3}}(?:[,.' ][0-9]{{3}})+|[0-9]+)(?:[.,][0-9]+)?\s*(?:{_CURRENCY}|%)"
)
_TIME = re.compile(
    r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}(?:[T ].*)?|[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}(?: .*)?"
    r"|[0-9]{1,2}:[0-9]{2}(?::.*)?"
)
_GENRES = re.compile(r"(?:genre|categor(?:y|ie)|tag|topic)s?$")
_NUMBERED = re.compile(r"(.*(?:hist|seq|click|item|last|prev).*?)_?[0-9]+", re.IGNORECASE)
_LEAST_NUMBERED = 3

# What stands between the ids where a text is a list, which the readers of histories take as it is.
LISTS = "commas in brackets, as JSON or Python writes a list"


def is_typed(text: str) -> bool:
    """Whether a text is a number or a time, which no column is called."""
    return bool(_NUMBER.fullmatch(text) or _TIME.fullmatch(text))


def remark_on_columns(rows: FirstRows, roles: Mapping[str, str]) -> list[str]:
    """Odd names, lists, and numbers that are none."""
    lists = dict.fromkeys(rows.lists, "a column of lists")
    for name, values in rows.values.items():
        separator = None if name in roles.values() else find_separator(values)
        if separator is not None:
            lists[name] = f"between {separator}"
    taken = {*roles.values(), *lists}
    numbers = (_remark_on_numbers(name, values, rows) for name, values in rows.values.items() if name not in taken)
    return [*_remark_on_names(rows.names), *_remark_on_lists(rows, lists), *(each for each in numbers if each)]


def remark_on_side_table(rows: FirstRows, roles: Mapping[str, str]) -> str | None:
    """Where a table looks like one of items or of users, not a log: no times, and each of them there once."""
    if "timestamp" in roles or rows.rows < 2:
        return None
    for role in ("item", "user"):
        values = rows.values[roles[role]] if role in roles else ()
        if values and len(set(values)) == len(values):
            others = [name for name in rows.names if name not in (roles[role], roles.get("category"))]
            return (
                f"each value of '{roles[role]}' is there once, and no column holds times: if this is a table of "
                f"{role}s and not the log, inspect the log, and name this file in data.{role}s and what you want of "
                f"it in data.{role}_fields: {', '.join(others[:10])}"
            )
    return None


def find_separator(values: Sequence[str]) -> str | None:
    """What stands between the ids of lists, in words; None where the values are no lists of ids."""
    filled = [value.strip() for value in values if value.strip()]
    if sum(bool(re.fullmatch(r"\[.*\]", value)) for value in filled) > len(filled) / 2:
        return LISTS
    for separator, shown in _SEPARATORS.items():
        several = [value.split(separator) for value in filled if separator in value]
        parts = [part.strip() for value in several for part in value if part.strip()]
        are_ids = sum(bool(_ID.fullmatch(part)) for part in parts) > 0.9 * len(parts)
        if parts and are_ids and 5 * len(several) >= len(filled) and not all(map(is_typed, filled)):
            return shown
    return None


def _remark_on_names(names: Sequence[str]) -> Iterator[str]:
    if any(len(name) > 1 and name.startswith('"') and name.endswith('"') for name in names):
        yield (
            "the names in the header are in quotes, which are kept as a part of names and ids; write the file without "
            "quotes"
        )
    odd = [name for name in names if name != name.strip()]
    if odd:
        yield f"names of columns begin or end in a blank: {', '.join(map(repr, odd))}"


def _remark_on_lists(rows: FirstRows, lists: Mapping[str, str]) -> Iterator[str]:
    stems = Counter(match[1] for name in rows.names if (match := _NUMBERED.fullmatch(name)))
    found = [f"'{name}' ({form})" for name, form in lists.items()]
    found += [f"'{stem}' ({count} numbered columns)" for stem, count in stems.items() if count >= _LEAST_NUMBERED]
    if found:
        yield (
            f"histories or other lists are not read: {', '.join(found)}; a table's histories are made from its own "
            "rows, and ready-made ones are read in the x1 layout alone, between '^'"
        )
    for name, values in rows.values.items():
        several = sum("|" in value for value in values)
        if _GENRES.search(name.lower()) and 5 * several >= len(values) > 0 and name not in lists:
            yield (
                f"column '{name}' holds several values between '|'; as the category each combination would be one of "
                "its own"
            )


def _remark_on_numbers(name: str, values: Sequence[str], rows: FirstRows) -> str | None:
    filled = [value.strip() for value in values if value.strip()]
    odd = [value for value in filled if not _NUMBER.fullmatch(value)]
    numbers = len(filled) - len(odd) + sum(bool(_DECORATED.fullmatch(value)) for value in odd)
    if not odd or 10 * numbers < 9 * len(filled):
        return None
    return (
        f"column '{name}' is of numbers, but in {len(odd):,} {rows.describe_rows()} it has none that can be read, such "
        f"as '{odd[0][:_VALUE_SHOWN]}'"
    )
