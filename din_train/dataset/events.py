"""Relational work on a raw log, as Ibis expressions on DuckDB or Spark: codes, order, what is said of items and users.

A code is a provisional number for a raw id: by first appearance, or in a log of impressions by the raw id itself, since
there the order of the lines says nothing. The final ids come later, when it is known which events are kept and which
are training events. Every expression ends in a total order whose last key is `ordinal`, the event's place in the log,
so the result does not depend on the engine's threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis import Table, _

from din_train.config import FiltersConfig
from din_train.dataset.click_matching import ClickCounts, count_clicks, match_clicks
from din_train.dataset.database import Database, count_rows
from din_train.dataset.filters import filter_events
from din_train.logs import RawLog, field_column
from din_train.logs.row_files import parquet_source


@dataclass(frozen=True)
class OrderedLog:
    """A log's kept events in codes.

    path: Parquet, sorted by user, time and place in the log: user_code, item_code int32, timestamp int64 (the log's own
        unit), ordinal int64, float64 weight if the log has weights, and an int32 column `field_column(name)` of codes
        for each field of samples or behaviours (null if it has no value). Of a log of impressions also label int8,
        moment int64 (likewise) and request int64, which numbers a user's requests in order of moment; that is sorted by
        user, request and item. If its clicks are rows of their own also behaviour int8: 1 for a click, which is in
        histories and no sample, 0 for an impression.
    num_users, num_items: codes run from 0 to these, of users and items that may have lost all their events.
    context: field -> table of code and value.
    dropped: reason -> how many events, or users, were left out.
    clicks: of a log whose clicks are rows of their own.
    """

    path: Path
    num_users: int
    num_items: int
    context: Mapping[str, pa.Table]
    dropped: dict[str, int]
    clicks: ClickCounts | None = None


def order_log(
    database: Database,
    log: RawLog,
    filters: FiltersConfig,
    *,
    min_clicks: int,
    context_columns: Sequence[str],
    scratch: Path,
) -> OrderedLog:
    """Give codes to users and items (tables `coded_users`, `coded_items`), filter the events, and sort them.

    Args:
        min_clicks: the least clicks (events, where the log has no labels) the protocol needs of a user.
        context_columns: fields of samples or behaviours that are columns of the log.

    Raises:
        DataError: if no user has enough events.
    """
    raw = database.read_events(log, "raw_events")
    by = {key: key if log.labelled else "first" for key in ("user", "item", "value")}  # what codes go by
    first_seen = {key: raw.group_by(key).agg(first=_.ordinal.min()) for key in ("user", "item")}
    users, items = (
        database.create(f"coded_{key}s", database.number(first_seen[key], [by[key]], f"{key}_code", "int32"))
        for key in ("user", "item")
    )
    events = raw.inner_join(users.select("user", "user_code"), "user").inner_join(
        items.select("item", "item_code"), "item"
    )
    context = {}
    for place, name in enumerate(context_columns):
        column = field_column(name)
        values = raw.filter(raw[column].notnull()).group_by(value=raw[column]).agg(first=_.ordinal.min())
        codes = database.create(f"context_{place}", database.number(values, [by["value"]], "code", "int32"))
        context[name] = database.fetch(codes.order_by("code").select("code", "value"))
        events = events.left_join(codes.select("value", **{f"context_{place}": "code"}), events[column] == codes.value)
        events = events.drop("value")
    codes_of = {field_column(name): f"context_{place}" for place, name in enumerate(context)}
    label = [] if not log.labelled else ["label" if log.click_window is None else "click"]
    request, weight = ([name for name in (each,) if name in raw.columns] for each in ("request", "weight"))
    columns = ["user_code", "item_code", "timestamp", "ordinal", *label, *weight]
    kept = database.create("coded_events", events.select(*columns, *request, **codes_of))
    clicks = None
    if log.click_window is not None:
        kept = database.create("matched_events", match_clicks(kept, log.click_window * (log.ticks or 1)))
        columns = ["user_code", "item_code", "timestamp", "ordinal", "label", "behaviour", *weight]
        clicks = count_clicks(kept)
        clicks.check(log.reports[0].path)
    kept, dropped = filter_events(database, kept, filters, ticks=log.ticks, min_clicks=min_clicks)
    order = ["user_code", "timestamp", "ordinal"]
    if log.labelled:
        columns += ["moment", "request"]
        order = ["user_code", "request", "item_code", "timestamp", "label", *weight, *codes_of, "ordinal"]
    path = database.write_sorted(kept.select(*columns, *codes_of), order, scratch / "ordered.parquet")
    return OrderedLog(path, count_rows(users), count_rows(items), context, dropped, clicks)


def describe_items(database: Database, log: RawLog, item_ids: pa.Table, fields: Sequence[str]) -> tuple[pa.Table, int]:
    """Known items with what is said of them, by id: item_id, item, category, title, and the fields' columns.

    Args:
        item_ids: item_code, item_id of the items in the vocabulary.

    Returns:
        The table, and how many items the log's events give several categories.
    """
    ids = database.load("item_ids", item_ids)
    table = ids.inner_join(database.table("coded_items").select("item", "item_code"), "item_code")
    wanted = ["category", "title", *map(field_column, fields)]
    table, several = _describe(database, table, log, "item", wanted)
    return database.fetch(table.order_by("item_id").select("item_id", "item", *wanted)), several


def describe_users(database: Database, log: RawLog, user_ids: pa.Table, fields: Sequence[str]) -> pa.Table:
    """Users with their fields, by id: user_id, user, and the fields' columns."""
    ids = database.load("user_ids", user_ids)
    table = ids.inner_join(database.table("coded_users").select("user", "user_code"), "user_code")
    wanted = list(map(field_column, fields))
    table, _several = _describe(database, table, log, "user", wanted)
    return database.fetch(table.order_by("user_id").select("user_id", "user", *wanted))


