"""What a raw log is, told by its first lines."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from din_train.config.data import Behaviour, Source
from din_train.errors import DataError
from din_train.logs.amazon_reviews import KEYS, Release
from din_train.logs.delimited import FORMS, split_fields
from din_train.logs.lines import read_blocks, read_magic
from din_train.logs.records import parse_json_object, parse_literal_object, parse_timestamp
from din_train.logs.rejects import BadLine
from din_train.logs.x1 import COLUMNS as X1_COLUMNS

_HEAD_LINES = 100
_TEXT_SHOWN = 100
_COLUMNS_SHOWN = 50

NEEDED_ROLES = ("user", "item", "timestamp")
# Role -> names a column of it has, in lower case without what is no letter or digit; the first there is taken.
COLUMN_NAMES = {
    "user": "userid user uid reviewerid visitorid customerid customer memberid member buyerid accountid account "
    "sessionid session",
    "item": "itemid item iid parentasin asin productid product movieid movie skuid sku goodsid goods articleid article "
    "videoid newsid songid trackid bookid isbn adgroupid adid",
    "timestamp": "timestamp unixreviewtime unixtime eventtimestamp timestampms eventtime time timems ts datetime date "
    "createdat reviewtime",
    "category": "category categoryid cate cateid cat catid itemcategory itemcategoryid categorycode",
    "label": "label click clicked isclick isclicked",
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
    remarks: why a column was not taken.
    """

    source: Source
    what: str
    key: str
    columns: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

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
        return _recognise_table(path, "Parquet", *_sample_parquet(path))
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
        return Recognised("x1", "ready-made samples in the x1 layout", "test" if TEST.search(path.name) else "train")
    rows = list(_split_rows(lines[1:], delimiter, len(names)))
    samples = {name: [row[names.index(name)] for row in rows] for name in names if names.count(name) == 1}
    roles, _remarks = _guess_roles(samples)
    if not {"user", "item"} <= roles.keys():
        texts = [line.decode(errors="replace") for line in lines]
        for form, recognised in _LINE_FORMS:
            if sum(re.fullmatch(form, text) is not None for text in texts) * 2 > len(texts):
                return recognised
    if bad is not None:
        raise DataError(f"{path}: of no known format: its first line cannot be read ({bad}); {_EXPECTED}")
    if len(names) < len(NEEDED_ROLES) or (not roles and 2 * len(rows) < max(len(lines) - 1, 1)):
        shown = lines[0][:_TEXT_SHOWN].decode(errors="replace")
        raise DataError(f"{path}: of no known format: its first line is '{make_printable(shown)}'; {_EXPECTED}")
    return _recognise_table(path, FORMS[delimiter], names, samples)


def make_printable(text: str) -> str:
    """The text on one line, in characters that end no comment and change no terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


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


def _sample_parquet(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Names of the columns, and some values of those that may have a role as texts."""
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            flat = [each.name for each in schema if not pa.types.is_nested(each.type)]
            flat = [name for name in flat if schema.names.count(name) == 1]
            batch: Any = next(file.iter_batches(_HEAD_LINES, columns=flat), pa.table({name: [] for name in flat}))
    except (pa.ArrowException, OSError) as error:
        what = (str(error).splitlines() or ["no reason given"])[0]
        raise DataError(f"{path}: cannot be read as Parquet ({what}); fetch or write the file again") from None
    samples = {}
    for name in flat:
        column = batch.column(name)
        if pa.types.is_timestamp(column.type) or pa.types.is_boolean(column.type):
            column = column.cast(pa.int64())  # as the reader takes them
        try:
            samples[name] = ["" if value is None else str(value) for value in column.to_pylist()]
        except (ValueError, OverflowError):  # not UTF-8, or a date beyond Python's
            samples[name] = []
    return list(schema.names), samples


def _recognise_table(path: Path, form: str, names: Sequence[str], samples: Mapping[str, Sequence[str]]) -> Recognised:
    roles, remarks = _guess_roles(samples)
    if not roles and all(re.fullmatch(r"[-+.\d]*", name) for name in names):
        raise DataError(
            f"{path}: its first line holds numbers ({list_names(names)}) and no column names; "
            "put a header line first, such as user_id,item_id,timestamp"
        )
    return Recognised("table", f"a table, {form}", "events", tuple(names), roles, tuple(remarks))


def _guess_roles(samples: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """Role -> column, and why a column with a fitting name was not taken."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(list(samples))}
    roles: dict[str, str] = {}
    remarks = []
    for role, known in COLUMN_NAMES.items():
        for name in (plain[each] for each in known.split() if each in plain):
            values = [value for value in samples[name] if value]
            odd = [value for value in values if not _may_be(role, value)]
            if 2 * len(odd) <= len(values):
                roles[role] = name
                break
            expected = "whole numbers" if role == "timestamp" else "0 and 1"
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
