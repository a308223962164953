"""Protocol `presampled`: rows that are samples and hold their histories (sources `rows` and `x1`), every row kept.

Rows of `data.validation` and `data.test` are those splits'. A split without a file is made of rows of `data.train`, by
`data.row_split`. Without that key and without a validation file:

    file     row                                                       split
    train    a user's positive with the longest history (the first     validation
             of several), and the negatives with that very history
    train    every other row                                           train

So a user of one training positive is in validation only, of two in train and validation, and so on; a user of none is
in train as it is. Rows stay in their order. Histories are slices of stored lists, see `given_histories.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ibis import Table, _
from numpy.typing import NDArray

from din_train.config import Config, DataConfig
from din_train.config.data import TIME_FIELDS, TIME_GAP
from din_train.dataset.base_vocabulary import BaseVocabulary, pair_ids, read_base
from din_train.dataset.database import Database, connect, count_rows, load_table
from din_train.dataset.events import describe_items, describe_users
from din_train.dataset.fields import CodedField, Rows, add_counts, add_hashed_rows, number_coded, number_fields
from din_train.dataset.given_histories import GivenHistories, find_covered, place_histories
from din_train.dataset.item_vectors import add_vectors
from din_train.dataset.log_checks import check_sample_labels, check_weights
from din_train.dataset.matching import Account, count_joins, count_odd_ids
from din_train.dataset.negatives import UnknownItems, build_distribution
from din_train.dataset.protocols import Split
from din_train.dataset.row_blocks import RowBlocks
from din_train.dataset.row_negatives import RowNegatives
from din_train.dataset.row_splits import split_rows
from din_train.dataset.samples import BLOCK_ROWS
from din_train.dataset.store_writer import StoreParts
from din_train.dataset.time_fields import VALUES
from din_train.dataset.time_range import Moments, show_date
from din_train.dataset.vocabulary import (
    FIRST_REAL_ID,
    NO_CODE,
    UNKNOWN_ID,
    Numbering,
    build_vocabulary,
    find_codes,
    number_codes,
)
from din_train.errors import DataError
from din_train.logs import ROW_SPLITS, Progress, RawSamples, field_column, read_samples

Ints = NDArray[np.int64]


def build_presampled(config: Config, scratch: Path, progress: Progress) -> StoreParts:
    """Read the samples, store their histories once, and work out everything but the samples themselves.

    Raises:
        DataError: see `read_samples`; if a split has no row, or a field needs times that the rows do not have.
    """
    data = config.data
    raw = read_samples(data, scratch, progress)
    log, has_times = raw.log, "timestamp" in pq.read_schema(raw.log.events).names
    account = Account(Moments.of(log) if has_times else None)
    base = read_base(config, account.moments)
    _check_time_fields(data, raw, has_times)
    check_weights(data, log)
    with connect(data, scratch) as connection:
        database = Database(connection)
        rows = connection.read_parquet(log.events, table_name="sample_rows")
        if log.labelled:
            check_sample_labels(rows, {name: getattr(data, name) for name in ROW_SPLITS})
        first_seen = rows.group_by("user").agg(first=_.ordinal.min())
        users = connection.create_table(
            "coded_users", first_seen.mutate(user_code=ibis.row_number().over(order_by="first").cast("int32"))
        )
        load_table(
            connection,
            "coded_items",
            pa.table({"item": raw.items, "item_code": np.arange(len(raw.items), dtype=np.int32)}),
        )
        user_ids = users.select("user", user_id=(users.user_code + FIRST_REAL_ID).cast("int32"))
        given = place_histories(raw, _find_users_of_lines(connection, raw, user_ids), scratch)
        samples = _place_samples(connection, raw, rows, user_ids, given)
        samples = connection.create_table("samples", split_rows(connection, samples, data))
        counts = _count_items(raw, given, samples)
        order = pc.sort_indices(raw.items).to_numpy()  # rows of several files have no one order to go by
        by_name = number_codes(
            np.maximum(counts.total[order], 1),
            counts.training[order],
            config.vocabulary.min_count,
            find_codes(base.raw_items, raw.items.take(pa.array(order))),
        )
        ids = np.empty(len(order), np.int32)
        ids[order] = by_name.ids
        items = Numbering(ids, np.where(by_name.codes == NO_CODE, NO_CODE, order[by_name.codes]))
        context = _number_context(connection, samples, config, account, base)
        path = scratch / "samples.parquet"
        _select_samples(samples, context).order_by("split", "ordinal").to_parquet(path)
        account.remarks += count_odd_ids(users.user, connection.table("coded_items").item)
        account.remarks += _count_shared_rows(samples)
        account.remarks += _compare_behaviours(data, raw, samples, given)
        if given.unordered:
            account.remarks.append(
                f"{given.unordered:,} of {given.lines:,} histories are not in order of time: if rows hold the newest "
                "behaviour first, set order: newest_first in data.sequences"
            )
        if has_times:
            groups = samples.group_by("user_id", "item_code", "timestamp").agg(rows=_.count())
            account.repeated_rows = int(groups.agg(n=(groups.rows - 1).sum()).to_pyarrow()["n"][0].as_py() or 0)
        histories = _describe_histories(connection, samples, given)
        _view_events(connection, raw, rows, given)
        account.joins += count_joins(database, data, log)
        item_ids, user_table_ids = pair_ids("item", items.codes), pair_ids("user", np.arange(count_rows(users)))
        in_order = replace(log, labelled=False)  # the first row that says something of an item or a user counts
        item_table, several = describe_items(database, in_order, item_ids, data.item_fields)
        user_table = describe_users(database, in_order, user_table_ids, data.user_fields)
        by_user = samples.group_by("user_id").agg(training=(_.split == int(Split.TRAIN)).cast("int64").sum())
        training_rows = by_user.order_by("user_id").to_pyarrow()["training"].to_numpy()
        targets = samples.filter(_.label == 1).order_by("user_id").select("user_id", "item_code").to_pyarrow()
    item_fields = ("category", *data.item_fields)
    training_events, of_log = items.take(counts.training), items.codes[items.codes != NO_CODE]
    item_rows = Rows("items", counts.total[of_log], counts.training[of_log])
    item_table, of_items = number_fields(item_table, item_fields, item_rows, config, account, base)
    item_table = add_vectors(base.add_absent_items(item_table, items), data, account)
    item_table = add_counts(add_hashed_rows(item_table, config), training_events, base)
    user_rows = Rows("users", np.ones(user_table.num_rows, np.int64), training_rows)
    user_table, of_users = number_fields(user_table, data.user_fields, user_rows, config, account, base)
    behaviours = {
        name: number_coded(
            raw.values[name],
            name,
            Rows("behaviours", total, counts.training_fields[name]),
            len(given.events["item"]),
            config,
            base,
        )
        for name, total in counts.fields.items()
    }
    for name, each in behaviours.items():
        account.add_field(name, each.account, data)
    of_context = {name: VALUES[name] for name in (*data.context_fields, *data.behaviour_fields) if name in VALUES}
    coded = {name: each.field for name, each in context.items()} | behaviours
    of_context |= {name: each.values for name, each in coded.items() if each.values is not None}
    vocabularies = {**of_items, **of_users, **of_context}
    unknown_items = UnknownItems.of(ids == UNKNOWN_ID, counts.training)
    negatives = None
    if not log.labelled:
        of_users_rows = given.events["user_id"]
        starts = np.searchsorted(of_users_rows, np.arange(user_table.num_rows + FIRST_REAL_ID))
        negatives = RowNegatives(
            negatives=config.negatives,
            distribution=build_distribution(config.negatives, training_events, unknown_items),
            events=given.events["item"],
            ids=ids,
            user_starts=starts,
            target_users=targets["user_id"].to_numpy(),
            target_item_ids=ids[targets["item_code"].to_numpy()],
        )
    of_rows, of_behaviours = ({name: coded[name].ids for name in names} for names in (context, behaviours))
    blocks = RowBlocks(data, raw, given, path, ids, of_behaviours, of_rows, negatives)
    return StoreParts(
        event_columns=("user_id", "item_id", *blocks.event_columns),
        sample_columns=blocks.sample_columns,
        column_types=blocks.column_types,
        blocks=blocks.read_blocks(),
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
        count_short_histories=lambda: 0,
        count_dropped=lambda: {
            "items_of_too_few_training_events": unknown_items.items,
            **({} if log.labelled else {"positives_without_a_negative": blocks.positives_without_a_negative}),
        },
        describe_histories=lambda: histories,
        account=account,
        base=base.describe(vocabularies),
    )


def _find_users_of_lines(connection: ibis.BaseBackend, raw: RawSamples, user_ids: Table) -> NDArray[np.int32]:
    """[lines] the user of each history; 0 for one without a sample."""
    lines = connection.read_parquet(raw.histories, table_name="lines").select("history", "user")
    users_of_lines = np.zeros(count_rows(lines), np.int32)
    found = lines.inner_join(user_ids, "user").select("history", "user_id").to_pyarrow()
    users_of_lines[found["history"].to_numpy()] = found["user_id"].to_numpy()
    return users_of_lines


def _check_time_fields(data: DataConfig, raw: RawSamples, has_times: bool) -> None:
    needing = [f"context_fields: {name}" for name in data.context_fields if name in TIME_FIELDS]
    needing += [f"behaviour_fields: {name}" for name in data.behaviour_fields if name == TIME_GAP]
    if needing and (not has_times or raw.log.ticks is None):
        raise DataError(
            f"data.{needing[0]}: needs unix times of the rows; name their column in "
            "data.columns.timestamp, or leave the field out"
        )
    of_behaviours = [each for each in needing if each.endswith((": days_since_last", f": {TIME_GAP}"))]
    if of_behaviours and 0 not in raw.ticks:
        raise DataError(
            f"data.{of_behaviours[0]}: needs the times of the behaviours; name their column in "
            "data.sequences, or leave the field out"
        )


def _place_samples(
    connection: ibis.BaseBackend, raw: RawSamples, rows: Table, user_ids: Table, given: GivenHistories
) -> Table:
    """The rows with user_id, the places of their histories, and request_key where requests are known."""
    places = connection.read_parquet(given.places, table_name="places")
    placed = rows.rename(file="split").inner_join(user_ids, "user").inner_join(places, "history")
    if "timestamp" in rows.columns:
        placed = placed.mutate(timestamp=(placed.timestamp // (raw.log.ticks or 1)).cast("int64"))
    if "request" in rows.columns:
        key = placed.request
    elif raw.layout.impressions is not None:
        key = placed.history
    else:
        key = placed.timestamp if "timestamp" in rows.columns else None
    return placed.drop("user", "item") if key is None else placed.mutate(request_key=key).drop("user", "item")


@dataclass(frozen=True)
class _Counts:
    """By code: positives and stored behaviours, and of them those that training sees; of fields the behaviours."""

    total: Ints
    training: Ints
    fields: dict[str, Ints]
    training_fields: dict[str, Ints]


def _count_items(raw: RawSamples, given: GivenHistories, samples: Table) -> _Counts:
    size = len(raw.items)
    is_training = samples.split == int(Split.TRAIN)
    found = samples.filter(_.label == 1).group_by("item_code").agg(
        total=_.count(), training=(_.split == int(Split.TRAIN)).cast("int64").sum()
    ).to_pyarrow()  # fmt: skip
    total, training = np.zeros((2, size), np.int64)
    total[found["item_code"].to_numpy()] = found["total"].to_numpy()
    training[found["item_code"].to_numpy()] = found["training"].to_numpy()
    spans = []
    for place in range(len(raw.layout.sequences)):
        start, length = f"start {place}", f"length {place}"
        seen = samples.filter(is_training & (samples[length] > 0)).group_by(start=start).agg(length=_[length].max())
        spans.append(seen.to_pyarrow())
    span = pa.concat_tables(spans).sort_by("start")
    covered = find_covered(
        len(given.events["item"]), span["start"].to_numpy(), span["length"].to_numpy().astype(np.int64), BLOCK_ROWS
    )
    names = [name for name in raw.values if name != "category"]
    fields = {name: np.zeros(len(raw.values[name]), np.int64) for name in names}
    training_fields = {name: np.zeros(len(raw.values[name]), np.int64) for name in names}
    for (_first, events), is_seen in zip(given.events.read_blocks(BLOCK_ROWS, "item", *names), covered, strict=True):
        codes = events["item"]
        total += np.bincount(codes, minlength=size)
        training += np.bincount(codes[is_seen], minlength=size)
        for name in names:
            codes = events[name]
            fields[name] += np.bincount(codes[codes >= 0], minlength=len(fields[name]))
            codes = codes[is_seen]
            training_fields[name] += np.bincount(codes[codes >= 0], minlength=len(fields[name]))
    return _Counts(total, training, fields, training_fields)


@dataclass(frozen=True)
class _ContextField:
    """table: value, code."""

    table: Table
    field: CodedField


def _number_context(
    connection: ibis.BaseBackend, samples: Table, config: Config, account: Account, base: BaseVocabulary
) -> dict[str, _ContextField]:
    """The context fields that are columns of the rows."""
    found = {}
    size = count_rows(samples)
    for place, name in enumerate(name for name in config.data.context_fields if name not in TIME_FIELDS):
        given = samples.filter(samples[field_column(name)].notnull())
        counted = given.group_by(value=given[field_column(name)]).agg(
            first=given.ordinal.min(),
            total=given.count(),
            training=(given.split == int(Split.TRAIN)).cast("int64").sum(),
        )
        counts = counted.order_by("first").to_pyarrow()
        occurrences = Rows("rows", counts["total"].to_numpy(), counts["training"].to_numpy())
        coded = number_coded(counts["value"], name, occurrences, size, config, base)
        table = pa.table({"value": counts["value"], "code": np.arange(len(counts), dtype=np.int32)})
        found[name] = _ContextField(load_table(connection, f"context_{place}", table), coded)
        account.add_field(name, coded.account, config.data)
    return found


def _select_samples(samples: Table, context: Mapping[str, _ContextField]) -> Table:
    """What blocks are built from: context fields as codes, requests as numbers of a user's."""
    if "request_key" in samples.columns:
        number = ibis.dense_rank().over(ibis.window(group_by="user_id", order_by="request_key"))
        samples = samples.mutate(request_number=number.cast("int64"))
    for name, each in context.items():
        column = field_column(name)
        joined = samples.left_join(each.table, samples[column] == each.table.value)
        samples = joined.mutate(**{f"context {name}": joined.code.fill_null(-1)}).drop("value", "code")
    unwanted = {"file", "history", "category", "request", "request_key"}
    return samples.select(*(name for name in samples.columns if name not in unwanted and not name.startswith("field ")))


