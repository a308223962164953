"""The columns of a file of rows: what each is for, by its name and its values, as keys of `data`."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from din_train.config.column_roles import FILE_ORDER
from din_train.inspect.column_values import (
    BRACKETS,
    TIME_FORMATS,
    are_impressions,
    count_distinct,
    depends_on,
    find_list_separator,
    find_time_form,
    is_null,
    is_number,
)
from din_train.inspect.row_histories import find_histories
from din_train.logs.feedback import Feedback, choose_label, find_feedback, is_label_name, simplify_name
from din_train.logs.first_rows import FirstRows
from din_train.printable import make_printable

# Role -> names that a column of it has, in lower case without what is no letter or digit; the first one is taken.
COLUMN_NAMES = {
    "user": "userid user uid reviewerid visitorid customerid custid customer memberid member buyerid accountid account "
    "personid profileid viewerid listenerid cookieid deviceuserid msno sessionid session",
    "item": "itemid item iid parentasin asin productid product movieid movie skuid sku goodsid goods articleid article "
    "videoid newsid songid trackid artistid bookid isbn animeid gameid venueid locationid poiid businessid documentid "
    "contentid postid photoid jobid recipeid beerid creativeid adgroupid adid aid stockcode targetitem targetitemid "
    "target",
    "timestamp": "timestamp unixreviewtime unixtime eventtimestamp timestampms eventtime time timems ts eventts "
    "showtime clicktime actiontime requesttime logtime starttime utctime datetime date day eventdate createdat "
    "dateadded reviewtime",
    "category": "category categoryid cate cateid cat catid itemcategory itemcategoryid categorycode targetcate "
    "targetcategory videocategory newscategory productcategory itemcate",
    "request": "requestid reqid impressionid impid queryid searchid exposureid",
    "weight": "weight sampleweight",
}
NEEDED = ("user", "item", "timestamp")

_LIST_FIELD = re.compile(r"genre|categor|tag|topic|keyword|class|feat|token")
_MANY = 10  # columns
_CLICKS_NEEDED = 3  # of a user, for a split by each user's last clicks
_LONGEST_ID = 64
_NAMES_SHOWN, _NAME_SHOWN = 50, 100


class NoBehavioursError(Exception):
    """A file is no log of behaviours; the message says why, and what to use instead."""


@dataclass
class Guess:
    """What a file of rows means, as far as its names and values tell.

    data: keys of `data`. is_named: whether a name tells users, items or times. items: the ids of the items.
    is_labelled: whether rows are impressions. comments: dotted key of `data` -> why it is so, with counts. missing:
    dotted key -> what could not be told. remarks: what else is worth knowing.
    """

    data: dict[str, Any]
    is_named: bool = False
    items: set[str] = field(default_factory=set)
    is_labelled: bool = False
    comments: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def columns(self) -> dict[str, Any]:
        columns: dict[str, Any] = self.data["columns"]
        return columns


def guess_columns(rows: FirstRows) -> Guess:
    """Guess the keys of `data` that say what the columns are for."""
    guess = Guess({"source": "table", "columns": {}})
    chosen = _choose_by_name(rows, guess)
    items = _choose_impressions(rows, guess, chosen)
    _choose_time(rows, guess, chosen)
    guess.is_named = not chosen.keys().isdisjoint(NEEDED)
    label, left = _choose_feedback(rows, guess, chosen)
    _refuse_without_users(rows, chosen, label)
    used = [each.column for each in (*left, *([label] if label else []))]
    _choose_by_value(rows, chosen, used, has_items=items is not None)
    if items is None:
        items = set(rows.values[chosen["item"]]) if "item" in chosen else set()
    guess.items = items
    sequences, counts, lists = find_histories(rows, items, chosen)
    if sequences:
        guess.data |= {"source": "rows", "sequences": sequences}
        guess.comments["sequences"] = counts
    has_no_time = guess.data["source"] == "table" and "timestamp" not in chosen
    is_side_table = has_no_time and _explain_no_time(rows, guess, chosen)
    labelled = "label" in guess.columns or "impression" in guess.columns.get("events", {})
    guess.is_labelled = labelled or "impressions" in guess.data
    if not labelled:
        chosen.pop("request", None)  # of impressions only
    for role, column in chosen.items():
        guess.columns[role] = column if column == FILE_ORDER else _name(rows, column)
        if role in ("user", "item", "category", "request"):
            guess.comments[f"columns.{role}"] = f"{count_distinct(rows.values[column]):,} different in {rows.rows:,}"
    _choose_list_fields(rows, guess, chosen, lists)
    needed = NEEDED if guess.data["source"] == "table" else ("user",) if "impressions" in guess.data else NEEDED[:2]
    guess.missing = {f"columns.{role}": "no column's name or values tell" for role in needed if role not in chosen}
    if not is_side_table:
        guess.remarks += _remark_on_feedback(left, rows, labelled=guess.is_labelled)
    odd = [name for name in rows.names if name != name.strip()]
    if odd:
        guess.remarks.append(f"names of columns begin or end in a blank: {', '.join(map(repr, odd))}")
    return guess


def _refuse_without_users(rows: FirstRows, chosen: Mapping[str, str], label: Feedback | None) -> None:
    """Refuse a table of features for click prediction without users, such as Criteo's and Avazu's.

    Raises:
        NoBehavioursError: if it is one.
    """
    if (
        label is not None
        and label.kind == "label"
        and len(rows.names) >= _MANY
        and not {"user", "item"} & chosen.keys()
    ):
        raise NoBehavioursError(
            f"no behaviour log: '{label.column}' holds {label.holds}, but none of its {len(rows.names)} columns names "
            "a user, so that there are no histories; DIN needs them. Use models of features alone (DeepFM or DCN, such "
            "as FuxiCTR's or TorchRec's), or give the log a column of users, items and times"
        )


def list_names(names: Sequence[str]) -> str:
    """The first names, shortened."""
    shown = [name if len(name) <= _NAME_SHOWN else name[:_NAME_SHOWN] + "..." for name in names[:_NAMES_SHOWN]]
    return make_printable(", ".join(shown)) + (f", ... ({len(names)} of them)" if len(names) > _NAMES_SHOWN else "")


def _name(rows: FirstRows, column: str) -> str | int:
    """As the config names a column: by its name, or by its position if the file has no header."""
    return column if rows.has_header else int(column)


def _filled(values: Sequence[str]) -> list[str]:
    return [value.strip() for value in values if not is_null(value.strip())]


def _choose_by_name(rows: FirstRows, guess: Guess) -> dict[str, str]:
    """Role -> column, if a column has one of its names and such values; times are chosen apart."""
    plain = {simplify_name(name): name for name in reversed(list(rows.values))}
    chosen: dict[str, str] = {}
    for role, known in COLUMN_NAMES.items():
        for column in (plain[each] for each in known.split() if each in plain and role != "timestamp"):
            filled = _filled(rows.values[column])
            if column in chosen.values():
                continue
            if role in ("user", "item") and 2 * len(filled) < rows.rows:
                guess.remarks.append(f"column '{column}' is not taken for the {role}: most rows have none")
                continue
            is_list = column in rows.nested or (role == "category" and find_list_separator(filled, "words"))
            is_label = column.lower() == "target" and set(filled) <= {"0", "1"}
            if not is_list and not is_label:
                chosen[role] = column
                break
    return chosen


def _choose_impressions(rows: FirstRows, guess: Guess, chosen: dict[str, str]) -> set[str] | None:
    """A column of a request's items and labels: the items; None if there is no such column."""
    for name, values in rows.values.items():
        if are_impressions(_filled(values)):
            shown = [each for value in _filled(values) for each in value.split()]
            clicks = sum(each.endswith("-1") for each in shown)
            guess.data |= {"source": "rows", "impressions": _name(rows, name)}
            guess.comments["impressions"] = f"{len(shown):,} items in {rows.rows:,} rows, {clicks:,} of them clicked"
            chosen.pop("item", None)
            return {each[:-2] for each in shown}
    return None


