"""Protocol `presampled`: the ready-made samples of source `x1`, every row kept.

    file     row                                                       split
    train    a user's positive with the longest history (the first     validation
             of several), and the negatives with that very history
    train    every other row                                           train
    test     every row                                                 test

So a user of one training positive is in validation only, of two in train and validation, and so on; a user of none is
in train as it is. Test rows stay in their order.

A row's history is a slice of an event list, as everywhere in the store: a user's longest history is stored once, and a
history that is its beginning is a slice of it. A history that is not (of a log cut to the newest so many) is stored
besides.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis import Table, _

from din_train.config import Config
from din_train.dataset.database import connect, count_rows, load_table
from din_train.dataset.fields import Rows, number_fields
from din_train.dataset.log_checks import check_sample_labels
from din_train.dataset.matching import Account, count_odd_ids
from din_train.dataset.negatives import UnknownItems
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.samples import BLOCK_ROWS, Block
from din_train.dataset.store import StoreParts
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID, build_vocabulary, number_codes
from din_train.logs import Progress, read_x1

_SAMPLE_COLUMNS = ("user_id", "target_item_id", "history_start", "history_length", "label", "event")


def build_presampled(config: Config, scratch: Path, progress: Progress) -> StoreParts:
    """Read the samples and find their histories' places.

    Raises:
        DataError: see `read_x1`.
    """
    data = config.data
    if data.train is None or data.test is None:
        raise ValueError("DataConfig lets no x1 log be without train and test")
    raw = read_x1(data, data.train, data.test, scratch, progress)
    with connect(data, scratch) as connection:
        rows = connection.read_parquet(raw.rows, table_name="rows")
        check_sample_labels(rows, {"train": data.train, "test": data.test})
        events = _find_events(connection)
        samples = _find_samples(connection)
        items, several, unknown_items = _number_items(connection, config.vocabulary.min_count)
        events_path, samples_path = scratch / "events.parquet", scratch / "samples.parquet"
        item_ids = items.select("item", "item_id")
        events.left_join(item_ids, "item").order_by("user_id", "segment", "position").select(
            "user_id", item_id=_.item_id.fill_null(UNKNOWN_ID)
        ).to_parquet(events_path)
        samples.left_join(item_ids, "item").order_by("split", "ordinal").select(
            "split",
            "user_id",
            "history_start",
            "history_length",
            "label",
            event="ordinal",
            target_item_id=_.item_id.fill_null(UNKNOWN_ID),
        ).to_parquet(samples_path)
        item_table = items.order_by("item_id").select("item_id", "item", "category", "title", "total", "training")
        known = item_table.to_pyarrow()
        account = Account(remarks=count_odd_ids(connection.table("users").user_id_raw, items.item))
        account.remarks += _count_shared_rows(rows)
        users = connection.table("users").order_by("user_id").select("user_id", user="user_id_raw").to_pyarrow()
    training_events = known["training"]
    rows_of_items = Rows("items", known["total"].to_numpy(), training_events.to_numpy())
    table, of_items = number_fields(known.drop(["total", "training"]), ("category",), rows_of_items, config, account)
    return StoreParts(
        event_columns=("user_id", "item_id"),
        sample_columns=_SAMPLE_COLUMNS,
        blocks=_read_blocks(events_path, samples_path),
        tables={
            "items": table.append_column("training_events", training_events),
            "users": users,
            "vocabularies": build_vocabulary(of_items),
        },
        rejected=raw.rejected,
        reports=raw.reports,
        fields={"item": ("category",), "user": (), "context": ()},
        negatives="in the log",
        unknown_items=unknown_items,
        items_with_several_categories=several,
        count_short_histories=lambda: 0,
        count_dropped=lambda: {"items_of_too_few_training_events": unknown_items.items},
        describe_histories=lambda: {"given": True},
        account=account,
    )


def _count_shared_rows(rows: Table) -> list[str]:
    """A line where test rows are training rows too."""
    of_test = rows.filter(rows.split == "test")
    shared = of_test.semi_join(rows.filter(rows.split == "train"), ["user_id", "item_id", "item_history"])
    count = count_rows(shared)
    return [f"{count:,} of {count_rows(of_test):,} test rows are in the training file too"] if count else []


def measure_history(history: ibis.Value) -> ibis.Value:
    """How many ids a history of `^`-joined ids has; an empty one has none."""
    return ibis.ifelse(history == "", 0, history.length() - history.replace("^", "").length() + 1)


def _rank(rows: Table) -> ibis.Value:
    """Highest for the longest history, of several for the first."""
    return rows.history_length * 2**40 - rows.ordinal


def _find_events(connection: ibis.BaseBackend) -> Table:
    """user_id, segment, position, item, category: the histories, each stored as often as it must be.

    Also makes the tables `users` (user_id by first appearance), `placed_rows` (with their segments) and `segments`.
    """
    rows = connection.table("rows")
    first_seen = rows.group_by(user_id_raw=rows.user_id).agg(first=_.ordinal.min())
    users = connection.create_table(
        "users", first_seen.mutate(user_id=(ibis.row_number().over(order_by="first") + FIRST_REAL_ID).cast("int32"))
    )
    placed = rows.rename(user_id_raw="user_id").inner_join(users.select("user_id_raw", "user_id"), "user_id_raw")
    placed = connection.create_table(
        "numbered", placed.mutate(history_length=measure_history(placed.item_history).cast("int32"))
    )
    longest = placed.group_by("user_id").agg(longest=placed.item_history.argmax(_rank(placed)))
    placed = placed.inner_join(longest, "user_id")
    is_beginning = (_.longest + "^").startswith(_.item_history + "^") | (_.item_history == "")
    placed = placed.mutate(apart=~is_beginning)
    placed = placed.mutate(segment_history=ibis.ifelse(placed.apart, placed.item_history, placed.longest))
    placed = connection.create_table("placed_rows", placed)
    histories = placed.group_by("user_id", "apart", "segment_history").agg(
        first=_.ordinal.min(),
        # the categories of the row that has the whole history
        cate_history=placed.cate_history.argmax(_rank(placed)),
    )
    histories = histories.filter(_.segment_history != "")
    segment = ibis.row_number().over(group_by="user_id", order_by=["apart", "first"])
    segments = connection.create_table("segments", histories.mutate(segment=segment))
    items = segments.mutate(item=segments.segment_history.split("^"), category=segments.cate_history.split("^")).select(
        "user_id", "segment", "apart", "segment_history", "item", "category"
    )
    pairs = items.mutate(pair=items.item.zip(items.category)).drop("item", "category")
    exploded = pairs.unnest("pair", offset="position")
    return connection.create_table(
        "history_events",
        exploded.select("user_id", "segment", "position", item=exploded.pair.f1, category=exploded.pair.f2.nullif("")),
    )


def _find_samples(connection: ibis.BaseBackend) -> Table:
    """split, ordinal, user_id, item, label, history_start (row in the sorted events), history_length."""
    events = connection.table("history_events")
    starts = events.group_by(["user_id", "segment"]).agg(length=_.count())
    before = starts.length.sum().over(ibis.window(order_by=["user_id", "segment"], preceding=(None, 0))) - starts.length
    starts = starts.mutate(start=before).join(
        connection.table("segments").select("user_id", "segment", "apart", "segment_history"), ["user_id", "segment"]
    )
    starts = connection.create_table("segment_starts", starts.select("user_id", "apart", "segment_history", "start"))
    rows = connection.table("placed_rows").left_join(starts, ["user_id", "apart", "segment_history"])
    training = rows.filter((_.split == "train") & (_.label == "1"))
    held_out = training.group_by("user_id").agg(
        held_history=training.item_history.argmax(_rank(training)),
        held_ordinal=training.ordinal.argmax(_rank(training)),
    )
    rows = rows.left_join(held_out, "user_id")
    is_held = (rows.ordinal == rows.held_ordinal) | ((rows.label == "0") & (rows.item_history == rows.held_history))
    split = ibis.cases(
        (rows.split == "test", int(Split.TEST)),
        (is_held.fill_null(False), int(Split.VALIDATION)),
        else_=int(Split.TRAIN),
    )
    return connection.create_table(
        "placed_samples",
        rows.select(
            "ordinal",
            "user_id",
            "history_length",
            item="item_id",
            split=split.cast("int8"),
            label=rows.label.cast("int8"),
            history_start=rows.start.fill_null(0).cast("int64"),
            item_category=rows.cate_id,
        ),
    )


def _number_items(connection: ibis.BaseBackend, min_count: int) -> tuple[Table, int, UnknownItems]:
    """Number the items.

    Returns:
        item, item_id, category, title, and events in all and in training; how many have several categories; those
        without an id.
    """
    samples, events = connection.table("placed_samples"), connection.table("history_events")
    training_users = samples.filter(_.split == int(Split.TRAIN)).group_by("user_id").agg(seen=_.history_length.max())
    histories = events.left_join(training_users, "user_id")
    positives = samples.filter(_.label == 1)
    of_targets = positives.select(
        "item",
        total=ibis.literal(1),
        training=(positives.split == int(Split.TRAIN)).cast("int64"),
    )
    of_histories = histories.select(
        "item",
        total=ibis.literal(1),
        training=((histories.segment > 0) | (histories.position < histories.seen)).fill_null(False).cast("int64"),
    )
    every = samples.select("item", total=ibis.literal(0), training=ibis.literal(0).cast("int64"))
    counted = ibis.union(ibis.union(of_targets, of_histories), every)
    counts = counted.group_by("item").agg(total=_.total.sum(), training=_.training.sum())
    named = ibis.union(
        samples.select("item", category="item_category", rank=ibis.literal(0), place="ordinal"),
        events.select("item", "category", rank=ibis.literal(1), place=_.user_id.cast("int64") * 2**31 + _.position),
    )
    named = named.filter(_.category.notnull())
    categories = named.group_by("item").agg(
        category=named.category.argmin(named["rank"].cast("int64") * 2**62 + named.place), kinds=_.category.nunique()
    )
    items = counts.left_join(categories, "item").drop("item_right")
    table = items.order_by("item").to_pyarrow()
    # Codes are by raw id: rows of several files have no one order to go by.
    training_events = table["training"].to_numpy()
    numbering = number_codes(np.maximum(table["total"].to_numpy(), 1), training_events, min_count)
    known = table.take(pa.array(numbering.codes)).append_column(
        "item_id", pa.array(np.arange(FIRST_REAL_ID, FIRST_REAL_ID + len(numbering.codes), dtype=np.int32))
    )
    several = int(np.sum(table["kinds"].fill_null(0).to_numpy() > 1))
    numbered = load_table(connection, "numbered_items", known)
    unknown_items = UnknownItems.of(numbering.ids == UNKNOWN_ID, training_events)
    return numbered.mutate(title=ibis.null("string")), several, unknown_items


def _read_blocks(events_path: Path, samples_path: Path) -> Iterator[Block]:
    """Events first, then the samples; what one kind has no rows of is empty."""
    no_samples = {split: {name: np.zeros(0, np.int64) for name in _SAMPLE_COLUMNS} for split in SPLITS}
    no_events = {"user_id": np.zeros(0, np.int32), "item_id": np.zeros(0, np.int32)}
    with pq.ParquetFile(events_path) as file:
        for batch in file.iter_batches(BLOCK_ROWS):
            yield Block({name: batch[name].to_numpy() for name in no_events}, no_samples)
    with pq.ParquetFile(samples_path) as file:
        for batch in file.iter_batches(BLOCK_ROWS):
            columns: dict[str, Any] = {name: batch[name].to_numpy() for name in (*_SAMPLE_COLUMNS, "split")}
            of_split = {
                split: {name: columns[name][columns["split"] == split] for name in _SAMPLE_COLUMNS} for split in SPLITS
            }
            yield Block(no_events, of_split)
