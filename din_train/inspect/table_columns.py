"""The columns of a file of rows: what each is for, by its name and its values, as keys of `data`."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from din_train.config.column_roles import FILE_ORDER
from din_train.inspect.click_columns import choose_clicks, remark_on_clicks
from din_train.inspect.column_values import (
    BRACKETS,
    TIME_FORMATS,
    are_impressions,
    count_distinct,
    depends_on,
    find_list_separator,
    find_shape,
    find_time_form,
    is_number,
)
from din_train.inspect.guess import Guess, list_names, name_column, take_filled
from din_train.inspect.row_histories import find_histories
from din_train.logs.feedback import Feedback, simplify_name
from din_train.logs.first_rows import FirstRows

# Role -> names that a column of it has, in lower case without what is no letter or digit; the first one is taken.
COLUMN_NAMES = {
    "user": "userid user uid reviewerid visitorid customerid custid customer memberid member buyerid accountid account "
    "personid profileid viewerid listenerid cookieid deviceuserid userpseudoid fullvisitorid msno sessionid session",
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

_MEASURE = re.compile(r"time|duration|dwell|price|amount|count|quantity|qty|score|rank|position|(?:^|_)(?:age|lat|lon)")
_LIST_FIELD = re.compile(r"genre|categor|tag|topic|keyword|class|feat|token")
_ROW_NUMBERS = ("", "index", "unnamed0", "indexlevel0", "id", "rowid", "rownames", "rownumber", "row", "x", "no")
_MANY = 10  # columns, or values of a scale
_MOST_FILES = 8  # of which the first rows are looked at together
_LONGEST_ID = 64
_LEAST_USUAL = 0.02
_TIME_NAME = re.compile("time|date|_at$|_ts$|when|day")
# What is no time -> what to do.
_ODD_TIMES = (
    (r"[0-9]{1,2}:[0-9]{2}.*", ", a time of day: join it with the day in one column, or a day's events have no order"),
    (r"[1-6][0-9]{4}(?:\.[0-9]+)?", ", days since 1900, as a spreadsheet has them, it seems: write them as dates"),
)


class NoBehavioursError(Exception):
    """A file is no log of behaviours; the message says why, and what to use instead."""


def guess_columns(rows: FirstRows) -> Guess:
    """Guess the keys of `data` that say what the columns are for."""
    guess = Guess({"source": "table", "columns": {}})
    numbers = find_row_numbers(rows)
    if numbers:
        guess.remarks.append(f"not used, since it numbers the rows: {', '.join(map(repr, numbers))}")
        rows = replace(rows, values={name: values for name, values in rows.values.items() if name not in numbers})
    chosen = _choose_byname_column(rows, guess)
    items = _choose_impressions(rows, guess, chosen)
    _choose_time(rows, guess, chosen)
    guess.is_named = not chosen.keys().isdisjoint(NEEDED)
    label, left = choose_clicks(rows, guess, chosen)
    _refuse_without_users(rows, chosen, label)
    used = [each.column for each in (*left, *([label] if label else []))]
    _choose_by_value(rows, chosen, used, has_items=items is not None)
    if items is None:
        items = set(rows.values[chosen["item"]]) if "item" in chosen else set()
    guess.items = items
    sequences, counts, lists, of_lists = find_histories(rows, items, chosen)
    guess.remarks += of_lists
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
        guess.columns[role] = column if column == FILE_ORDER else name_column(rows, column)
        if role in ("user", "item", "category", "request"):
            guess.comments[f"columns.{role}"] = f"{count_distinct(rows.values[column]):,} different in {rows.rows:,}"
    _choose_list_fields(rows, guess, chosen, lists)
    needed = NEEDED if guess.data["source"] == "table" else ("user",) if "impressions" in guess.data else NEEDED[:2]
    guess.missing = {f"columns.{role}": "no column's name or values tell" for role in needed if role not in chosen}
    if not is_side_table:
        guess.remarks += remark_on_clicks(left, rows, labelled=guess.is_labelled)
    odd = [name for name in rows.names if name != name.strip()]
    if odd:
        guess.remarks.append(f"names of columns begin or end in a blank: {', '.join(map(repr, odd))}")
    return guess


def find_row_numbers(rows: FirstRows) -> list[str]:
    """Columns that programs add to number the rows: pandas' index, R's row names."""
    named = (name for name in rows.values if simplify_name(name) in _ROW_NUMBERS and rows.has_header)
    return [name for name in named if name.startswith("__index_level_") or _count_up(rows.values[name])]


def _count_up(values: Sequence[str]) -> bool:
    """Whether values are 0, 1, 2, ... or 1, 2, ..., in each of some files anew."""
    if not values or values[0] not in ("0", "1"):
        return False
    first = [place for place, value in enumerate(values) if value == values[0]]
    sizes = [end - start for start, end in pairwise([*first, len(values)])]
    counted = [str(int(values[0]) + step) for size in sizes for step in range(size)]
    is_scale = len(first) > 1 and min(sizes[:-1]) <= _MANY  # ratings, whose values happen to stand in order
    return len(first) <= _MOST_FILES and not is_scale and list(values) == counted


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


def _choose_byname_column(rows: FirstRows, guess: Guess) -> dict[str, str]:
    """Role -> column, if a column has one of its names and such values; times are chosen apart."""
    names = list(reversed(list(rows.values)))
    plain = {simplify_name(name.rpartition(".")[2]): name for name in names} | {simplify_name(n): n for n in names}
    chosen: dict[str, str] = {}
    for role, known in COLUMN_NAMES.items():
        for column in (plain[each] for each in known.split() if each in plain and role != "timestamp"):
            filled = take_filled(rows.values[column])
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
        if are_impressions(take_filled(values)):
            shown = [each for value in take_filled(values) for each in value.split()]
            clicks = sum(each.endswith("-1") for each in shown)
            guess.data |= {"source": "rows", "impressions": name_column(rows, name)}
            guess.comments["impressions"] = f"{len(shown):,} items in {rows.rows:,} rows, {clicks:,} of them clicked"
            chosen.pop("item", None)
            return {each[:-2] for each in shown}
    return None


def _choose_time(rows: FirstRows, guess: Guess, chosen: dict[str, str]) -> None:
    """The column of times: one whose name says so, else the one with the most different times."""
    forms = {}
    for name, values in rows.values.items():
        filled = take_filled(values)
        is_named = simplify_name(name) in COLUMN_NAMES["timestamp"].split()
        if name not in chosen.values() and filled and len(filled) >= (0.5 if is_named else 0.95) * rows.rows:
            forms[name] = find_time_form(_drop_odd_ones(filled) if is_named else filled)
    known = COLUMN_NAMES["timestamp"].split()
    named = sorted(
        (name for name in forms if simplify_name(name) in known), key=lambda name: known.index(simplify_name(name))
    )
    times = [name for name, form in forms.items() if form is not None]
    hinted = [name for name in times if _TIME_NAME.search(name.lower())]
    best = next((name for name in named if forms[name]), None)
    if best is None and (hinted or times):
        best = max(hinted or times, key=lambda name: len(set(rows.values[name])))
    if best is None:
        counters = (
            name for name in named if all(re.fullmatch("[0-9]+", each) for each in take_filled(rows.values[name]))
        )
        best = next(counters, None)
    if best is None:
        named = [name for name in forms if name in named or _TIME_NAME.search(name.lower())]
    for name in named:
        if name != best and forms[name] is None:
            odd = next((each for each in take_filled(rows.values[name]) if find_time_form([each]) is None), "")
            what = f"column '{name}' is not taken for the timestamp: it has '{odd[:40]}'"
            guess.remarks.append(what + next((hint for form, hint in _ODD_TIMES if re.fullmatch(form, odd)), ""))
    if best is None:
        return
    chosen["timestamp"] = best
    form = forms[best]
    guess.comments["columns.timestamp"] = "whole numbers, of which only the order matters" if form is None else form
    if form in TIME_FORMATS:
        guess.columns["time_format"] = form
        others = [name for name in times if name != best]
        guess.comments["columns.timestamp"] = f"other times: {list_names(others)}" if others else "by its values"


def _drop_odd_ones(values: Sequence[str]) -> list[str]:
    """The values without those that are written like hardly any other one, if they are few: units, a total."""
    shapes = list(map(find_shape, values))
    counts = Counter(shapes)
    usual = [value for value, shape in zip(values, shapes, strict=True) if counts[shape] >= _LEAST_USUAL * len(values)]
    return usual if len(usual) >= (1 - _LEAST_USUAL) * len(values) else list(values)


def _choose_by_value(rows: FirstRows, chosen: dict[str, str], used: Sequence[str], *, has_items: bool) -> None:
    """Users and items that no name tells: the first columns of short texts that are there more than once."""
    for role in ("user", "item"):
        if role in chosen or (role == "item" and has_items):
            continue
        of_others = {name for other, known in COLUMN_NAMES.items() if other != role for name in known.split()}
        free = [name for name in rows.values if name not in (*chosen.values(), *used)]
        candidates = [name for name in free if simplify_name(name) not in of_others and _may_be_ids(rows, name)]
        candidates.sort(key=lambda name: _MEASURE.search(name.lower()) is not None)
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
    filled = take_filled(values)
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
