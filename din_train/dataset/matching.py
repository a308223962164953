"""What of a log matched and what did not, beside its lines: kept in the manifest and shown by `prepare`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ibis

from din_train.config import DataConfig
from din_train.dataset.database import Database, count_rows
from din_train.dataset.numbers import NumberStyle
from din_train.dataset.time_range import Moments
from din_train.errors import DataError
from din_train.logs import RawLog
from din_train.logs.rejects import count_allowed

# The keys of `data` that say in which form a field's values are.
_KEYS_OF_FORM = ("list_fields", "numeric_fields", "standardized_fields")


@dataclass(frozen=True)
class Join:
    """Of `size` ids of the log (`kind`: items or users), `found` are in the file."""

    kind: str
    file: str
    size: int
    found: int


@dataclass(frozen=True)
class FieldValues:
    """A field's values over `size` items, users or events (`kind`): how many are missing, and how many cannot be read.

    example: one that is no number, or no list. mean, standard_deviation: of the training rows, by which the numbers of
    a field in `data.standardized_fields` were scaled; None of other fields. style: of numbers; None of other fields.
    """

    kind: str
    size: int
    missing: int
    unread: int = 0
    example: str | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    style: NumberStyle | None = None


@dataclass
class Account:
    """moments: None of a log without times. remarks: sentences. repeated_rows: see `count_repeats`."""

    moments: Moments | None = None
    joins: list[Join] = field(default_factory=list)
    fields: dict[str, FieldValues] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    repeated_rows: int = 0

    def add_field(self, name: str, values: FieldValues, data: DataConfig) -> None:
        """Count a field's values.

        Raises:
            DataError: if a field that the config names has no value at all, or too many that cannot be read.
        """
        self.fields[name] = values
        given = values.size - values.missing
        if not given and values.size:
            key = _find_key(name, data)
            if key is not None and data.unmatched == "refuse":
                raise DataError(
                    f"{key}: {name}: none of {values.size:,} {values.kind} has a value; leave it out, check the column "
                    "and the file it is in, or set data.unmatched to allow"
                )
            self.remarks.append(f"{name}: none of {values.size:,} {values.kind} has a value, so all are unknown")
        if values.unread > count_allowed(data.max_unread_share, given):
            key = next(key for key in _KEYS_OF_FORM if name in (getattr(data, key) or ()))
            form = "lists" if key == "list_fields" else "numbers"
            raise DataError(
                f"data.{key}: {name}: {values.unread:,} of {given:,} values are no {form}, such as "
                f"{values.example!r}, more than data.max_unread_share = {data.max_unread_share:g} allows; write plain "
                f"{form}, take the field out of data.{key}, or raise data.max_unread_share"
            )


def _find_key(name: str, data: DataConfig) -> str | None:
    """The config key that names a field; None where it is the source's own category, which some logs lack."""
    if name == "category":
        return "data.columns.category" if data.columns is not None and data.columns.category is not None else None
    keys = ("item_fields", "user_fields", "context_fields", "behaviour_fields")
    return next(f"data.{key}" for key in keys if name in getattr(data, key))


# What a raw id may have that no id is meant to have -> a regular expression, of one meaning in both engines.
_ODD = {
    "in quotes": r"""^("[^\n]*"|'[^\n]*')\z""",
    "with a blank at an end": r"^[\t\n\f\r ]|[\t\n\f\r ]\z",
    "with a byte order mark": "\ufeff",
    "that end in '.0'": r"^[0-9]+\.0\z",
}


def count_joins(database: Database, data: DataConfig, log: RawLog) -> list[Join]:
    """Compare the log's ids (tables `coded_items`, `coded_users`) with those of the files of items and users.

    Raises:
        DataError: where a file has none of them and `data.unmatched` is not `allow`.
    """
    sides = (("item", data.items, log.items), ("user", data.users, log.users))
    return [
        _count(database, data, key, given.path, path)
        for key, given, path in sides
        if given is not None and path is not None
    ]


def _count(database: Database, data: DataConfig, key: str, given: Path, path: Path) -> Join:
    coded, side = database.table(f"coded_{key}s"), database.read_parquet(path, f"side_{key}s")
    join = Join(f"{key}s", given.name, count_rows(coded), count_rows(coded.semi_join(side, key)))
    if not join.found and data.unmatched == "refuse":
        in_log, in_file = (_first(table, key) for table in (coded.order_by(f"{key}_code"), side))
        raise DataError(
            f"data.{key}s: {given}: of {join.size:,} {key}s of the log, 0 are in it; the log has {in_log!r}, the file "
            f"{in_file!r}; ids are compared as text: write them alike, or set data.unmatched to allow"
        )
    return join


def count_odd_ids(users: ibis.Value, items: ibis.Value) -> list[str]:
    """A line for each kind of odd ids among the log's users and items (columns of text, each id once)."""
    lines = []
    for kind, ids in (("users", users), ("items", items)):
        table = ids.name("id").as_table()
        odd = {what: table.id.re_search(pattern) for what, pattern in _ODD.items()}
        counts = {f"count {what}": is_odd.sum() for what, is_odd in odd.items()}
        examples = {f"example {what}": table.id.min(where=is_odd) for what, is_odd in odd.items()}
        (found,) = table.agg(size=table.count(), **counts, **examples).to_pyarrow().to_pylist()
        lines += [
            f"{found[f'count {what}']:,} of {found['size']:,} {kind} have ids {what}, such as "
            f"{found[f'example {what}']!r}; they are kept exactly so"
            for what in odd
            if found[f"count {what}"]
        ]
    return lines


def _first(table: Any, key: str) -> str | None:
    rows = table.select(key).limit(1).to_pyarrow().to_pylist()
    return str(rows[0][key]) if rows else None