def _choose_time(rows: FirstRows, guess: Guess, chosen: dict[str, str]) -> None:
    """The column of times: one whose name says so, else the one with the most different times."""
    forms = {}
    for name, values in rows.values.items():
        filled = _filled(values)
        is_named = simplify_name(name) in COLUMN_NAMES["timestamp"].split()
        if name not in chosen.values() and filled and len(filled) >= (0.5 if is_named else 0.95) * rows.rows:
            forms[name] = find_time_form(filled)
    known = COLUMN_NAMES["timestamp"].split()
    named = sorted(
        (name for name in forms if simplify_name(name) in known), key=lambda name: known.index(simplify_name(name))
    )
    times = [name for name, form in forms.items() if form is not None]
    hinted = [name for name in times if re.search("time|date|_at$|_ts$|when|day", name.lower())]
    best = next((name for name in named if forms[name]), None)
    if best is None and (hinted or times):
        best = max(hinted or times, key=lambda name: len(set(rows.values[name])))
    if best is None:
        counters = (name for name in named if all(re.fullmatch("[0-9]+", each) for each in _filled(rows.values[name])))
        best = next(counters, None)
    for name in named:
        if name != best and forms[name] is None:
            odd = next((each for each in _filled(rows.values[name]) if find_time_form([each]) is None), "")
            guess.remarks.append(f"column '{name}' is not taken for the timestamp: it has '{odd[:40]}'")
    if best is None:
        return
    chosen["timestamp"] = best
    form = forms[best]
    guess.comments["columns.timestamp"] = "whole numbers, of which only the order matters" if form is None else form
    if form in TIME_FORMATS:
        guess.columns["time_format"] = form
        others = [name for name in times if name != best]
        guess.comments["columns.timestamp"] = f"other times: {list_names(others)}" if others else "by its values"