def _describe(database: Database, table: Table, log: RawLog, key: str, wanted: Sequence[str]) -> tuple[Table, int]:
    """`table` with the wanted columns: from the log's table of items or users, else the first value the events have.

    First in the file, or in a log of impressions in time; of one time the least.
    """
    path = log.items if key == "item" else log.users
    side = None if path is None else database.read_parquet(path, f"raw_{key}s")
    events = database.table("raw_events")
    in_side = [name for name in wanted if side is not None and name in side.columns]
    in_events = [name for name in wanted if name not in in_side and name in events.columns]
    several = 0
    if side is not None and in_side:
        table = table.left_join(side.select(key, *in_side), key).drop(f"{key}_right")
    for place, name in enumerate(in_events):
        # In two steps, since an aggregate over all events that holds strings grows beyond the memory limit.
        present = events.filter(events[name].notnull())
        since = present.timestamp if log.labelled else present.ordinal
        pairs = database.create(f"{key}_values_{place}", present.group_by(key, name).agg(first=since.min()))
        ranked = pairs.mutate(
            rank=ibis.row_number().over(group_by=key, order_by=["first", name]), count=pairs.count().over(group_by=key)
        )
        found = database.create(f"described_{key}s_{place}", ranked.filter(ranked["rank"] == 0))
        table = table.left_join(found.select(key, name), key).drop(f"{key}_right")
        if name == "category":
            several = count_rows(found.semi_join(table, key).filter(found["count"] > 1))
    nulls = {name: ibis.null("string") for name in wanted if name not in (*in_side, *in_events)}
    return table.mutate(**nulls) if nulls else table, several


def read_user_blocks(path: Path, rows: int, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The ordered events as NumPy columns, whole users at a time, about `rows` a block."""
    waiting: pa.Table | None = None
    with pq.ParquetFile(parquet_source(path)) as file:
        for batch in file.iter_batches(rows, columns=columns):
            table = pa.Table.from_batches([batch])
            waiting = table if waiting is None else pa.concat_tables([waiting, table])
            users = waiting["user_code"].to_numpy()
            last = int(np.searchsorted(users, users[-1]))  # where the last user, who may go on, begins
            if last:
                yield _to_numpy(waiting.slice(0, last))
                waiting = waiting.slice(last)
    if waiting is not None and waiting.num_rows:
        yield _to_numpy(waiting)


def _to_numpy(table: pa.Table) -> dict[str, Any]:
    """Columns as arrays; -1 where a context field has no value."""
    return {
        name: (column.fill_null(-1) if column.null_count else column).to_numpy()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
