"""What a raw log is, told by its first lines."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from din_train.config.data import Behaviour, Source
from din_train.errors import DataError
from din_train.inspect.unused_columns import LISTS, find_separator, is_typed, remark_on_columns, remark_on_side_table
from din_train.logs.amazon_reviews import KEYS, Release
from din_train.logs.delimited import FORMS, split_fields
from din_train.logs.feedback import Feedback, choose_label, find_feedback, simplify_name
from din_train.logs.first_rows import FirstRows, read_first_rows
from din_train.logs.lines import read_blocks, read_magic
from din_train.logs.records import parse_json_object, parse_literal_object, parse_timestamp
from din_train.logs.rejects import BadLine
from din_train.logs.time_unit import guess_unit
from din_train.logs.x1 import COLUMNS as X1_COLUMNS
from din_train.printable import make_printable

_HEAD_LINES = 100
_TEXT_SHOWN = 100
_COLUMNS_SHOWN = 50
_ODD_SHARE = (0.5, 0.1)  # of values that a column taken for a role may have, and of one taken for the label

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

_EXPECTED = (
    "expected Amazon reviews, MovieLens ratings, Taobao's UserBehavior.csv, x1 samples, or a table in UTF-8: a header "
    "that names a user, an item and a time column between commas or tabs, then one event a line; or Parquet"
)


@dataclass(frozen=True)
class Recognised:
    """What a file is.

    key: of `data`, that names the file; `items` and `users` are side tables, all others logs.
    columns: of a table, in order.
    roles: of a table, key of `data.columns` -> column, where the name tells.
    remarks: why a column was not taken, and what is not used.
    comments: of a table, role -> why its column was taken.
    """

    source: Source
    what: str
    key: str
    columns: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    comments: Mapping[str, str] = field(default_factory=dict)

    @property
    def can_be_read(self) -> bool:
        """Whether it is a log of which all that is needed is known."""
        roles_known = self.source != "table" or all(role in self.roles for role in NEEDED_ROLES)
        return self.key not in ("items", "users") and roles_known


_BEHAVIOURS = "|".join(get_args(Behaviour))
# Of the two files of x1.
TRAIN, TEST = (re.compile(rf"(?<![a-z]){name}(?![a-z])") for name in ("train", "test"))

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


def recognise(path: Path) -> Recognised:
    """What one file is, by its first lines.

    Raises:
        DataError: where it cannot be read, or is of no known format.
    """
    if read_magic(path).startswith(b"PAR1"):
        return _recognise_table("Parquet", read_first_rows(path))
    lines = read_head(path)
    if sum(line.startswith(b"{") for line in lines) * 2 > len(lines):
        return _recognise_json(path, lines)
    delimiter = "\t" if b"\t" in lines[0] else ","
    try:
        names, bad = split_fields(lines[0], delimiter), None
    except BadLine as error:
        names, bad = [], error.reason
    if lines[0].startswith(b"userId") and {"movieId", "rating", "timestamp"} <= set(names):
        return Recognised("movielens", "MovieLens ratings with a header", "events")
    if lines[0].startswith(b"movieId,") and {"title", "genres"} <= set(names):
        return Recognised("movielens", "MovieLens movies, not the ratings", "items")
    if set(X1_COLUMNS) <= set(names):
        key = "test" if TEST.search(path.name) else "train"
        return Recognised("x1", "ready-made samples in the x1 layout", key, remarks=_remark_on_histories(path))
    rows = list(_split_rows(lines[1:], delimiter, len(names)))
    samples = {name: [row[names.index(name)] for row in rows] for name in names if names.count(name) == 1}
    roles, _remarks = _guess_roles(samples)
    if not {"user", "item"} <= roles.keys():
        texts = [line.decode(errors="replace") for line in lines]
        for form, recognised in _LINE_FORMS:
            if sum(re.fullmatch(form, text) is not None for text in texts) * 2 > len(texts):
                return recognised
    other = next((each for each in (b";", b"|") if lines[0].count(each) >= len(NEEDED_ROLES) - 1 >= len(names)), None)
    if other is not None:
        shown = make_printable(lines[0][:_TEXT_SHOWN].decode(errors="replace"))
        raise DataError(
            f"{path}: its columns stand between '{other.decode()}' ({shown}), which is not read; write the file with "
            "commas or tabs"
        )
    if bad is not None:
        raise DataError(f"{path}: of no known format: its first line cannot be read ({bad}); {_EXPECTED}")
    if len(names) < len(NEEDED_ROLES) or (not roles and 2 * len(rows) < max(len(lines) - 1, 1)):
        shown = lines[0][:_TEXT_SHOWN].decode(errors="replace")
        raise DataError(f"{path}: of no known format: its first line is '{make_printable(shown)}'; {_EXPECTED}")
    if not roles.keys() & set(NEEDED_ROLES) and _is_row(names, samples):
        raise DataError(
            f"{path}: no header (its first line looks like the others: {list_names(names)}); put one first, such as "
            f"{_suggest_header(samples, delimiter)}"
        )
    return _recognise_table(FORMS[delimiter], read_first_rows(path))


def _is_row(names: Sequence[str], samples: Mapping[str, Sequence[str]]) -> bool:
    """Whether a first line is an event like those below it: where they have numbers or times, so has it."""
    typed = [name for name, values in samples.items() if values and all(is_typed(each) for each in values if each)]
    return any(is_typed(name) for name in typed) or all(re.fullmatch(r"[-+.\d]*", name) for name in names)


# Separators that `find_separator` names by other words than they are written.
_IN_YAML = {"blanks": "' '", "the character 1": '"\\x01"'}


def _remark_on_histories(path: Path) -> tuple[str, ...]:
    """Where the ids of ready-made histories are not between what is read unless the config says so."""
    rows = read_first_rows(path)
    found = {
        name: find_separator(rows.values[name]) for name in ("item_history", "cate_history") if name in rows.values
    }
    return tuple(
        f"{name} holds lists between {separator}, but each is one value as the config stands; add "
        f"data.history_separator: {_IN_YAML.get(separator, separator)}"
        for name, separator in found.items()
        if separator is not None and separator not in ("'^'", LISTS)
    )


def _suggest_header(samples: Mapping[str, Sequence[str]], delimiter: str) -> str:
    """Names for the columns of a log without a header, by their values; two that are left are users and items."""
    names = {}
    for place, values in enumerate(samples.values()):
        is_date = all(is_typed(each) and not re.fullmatch(r"[-+.\d]*", each) for each in values)
        is_rating = 2 < len(set(values)) < min(12, len(values) / 2 + 1) and all(
            re.fullmatch(r"\d(?:\.[05]0*)?|10", each) for each in values
        )
        if values and (is_date or _are_unix_times(values)):
            names[place] = "timestamp"
        elif is_rating:
            names[place] = "rating"
    left = [place for place in range(len(samples)) if place not in names]
    of_left = ("user_id", "item_id") if len(left) == 2 else [f"column_{place + 1}" for place in left]
    names |= dict(zip(left, of_left, strict=True))
    shown = ",".join(names[place] for place in sorted(names))
    return f"{shown} between tabs" if delimiter == "\t" else shown


def list_names(names: Sequence[str]) -> str:
    shown = [name if len(name) <= _TEXT_SHOWN else name[:_TEXT_SHOWN] + "..." for name in names[:_COLUMNS_SHOWN]]
    return make_printable(", ".join(shown)) + (f", ... ({len(names)} of them)" if len(names) > _COLUMNS_SHOWN else "")


def read_head(path: Path) -> list[bytes]:
    """The first lines that are not blank."""
    for _first, block in read_blocks(path, ignore_progress):
        lines = [line.removesuffix(b"\r") for line in block.split(b"\n") if line.strip()]
        if lines:
            return lines[:_HEAD_LINES]
    raise DataError(f"{path}: nothing in it but blank lines; fetch the file again")


def ignore_progress(_bytes: int) -> None:
    """No progress to show."""


def _split_rows(lines: Sequence[bytes], delimiter: str, width: int) -> Iterator[list[str]]:
    """The fields of good lines."""
    for line in lines:
        try:
            row = split_fields(line, delimiter)
        except BadLine:
            continue
        if len(row) == width:
            yield row


def _recognise_json(path: Path, lines: Sequence[bytes]) -> Recognised:
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
        release: Release = "amazon-2014" if "helpful" in keys else "amazon-2018"
        return Recognised(release, f"Amazon reviews, {release[-4:]} release", "reviews")
    if keys & {"parent_asin", "asin"}:
        release = "amazon-2023" if "parent_asin" in keys else "amazon-2018" if "category" in keys else "amazon-2014"
        return Recognised(release, f"Amazon metadata, {release[-4:]} release: the items, not the reviews", "items")
    has = f"objects with the keys {list_names(sorted(keys))}" if keys else "lines that begin with {, but are no objects"
    raise DataError(f"{path}: of no known format: {has}; {_EXPECTED}")


def _recognise_table(form: str, rows: FirstRows) -> Recognised:
    roles, remarks = _guess_roles(rows.values)
    if "timestamp" not in roles:
        by_value = [name for name in rows.values if name not in roles.values() and _are_unix_times(rows.values[name])]
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
    side_table = remark_on_side_table(rows, roles)
    if side_table is not None:
        remarks.append(side_table)
    else:
        left = [each for each in feedback if each.column not in (*roles.values(), opposite)]
        remarks += _remark_on_feedback(left, rows, labelled="label" in roles)
    remarks += remark_on_columns(rows, roles)
    return Recognised("table", f"a table, {form}", "events", rows.names, roles, tuple(remarks), comments)


def _remark_on_feedback(left: Sequence[Feedback], rows: FirstRows, *, labelled: bool) -> list[str]:
    """What may tell clicks from other rows, and is not used."""
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


def _guess_roles(samples: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """Role -> column, and why a column with a fitting name was not taken."""
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


def _are_unix_times(values: Sequence[str]) -> bool:
    return bool(values) and all(_may_be("timestamp", each) and guess_unit(parse_timestamp(each)) for each in values)