def _choose_feedback(
    rows: FirstRows, guess: Guess, chosen: dict[str, str]
) -> tuple[Feedback | None, Sequence[Feedback]]:
    """What says which rows are clicks, and the columns of this kind that are left."""
    feedback = find_feedback(rows, used=[*chosen.values()])
    if "impressions" in guess.data:
        return None, feedback
    label, opposite = choose_label(feedback)
    if label is None and not rows.has_header:
        labels = [each for each in feedback if each.kind == "label" and each.is_readable]
        label = labels[0] if len(labels) == 1 else None
    if label is None:
        label = next((each for each in feedback if each.click), None)
    if label is None:
        label = next((each for each in feedback if each.at_least is not None), None)
    left = [each for each in feedback if each is not label and each.column != opposite]
    constant = (
        name for name in rows.values if is_label_name(name) and {*_filled(rows.values[name])} in ({"1"}, {"1.0"})
    )
    guess.remarks += [f"column '{name}' is not taken for the label: it holds nothing but 1" for name in constant]
    if label is None:
        return None, left
    column = _name(rows, label.column)
    if label.click:
        guess.columns["events"] = {"column": column, **_choose_types(rows, guess, chosen, label)}
        guess.comments["columns.events"] = f"{label.holds}, {rows.describe_rows()}"
        return label, left
    guess.columns["label"] = column
    guess.comments["columns.label"] = f"{label.holds} {rows.describe_rows()}"
    if label.at_least is not None:
        guess.columns["label_at_least"] = int(label.at_least) if label.at_least.is_integer() else label.at_least
    if opposite is not None:
        guess.remarks.append(f"'{opposite}' is the opposite of '{label.column}', whose 1s are taken for the clicks")
    return label, left


def _choose_types(rows: FirstRows, guess: Guess, chosen: Mapping[str, str], events: Feedback) -> dict[str, list[str]]:
    """The types that are clicks and impressions; no impressions if clicks do not belong to them, or are too few."""
    keys = [rows.values[chosen[role]] for role in ("user", "item") if role in chosen]
    kinds = rows.values[events.column]
    clicks, impressions = (
        {tuple(key) for kind, *key in zip(kinds, *keys, strict=True) if kind in types}
        for types in (events.click, events.impression)
    )
    types = {"click": list(events.click), "impression": list(events.impression)}
    if not events.impression or len(keys) < 2:
        return {"click": types["click"]}
    if clicks.isdisjoint(impressions):
        guess.remarks.append(f"no {' or '.join(events.impression)} has a click of its user and item; left out")
        return {"click": types["click"]}
    if max(Counter(user for user, _ in clicks & impressions).values()) < _CLICKS_NEEDED:
        shown = ", ".join(f"{key}: [{', '.join(names)}]" for key, names in types.items())
        guess.remarks.append(f"no user has {_CLICKS_NEEDED} impressions with a click, so all are clicks; else: {shown}")
        return {"click": [*events.impression, *events.click]}
    return types