_LEAST_COMPARED = 20  # different items of histories and of rows; of fewer nothing can be said
_LEAST_PADDING = 0.1  # of the stored behaviours


def _compare_behaviours(data: DataConfig, raw: RawSamples, samples: Table, given: GivenHistories) -> list[str]:
    """A line if the histories' most frequent item is no row's item, as an id that fills empty places is.

    Raises:
        DataError: if no behaviour is of an item that a row has.
    """
    counts = np.zeros(len(raw.items), np.int64)
    for _first, events in given.events.read_blocks(BLOCK_ROWS, "item"):
        counts += np.bincount(events["item"], minlength=len(counts))
    is_of_row = np.zeros(len(counts), bool)
    is_of_row[samples.select("item_code").distinct().to_pyarrow()["item_code"].to_numpy()] = True
    if min(np.count_nonzero(counts), np.count_nonzero(is_of_row)) < _LEAST_COMPARED:
        return []
    most = int(np.argmax(counts))
    shown, share = raw.items[most].as_py(), counts[most] / counts.sum()
    if not counts[is_of_row].any() and data.unmatched == "refuse":
        raise DataError(
            f"data.sequences: of {np.count_nonzero(counts):,} items in the histories, 0 are items of the rows; the "
            f"histories have {shown!r}, the rows {raw.items[int(np.argmax(is_of_row))].as_py()!r}; ids are compared as "
            "text: write them alike, or set data.unmatched to allow"
        )
    if is_of_row[most] or share < _LEAST_PADDING:
        return []
    return [
        f"{shown!r} is {share:.1%} of the stored behaviours, and no row's item: if it only fills empty places, give it "
        "as padding in data.sequences"
    ]


