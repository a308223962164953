"""How many of a log's users and items are in the tables beside it, and ids that look as if they were mended by hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis

from din_train.config import DataConfig
from din_train.errors import DataError
from din_train.logs import RawLog
from din_train.samples.database import count_rows

# What a raw id may have that no id is meant to have -> a regular expression.
_ODD = {
    "in quotes": r"""^(".*"|'.*')$""",
    "with a blank at an end": r"^\s|\s$",
    "with a byte order mark": "\ufeff",
    "that end in '.0'": r"^[0-9]+\.0$",
}


@dataclass(frozen=True)
class Join:
    """Of `size` ids of the log (`kind`: items or users), `found` are in the file."""

    kind: str
    file: str
    size: int
    found: int


def count_joins(connection: ibis.BaseBackend, data: DataConfig, log: RawLog) -> list[Join]:
    """Compare the log's ids (tables `coded_items`, `coded_users`) with those of the files of items and users.

    Raises:
        DataError: where a file has none of them and `data.unmatched` is not `allow`.
    """
    sides = (("item", data.items, log.items), ("user", data.users, log.users))
    return [
        _count(connection, data, key, given, path)
        for key, given, path in sides
        if given is not None and path is not None
    ]


def _count(connection: ibis.BaseBackend, data: DataConfig, key: str, given: Path, path: Path) -> Join:
    coded, side = connection.table(f"coded_{key}s"), connection.read_parquet(path, table_name=f"side_{key}s")
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