def _choose_by_value(rows: FirstRows, chosen: dict[str, str], used: Sequence[str], *, has_items: bool) -> None:
    """Users and items that no name tells: the first columns of short texts that are there more than once."""
    for role in ("user", "item"):
        if role in chosen or (role == "item" and has_items):
            continue
        candidates = [name for name in rows.values if _may_be_ids(rows, name) and name not in (*chosen.values(), *used)]
        repeated = [name for name in candidates if count_distinct(rows.values[name]) < rows.rows]
        if len(repeated) > (role == "user" and not has_items and "item" not in chosen):
            candidates = repeated
        if not candidates or (rows.has_header and not repeated):
            continue
        chosen[role] = candidates[0]
        others = [name for name in candidates[1:] if "item" not in chosen and not has_items]
        if (
            role == "user"
            and others
            and _are_items(rows.values[candidates[0]])
            and not _are_items(rows.values[others[0]])
        ):
            chosen["user"], chosen["item"] = others[0], candidates[0]
    if "item" in chosen and "category" not in chosen and not rows.has_header:
        items = rows.values[chosen["item"]]
        for name, values in rows.values.items():
            few = 2 <= count_distinct(values) <= count_distinct(items) / 2
            if few and name not in (*chosen.values(), *used) and _may_be_ids(rows, name) and depends_on(values, items):
                chosen["category"] = name
                return


def _may_be_ids(rows: FirstRows, name: str) -> bool:
    values = rows.values[name]
    filled = _filled(values)
    if name in rows.nested or count_distinct(values) < 2 or 50 * len(filled) < 49 * rows.rows:
        return False
    is_decimal = all(map(is_number, filled)) and any("." in value.removesuffix(".0") for value in filled)
    is_text = max(map(len, filled)) > _LONGEST_ID
    return not is_decimal and not is_text and find_time_form(filled) is None and find_list_separator(filled) is None


def _are_items(values: Sequence[str]) -> bool:
    """Whether ids look like those of items: Amazon's, or with a letter that says so."""
    return all(
        re.fullmatch(r"B0[0-9A-Z]{8}|[0-9]{9}[0-9X]|(?:item|i|p|prod)[-_]?[0-9]+", each) for each in values[:500]
    )


def _explain_no_time(rows: FirstRows, guess: Guess, chosen: dict[str, str]) -> bool:
    """Without times the lines are taken to be in order, unless the file is a table of items or of users: if it is."""
    for role in ("item", "user"):
        column = chosen.get(role)
        if column is not None and rows.rows > 1 and len(set(rows.values[column])) == rows.rows:
            others = [name for name in rows.names if name not in (column, chosen.get("category"))]
            guess.remarks.append(
                f"each value of '{column}' is there once, and no column holds times: if this is a table of {role}s and "
                f"not the log, inspect the log, and name this file in data.{role}s and what you want of it in "
                f"data.{role}_fields: {', '.join(others[:10])}"
            )
            return True
    if {"user", "item"} <= chosen.keys():
        chosen["timestamp"] = FILE_ORDER
        guess.comments["columns.timestamp"] = "no column holds times: the lines are taken to be in order"
    return False


def _choose_list_fields(rows: FirstRows, guess: Guess, chosen: Mapping[str, str], used: Sequence[str]) -> None:
    """Fields of an item with several values, such as genres."""
    item = chosen.get("item")
    for name, values in rows.values.items():
        if name in (*chosen.values(), *used) or not _LIST_FIELD.search(name.lower()) or item is None:
            continue
        separator = find_list_separator(values, "words")
        if separator is not None and depends_on(values, rows.values[item]):
            lists = guess.data.setdefault("list_fields", {})
            lists[name] = {} if separator == BRACKETS or name in rows.nested else {"separator": separator}
            guess.data.setdefault("item_fields", []).append(name)
            guess.comments["item_fields"] = "several values per item"


def _remark_on_feedback(left: Sequence[Feedback], rows: FirstRows, *, labelled: bool) -> Iterator[str]:
    """Name the columns that may tell clicks from other rows, and are not used."""
    labels = [each for each in left if each.kind == "label" and each.is_readable]
    if labelled:
        if labels:
            yield f"not used: 0 and 1 as well: {list_names([each.column for each in labels])}"
        yield from (f"not used: '{each.column}' holds {each.holds}" for each in left if each not in labels)
        return
    for each in left:
        if each not in labels or len(labels) == 1:
            key = "label" if each.kind == "label" else "label and label_at_least" if each.kind == "rating" else "events"
            yield (
                f"column '{each.column}' holds {each.holds}, {rows.describe_rows()}, and is not used: all rows are "
                f"taken as clicks; if it tells which are, name it in data.columns.{key}"
            )
    if len(labels) > 1:
        yield (
            f"{len(labels)} columns hold 0 and 1 and are not used: all rows are taken as clicks; if the 1s of one are "
            f"the clicks, name it in data.columns.label: {list_names([each.column for each in labels])}"
        )