def _count_shared_rows(samples: Table) -> list[str]:
    """A line where test rows are training rows too."""
    keys = ["user_id", "item_code", "start 0", "length 0", *(["timestamp"] if "timestamp" in samples.columns else [])]
    of_test = samples.filter(samples.file == "test")
    count = count_rows(of_test.semi_join(samples.filter(samples.file == "train"), keys))
    return [f"{count:,} of {count_rows(of_test):,} test rows are in the training file too"] if count else []


def _describe_histories(connection: ibis.BaseBackend, samples: Table, given: GivenHistories) -> dict[str, Any]:
    """What the manifest says of the histories that rows came with; `audit` refuses what is wrong with them."""
    said: dict[str, Any] = {"given": True}
    users = connection.table("coded_users")
    if "request_key" in samples.columns:
        ends = [name for name in samples.columns if name.startswith(("start ", "length "))]
        bounds = {f"{name} least": samples[name].min() for name in ends}
        bounds |= {f"{name} most": samples[name].max() for name in ends}
        requests = samples.group_by("user_id", "request_key").agg(first=samples.ordinal.min(), **bounds)
        differ = ibis.or_(*(requests[f"{name} least"] != requests[f"{name} most"] for name in ends))
        several = requests.filter(differ)
        said |= {"requests": count_rows(requests), "requests_of_several_histories": count_rows(several)}
        if said["requests_of_several_histories"]:
            one = several.order_by("first").limit(1).to_pyarrow().to_pylist()[0]
            said["example_of_several_histories"] = _show(users, one["user_id"], one["request_key"])
    if "timestamp" in samples.columns and "timestamp" in given.events:
        said |= {"rows_of_later_behaviours": given.later, "histories_out_of_order": given.unordered}
        if given.example is not None:
            one = samples.filter(_.history == given.example).limit(1).to_pyarrow().to_pylist()[0]
            said["example_of_later_behaviours"] = _show(users, one["user_id"], one["timestamp"])
    return said


