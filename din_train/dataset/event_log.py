"""A log of events -> the parts of a data set: read, filter and sort, number, split, draw negatives."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from din_train.config import Config, DataConfig
from din_train.config.data import TIME_FIELDS, TIME_GAP
from din_train.dataset.base_vocabulary import (
    BaseVocabulary,
    ItemAges,
    check_expiry,
    find_expired,
    pair_ids,
    read_base,
)
from din_train.dataset.database import Database, connect
from din_train.dataset.events import OrderedLog, describe_items, describe_users, order_log
from din_train.dataset.fields import Rows, add_counts, add_hashed_rows, number_coded, number_fields
from din_train.dataset.item_vectors import add_vectors
from din_train.dataset.log_checks import check_labels, check_weights, count_repeats
from din_train.dataset.matching import Account, count_joins, count_odd_ids
from din_train.dataset.negatives import UnknownItems, build_distribution
from din_train.dataset.protocols import assign_users, least_clicks
from din_train.dataset.samples import SampleBuilder
from din_train.dataset.store_writer import StoreParts
from din_train.dataset.time_fields import VALUES
from din_train.dataset.time_range import Moments, check_cuts
from din_train.dataset.vocabulary import NO_CODE, UNKNOWN_ID, build_vocabulary, find_codes, number_codes
from din_train.errors import DataError
from din_train.logs import Progress, RawLog, read_log


class Engine:
    """The engine that a log is prepared on: this process with an embedded DuckDB, or Spark (`din_train.spark`)."""

    def read_log(self, data: DataConfig, scratch: Path, progress: Progress) -> RawLog:
        """Read the log into normalised files; see `logs.read_log`."""
        return read_log(data, scratch, progress)

    @contextmanager
    def connect(self, data: DataConfig, scratch: Path) -> Iterator[Database]:
        """What the relational work is done in."""
        with connect(data, scratch) as connection:
            yield Database(connection)

    def make_builder(self, ordered: OrderedLog, config: Config, log: RawLog) -> SampleBuilder:
        """What turns the ordered log into events and samples."""
        return SampleBuilder(ordered, config.data, config.negatives, log.ticks, log.labelled)


def build_from_log(config: Config, scratch: Path, progress: Progress, engine: Engine) -> StoreParts:
    """Read the log and work out everything but the samples, which are built while they are written.

    Raises:
        DataError: see `read_log`; if no user has enough events, or a field needs times that the log does not have.
    """
    data = config.data
    log = engine.read_log(data, scratch, progress)
    moments = Moments.of(log)
    account = Account(moments, remarks=[*check_cuts(config, moments), *log.remarks])
    base = read_base(config, moments)
    if config.vocabulary.expire_after is not None:
        check_expiry(moments, config.vocabulary.expire_after)
    if log.labelled and log.click_window is None:
        check_labels(data, log)
    check_weights(data, log)
    if log.ticks is None and log.click_window is not None:
        raise DataError(
            f"data.columns.events.impression: needs unix times, in which click_window is, but the log's times go "
            f"{moments}; leave impression out, so that the log is one of clicks, or write unix times into it"
        )
    needing_time = [f"context_fields: {name}" for name in data.context_fields if name in TIME_FIELDS]
    needing_time += [f"behaviour_fields: {name}" for name in data.behaviour_fields if name == TIME_GAP]
    if log.ticks is None and needing_time:
        raise DataError(
            f"data.{needing_time[0]}: needs unix times, but no timestamp of the log looks like one "
            f"(from 1979 to 2128, in seconds, milliseconds, microseconds or nanoseconds): they go {moments}; leave the "
            "field out"
        )
    of_events = (*data.context_fields, *data.behaviour_fields)
    with engine.connect(data, scratch) as database:
        ordered = order_log(
            database,
            log,
            config.filters,
            min_clicks=least_clicks(data),
            context_columns=list(dict.fromkeys(name for name in of_events if name not in (*TIME_FIELDS, TIME_GAP))),
            scratch=scratch,
        )
        if ordered.clicks is not None and log.click_window is not None:
            account.remarks.append(ordered.clicks.describe(log.click_window))
        account.joins += count_joins(database, data, log)
        account.remarks += count_odd_ids(database.table("coded_users").user, database.table("coded_items").item)
        account.repeated_rows = count_repeats(database, ordered.path)
        builder = engine.make_builder(ordered, config, log)
        if data.since_base:
            builder.train_after = base.last_moment
        user_codes = builder.read_user_codes()
        if data.user_split is not None:
            users = database.fetch(database.table("coded_users").order_by("user_code").select("user"))["user"]
            builder.user_splits = np.zeros(ordered.num_users, np.int8)
            builder.user_splits[user_codes] = assign_users(users.take(pa.array(user_codes)), data.user_split)
        counts = builder.count()
        raw_items: Any = pa.chunked_array([[]], pa.string())
        if config.vocabulary.base is not None or config.vocabulary.expire_after is not None:
            raw_items = database.fetch(database.table("coded_items").order_by("item_code").select("item"))["item"]
        ages = _find_ages(config, moments, base, builder, raw_items, counts.items)
        base = base if ages is None else ages.base
        items = number_codes(
            counts.items if ages is None else np.where(ages.is_expired, 0, counts.items),
            counts.training_items,
            config.vocabulary.min_count,
            find_codes(base.raw_items, raw_items),
        )
        events = int(counts.items.sum())
        context = {
            name: number_coded(
                ordered.context[name]["value"],
                name,
                Rows("events", total, counts.training_context[name]),
                events,
                config,
                base,
            )
            for name, total in counts.context.items()
        }
        item_table, several = describe_items(database, log, pair_ids("item", items.codes), data.item_fields)
        user_table = describe_users(database, log, pair_ids("user", user_codes), data.user_fields)
    item_fields = ("category", *data.item_fields)
    of_log = items.codes[items.codes != NO_CODE]  # the others are items of the base alone
    item_rows = Rows("items", counts.items[of_log], counts.training_items[of_log])
    item_table, of_items = number_fields(item_table, item_fields, item_rows, config, account, base)
    item_table = add_vectors(base.add_absent_items(item_table, items), data, account)
    item_table = add_counts(add_hashed_rows(item_table, config), items.take(counts.training_items), base)
    if ages is not None:
        item_table = item_table.append_column("last_event", pa.array(ages.take(items)))
    user_rows = Rows("users", np.ones(user_table.num_rows, np.int64), counts.training_users[user_codes])
    user_table, of_users = number_fields(user_table, data.user_fields, user_rows, config, account, base)
    for name, each in context.items():
        account.add_field(name, each.account, data)
    of_context = {
        name: vocabulary
        for name in dict.fromkeys(of_events)
        if (vocabulary := context[name].values if name in context else VALUES[name]) is not None
    }
    context_ids = {name: each.ids for name, each in context.items()}
    event_fields = [name for name in data.behaviour_fields if name != TIME_GAP]
    unknown_items = UnknownItems.of((counts.items > 0) & (items.ids == UNKNOWN_ID), counts.training_items)
    popularity = items.take(counts.training_items)
    if not popularity.any():  # no row of this log is for training
        popularity = base.count_events(len(popularity))
    distribution = build_distribution(config.negatives, popularity, unknown_items)
    vocabularies = {**of_items, **of_users, **of_context}
    if ages is not None:
        account.remarks.append(ages.describe())
    return StoreParts(
        event_columns=("user_id", "item_id", "timestamp", "ordinal", *event_fields),
        sample_columns=(
            *("user_id", "target_item_id", "history_length", "label", "event"),
            *(("timestamp",) if log.labelled or TIME_GAP in data.behaviour_fields else ()),
            *(("request",) if log.labelled else ()),
            *(("weight",) if data.columns is not None and data.columns.weight is not None else ()),
            *data.context_fields,
        ),
        column_types={
            name: pa.list_(pa.int32(), context_ids[name].shape[1])
            for name in data.context_fields
            if name in context_ids and context_ids[name].ndim > 1
        },
        blocks=builder.build(items, context_ids, distribution),
        write_shards=builder.plan_shards(items, context_ids, distribution),
        tables={
            "items": item_table,
            "users": user_table,
            "vocabularies": build_vocabulary(vocabularies),
        },
        rejected=log.rejected,
        reports=log.reports,
        fields={"item": item_fields, "user": data.user_fields, "context": data.context_fields},
        negatives="in the log" if log.labelled else "sampled",
        unknown_items=unknown_items,
        items_with_several_categories=several,
        count_short_histories=lambda: builder.report.targets_with_too_short_history,
        count_dropped=lambda: _count_dropped(ordered, builder, unknown_items.items, ages),
        describe_histories=lambda: _describe_histories(builder),
        account=account,
        base=base.describe(vocabularies),
    )


def _find_ages(
    config: Config,
    moments: Moments,
    base: BaseVocabulary,
    builder: SampleBuilder,
    items: Any,
    counts: NDArray[np.int64],
) -> ItemAges | None:
    """Which items expire; None if none can."""
    days = config.vocabulary.expire_after
    if days is None:
        return None
    until = config.filters.until
    now = moments.last if until is None else min(moments.last, until - 1)
    return find_expired(base, items, builder.find_last_events(), counts > 0, now=now, days=days)


def _describe_histories(builder: SampleBuilder) -> dict[str, Any]:
    report = builder.report
    if builder.labelled:
        return {
            "lag": builder.data.history_lag,
            "requests": report.requests,
            "requests_at_midnight": report.requests_at_midnight if builder.ticks else None,
        }
    share = round(report.tied_targets / report.targets, 6) if report.targets else None
    return {"ties": builder.data.ties, "tied_targets": report.tied_targets, "tied_share": share}


def _count_dropped(
    ordered: OrderedLog, builder: SampleBuilder, unknown_items: int, ages: ItemAges | None
) -> dict[str, int]:
    of_log = 0 if ages is None else int(ages.is_expired.sum())
    return {
        **ordered.dropped,
        "items_of_too_few_training_events": unknown_items - of_log,
        **({} if ages is None else {"items_that_expired": ages.expired}),
        **({"targets_up_to_the_base": builder.report.targets_up_to_base} if builder.data.since_base else {}),
        "positives_without_a_negative": builder.report.positives_without_a_negative,
    }
