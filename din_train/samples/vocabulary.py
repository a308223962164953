"""Raw ids -> dense ids, and the one time-ordered event list a user, as Ibis expressions on embedded DuckDB.

Every expression ends in a total order whose last key is `ordinal`, the event's place in the log, so the
result does not depend on the engine's threads, and ties in time keep the log's own order.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
from ibis import Table, _

from din_train.errors import DataError, RunError
from din_train.logs.log import RawLog

PAD_ID = 0
UNKNOWN_ID = 1
FIRST_REAL_ID = 2


@dataclass(frozen=True)
class LogTables:
    """A log in dense ids; ids count up from `FIRST_REAL_ID` in row order.

    events: user_id int32, item_id int32, timestamp int64; sorted by user, time, ordinal.
    users: user_id, user (raw id); in order of first appearance.
    items: item_id, item (raw id), category_id, title; most frequent first, then first appearance.
    categories: category_id, category; most frequent first.
    dropped_users, dropped_events: left out because the user has too few events.
    items_with_several_categories: the first category in the log's order was kept.
    """

    events: pa.Table
    users: pa.Table
    items: pa.Table
    categories: pa.Table
    dropped_users: int
    dropped_events: int
    items_with_several_categories: int


def build_log_tables(log: RawLog, *, min_events: int, memory_limit: str, scratch: Path) -> LogTables:
    """Number users, items and categories, drop users of fewer than `min_events` events, and sort the rest.

    Args:
        log: what a reader wrote.
        min_events: the least events the protocol needs of a user.
        memory_limit: DuckDB's, such as `2GB`; beyond it, it spills into `scratch`.
        scratch: an existing folder for temporary files.

    Raises:
        DataError: if no user has enough events.
        RunError: if memory or disk run out.
    """
    connection = ibis.duckdb.connect(
        scratch / "relations.duckdb", memory_limit=memory_limit, temp_directory=str(scratch / "spill")
    )
    try:
        return _build(connection, log, min_events)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"preparing in {scratch.parent}: {reason}; raise data.memory_limit or free disk space") from None
    finally:
        connection.disconnect()


def _build(connection: ibis.BaseBackend, log: RawLog, min_events: int) -> LogTables:
    events = connection.read_parquet(log.events, table_name="raw_events")
    per_user = connection.create_table("per_user", events.group_by("user").agg(events=_.count(), first=_.ordinal.min()))
    kept_users = per_user.filter(_.events >= min_events)
    users = connection.create_table("users", kept_users.mutate(user_id=_dense_ids(["first"])))
    all_users, all_events = _count_rows(per_user), _count_rows(events)
    num_users = _count_rows(users)
    if num_users == 0:
        raise DataError(
            f"no user has the {min_events} events the protocol needs (the log has {all_events:,} events of "
            f"{all_users:,} users); check data.columns, or use a longer log"
        )

    kept = events.inner_join(users.select("user", "user_id"), "user")
    per_item = kept.group_by("item").agg(events=_.count(), first=_.ordinal.min())
    numbered = per_item.mutate(item_id=_dense_ids([ibis.desc("events"), "first"]))
    described = connection.create_table("described", numbered.left_join(_describe_items(connection, log), "item"))
    per_category = described.filter(_.category.notnull()).group_by("category")
    categories = connection.create_table(
        "categories",
        per_category.agg(events=_.events.sum(), first=_.item_id.min()).mutate(
            category_id=_dense_ids([ibis.desc("events"), "first"])
        ),
    )
    items = described.left_join(categories.select("category", "category_id"), "category").select(
        "item_id", "item", category_id=_.category_id.fill_null(UNKNOWN_ID).cast("int32"), title="title"
    )
    kept_events = (
        kept.inner_join(described.select("item", "item_id"), "item")
        .order_by("user_id", "timestamp", "ordinal")
        .select("user_id", "item_id", "timestamp")
    )
    event_rows = kept_events.to_pyarrow()
    return LogTables(
        events=event_rows,
        users=users.order_by("user_id").select("user_id", "user").to_pyarrow(),
        items=items.order_by("item_id").to_pyarrow(),
        categories=categories.order_by("category_id").select("category_id", "category").to_pyarrow(),
        dropped_users=all_users - num_users,
        dropped_events=all_events - event_rows.num_rows,
        items_with_several_categories=_count_items_with_several_categories(kept),
    )


def _dense_ids(order: list[str | ibis.Value]) -> ibis.Value:
    """2, 3, 4, ... in the given order."""
    return (ibis.row_number().over(order_by=order) + FIRST_REAL_ID).cast("int32")


def _describe_items(connection: ibis.BaseBackend, log: RawLog) -> Table:
    """item, category, title: from the metadata, or from the events themselves."""
    if log.items is not None:
        return connection.read_parquet(log.items, table_name="raw_items").select("item", "category", "title")
    events = connection.table("raw_events").filter(_.category.notnull())
    first_category = events.group_by("item").agg(category=_.category.argmin(_.ordinal))
    return first_category.mutate(title=ibis.null("string"))


def _count_items_with_several_categories(kept: Table) -> int:
    if "category" not in kept.columns:
        return 0
    categories = kept.group_by("item").agg(categories=_.category.nunique())
    return _count_rows(categories.filter(_.categories > 1))


def _count_rows(table: Table) -> int:
    return int(table.count().to_pyarrow().as_py())
