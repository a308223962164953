"""The columns of a table: which of them a log needs, and remarks on the others."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from din_train.logs.feedback import Feedback, choose_label, find_feedback, simplify_name
from din_train.logs.first_rows import FirstRows
from din_train.logs.records import parse_timestamp
from din_train.logs.rejects import BadLine
from din_train.logs.time_unit import guess_unit
from din_train.printable import make_printable

NEEDED_ROLES = ("user", "item", "timestamp")
# Role -> names a column of it has, in lower case without what is no letter or digit; the first there is taken.
COLUMN_NAMES = {
    "user": "userid user uid reviewerid visitorid customerid custid customer memberid member buyerid accountid account "
    "personid profileid viewerid listenerid msno sessionid session",
    "item": "itemid item iid parentasin asin productid product movieid movie skuid sku goodsid goods articleid article "
    "videoid newsid songid trackid artistid bookid isbn animeid gameid venueid poiid businessid documentid contentid "
    "postid photoid jobid recipeid creativeid adgroupid adid stockcode",
    "timestamp": "timestamp unixreviewtime unixtime eventtimestamp timestampms eventtime time timems ts eventts "
    "showtime clicktime actiontime requesttime logtime starttime utctime datetime date day eventdate createdat "
    "reviewtime",
    "category": "category categoryid cate cateid cat catid itemcategory itemcategoryid categorycode "
    "videocategory newscategory productcategory itemcate",
    "label": "label click clicked isclick isclicked",
    "request": "requestid reqid impressionid impid queryid searchid exposureid",
}

_ODD_SHARE = (0.5, 0.1)  # of values that a column taken for a role may have, and of one taken for the label
_NAMES_SHOWN, _NAME_SHOWN = 50, 100
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

# How `find_separator` names a text that is a list, which the readers of histories take as it is.
LISTS = "commas in brackets, as JSON or Python writes a list"


@dataclass(frozen=True)
class TableColumns:
    """What the columns of a table are for.

    roles: key of `data.columns` -> column, if the name or the values tell. remarks: why a column was not taken, and
    what is not used. comments: role -> why its column was taken.
    """

    roles: Mapping[str, str]
    remarks: tuple[str, ...]
    comments: Mapping[str, str]


def choose_columns(rows: FirstRows) -> TableColumns:
    """Choose the columns of a table by their names and values."""
    roles, remarks = guess_roles(rows.values)
    if "timestamp" not in roles:
        by_value = [name for name in rows.values if name not in roles.values() and are_unix_times(rows.values[name])]
        if len(by_value) == 1:
            roles["timestamp"] = by_value[0]
            remarks.append(f"column '{by_value[0]}' is taken for the timestamp, as its values are unix times")
    if "label" in roles and rows.is_all and {*rows.values[roles["label"]]} <= {"1", "1.0", ""}:
        remarks.append(f"column '{roles.pop('label')}' is not taken for the label: it holds nothing but 1")
    feedback = find_feedback(rows)
    label, opposite = choose_label([each for each in feedback if each.column not in roles.values()])
    if "label" not in roles and label is not None:
        roles["label"] = label.column
        if opposite is not None:
            remarks.append(f"'{opposite}' is the opposite of '{label.column}', whose 1s are taken for the clicks")
    comments = {}
    if "label" not in roles:
        roles.pop("request", None)  # of impressions only
    if "label" in roles:
        values = [value.strip().lower() for value in rows.values[roles["label"]]]
        yes = "true" if "true" in values else "1"
        share = sum(value in ("1", "1.0", "true", "t") for value in values) / max(len(values), 1)
        comments["label"] = f"{share:.1%} {rows.describe_rows()} are {yes}"
    side_table = _remark_on_side_table(rows, roles)
    if side_table is not None:
        remarks.append(side_table)
    else:
        left = [each for each in feedback if each.column not in (*roles.values(), opposite)]
        remarks += _remark_on_feedback(left, rows, labelled="label" in roles)
    remarks += _remark_on_columns(rows, roles)
    return TableColumns(roles, tuple(remarks), comments)


def guess_roles(samples: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """Guess role -> column by the names, and say why a column with a fitting name was not taken."""
    plain = {simplify_name(name): name for name in reversed(list(samples))}
    roles: dict[str, str] = {}
    remarks = []
    for role, known in COLUMN_NAMES.items():
        for name in (plain[each] for each in known.split() if each in plain):
            if name in roles.values():
                continue
            values = [value for value in samples[name] if value]
            odd = [value for value in values if not _may_be(role, value)]
            if len(odd) <= _ODD_SHARE[role == "label"] * len(values):
                roles[role] = name
                break
            expected = "0 and 1"
            if role == "timestamp":
                expected = (
                    "whole numbers; write whole unix seconds or milliseconds, or the log as Parquet with a column of "
                    "type timestamp"
                )
            remarks.append(f"column '{name}' is not taken for the {role}: it has '{odd[0][:40]}', expected {expected}")
    return roles, remarks


def _may_be(role: str, value: str) -> bool:
    if role == "label":
        return value in ("0", "1", "0.0", "1.0")
    if role != "timestamp":
        return True
    try:
        parse_timestamp(value)
    except BadLine:
        return False
    return True


def are_unix_times(values: Sequence[str]) -> bool:
    return bool(values) and all(_may_be("timestamp", each) and guess_unit(parse_timestamp(each)) for each in values)


def _remark_on_feedback(left: Sequence[Feedback], rows: FirstRows, *, labelled: bool) -> list[str]:
    """Name the columns that may tell clicks from other rows, and are not used."""
    labels = [each for each in left if each.kind == "label" and each.is_readable]
    if labelled:
        others = [f"'{each.column}' holds {each.holds}" for each in left if each not in labels]
        ones = [f"0 and 1 as well: {list_names([each.column for each in labels])}"] if labels else []
        return [f"not used: {each}" for each in (*ones, *others)]
    remarks = [
        f"column '{each.column}' holds {each.holds}, {rows.describe_rows()}, and is not used: all rows are taken as "
        "clicks; if only some are, leave out the others, or write a column of 1 and 0"
        for each in left
        if each not in labels
    ]
    if len(labels) == 1:
        remarks.append(
            f"column '{labels[0].column}' holds {labels[0].holds}, {rows.describe_rows()}, and is not used: all rows "
            "are taken as clicks; if its 1s are the clicks, name it in data.columns.label"
        )
    elif labels:
        remarks.append(
            f"{len(labels)} columns hold 0 and 1 and are not used: all rows are taken as clicks; if the 1s of one are "
            f"the clicks, name it in data.columns.label: {list_names([each.column for each in labels])}"
        )
    return remarks


def is_typed(text: str) -> bool:
    """Whether a text is a number or a time, which no column is called."""
    return bool(_NUMBER.fullmatch(text) or _TIME.fullmatch(text))


def _remark_on_columns(rows: FirstRows, roles: Mapping[str, str]) -> list[str]:
    """Remark on odd names, on lists, and on texts that should be numbers."""
    lists = dict.fromkeys(rows.lists, "a column of lists")
    for name, values in rows.values.items():
        separator = None if name in roles.values() else find_separator(values)
        if separator is not None:
            lists[name] = f"between {separator}"
    taken = {*roles.values(), *lists}
    numbers = (_remark_on_numbers(name, values, rows) for name, values in rows.values.items() if name not in taken)
    return [*_remark_on_names(rows.names), *_remark_on_lists(rows, lists), *(each for each in numbers if each)]


def _remark_on_side_table(rows: FirstRows, roles: Mapping[str, str]) -> str | None:
    """Remark on a table that looks like one of items or of users: it has no times, and each of them once."""
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
    """What stands between the ids of lists, in words; None if the values are no lists of ids."""
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


def list_names(names: Sequence[str]) -> str:
    """The first names, shortened."""
    shown = [name if len(name) <= _NAME_SHOWN else name[:_NAME_SHOWN] + "..." for name in names[:_NAMES_SHOWN]]
    return make_printable(", ".join(shown)) + (f", ... ({len(names)} of them)" if len(names) > _NAMES_SHOWN else "")