def _show(users: Table, user_id: int, moment: Any) -> str:
    (user,) = users.filter(_.user_code == user_id - FIRST_REAL_ID).to_pyarrow()["user"].to_pylist()
    return f"user {user!r}, {show_date(moment) if isinstance(moment, int) else moment}"


def _view_events(connection: ibis.BaseBackend, raw: RawSamples, rows: Table, given: GivenHistories) -> None:
    """The table `raw_events`, from which items and users are described: the rows, then the behaviours' categories."""
    fields = [name for name in rows.columns if name == "category" or name.startswith("field ")]
    view = rows.select("user", "item", "ordinal", *fields)
    if "category" in raw.values:
        pairs = load_table(connection, "behaviour_categories", _pair_categories(raw, given))
        view = view if "category" in fields else view.mutate(category=ibis.null("string"))
        others = {name: ibis.null("string") for name in ("user", *fields) if name != "category"}
        view = view.union(pairs.mutate(**others).select(*view.columns))
    connection.create_view("raw_events", view)


def _pair_categories(raw: RawSamples, given: GivenHistories) -> pa.Table:
    """item, category, ordinal (after all rows) of the behaviours, each pair once."""
    kinds = len(raw.values["category"])
    keys, first = np.zeros((2, 0), np.int64)
    latest = np.full(len(raw.items), -1, np.int32)  # the category that an item had last
    for start, events in given.events.read_blocks(BLOCK_ROWS, "item", "category"):
        items, categories = events["item"], events["category"]
        places = np.flatnonzero((categories >= 0) & (categories != latest[items]))  # others are known pairs
        latest[items[places]] = categories[places]
        keys = np.concatenate([keys, items[places].astype(np.int64) * kinds + categories[places]])
        first = np.concatenate([first, start + places])
        keys, at = np.unique(keys, return_index=True)
        first = first[at]
    items, categories = (pa.array(each) for each in np.divmod(keys, max(kinds, 1)))
    return pa.table(
        {"item": raw.items.take(items), "category": raw.values["category"].take(categories), "ordinal": first + 2**62}
    )
