"""`vocabulary.base`: the ids of an earlier data set, which stay when the log grows or moves on.

Ids are ranks by frequency, so that a new log alone would permute them. With a base

    an item, and a value of any field    keeps its id; new ones follow, in the order that they would have alone
    buckets of a numeric field           keep their edges
    a standardised field                 keeps its mean and standard deviation
    an item that the log no longer has   keeps its id, and what the base says of it

Users have no table of their own in a model, so their ids are counted anew. With `vocabulary.expire_after` an item
without an event in the last n days has no id, of the base or new; the items after it move up, so that tables do not
grow for ever. If it comes back it is new. A warm start carries rows by raw id, never by number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from din_train.config import Config
from din_train.dataset.manifest import Manifest, read_manifest
from din_train.dataset.numbers import NumberStyle
from din_train.dataset.time_fields import SECONDS_A_DAY
from din_train.dataset.time_range import Moments, show_date
from din_train.dataset.vocabulary import FIRST_REAL_ID, NO_CODE, UNKNOWN_ID, Numbering, find_codes
from din_train.errors import DataError
from din_train.files import compute_sha256

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class BaseVocabulary:
    """An earlier data set's vocabulary; without a manifest one that is empty.

    items: its `items.parquet`, of the items that have not expired. vocabularies: field -> values by id from 2.
    """

    manifest: Manifest | None = None
    items: pa.Table | None = None
    vocabularies: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def raw_items(self) -> list[str]:
        """The items, by id from 2."""
        return [] if self.items is None else list(self.items["item"].to_pylist())

    def values(self, name: str) -> Sequence[str]:
        """A field's values or buckets by id from 2; none if the base does not have the field, or hashes it."""
        return self.vocabularies.get(name, ())

    def find_style(self, name: str) -> NumberStyle | None:
        """How a field's numbers are written."""
        said = None if self.manifest is None else self.manifest.field_values.get(name)
        return None if said is None else said.style

    def find_scale(self, name: str) -> tuple[float, float] | None:
        """Mean and standard deviation of a standardised field."""
        said = None if self.manifest is None else self.manifest.field_values.get(name)
        if said is None or said.mean is None or said.standard_deviation is None:
            return None
        return said.mean, said.standard_deviation

    @property
    def last_moment(self) -> int | None:
        """Of its log, as far as `filters.until` let it go; None of a log without times."""
        if self.manifest is None or self.manifest.time is None:
            return None
        until = self.manifest.recipe.get("filters.until")
        return self.manifest.time.last if until is None else min(self.manifest.time.last, int(until) - 1)

    def count_events(self, num_ids: int) -> Ints:
        """[ids from 2] the most training events that an item had in the base, or in the base's base; 0 of new ones."""
        counts = np.zeros(num_ids, np.int64)
        if self.items is not None:
            for name in ("training_events", "training_events_before"):
                if name in self.items.column_names:
                    before = self.items[name].to_numpy()
                    counts[: len(before)] = np.maximum(counts[: len(before)], before)
        return counts

    def find_last_events(self) -> Ints:
        """[items] when each item's last event was; the base's last moment if it does not say."""
        if self.items is None:
            return np.zeros(0, np.int64)
        if "last_event" in self.items.column_names:
            return np.asarray(self.items["last_event"].to_numpy(), np.int64)
        return np.full(self.items.num_rows, self.last_moment or 0)

    def add_absent_items(self, table: pa.Table, numbering: Numbering) -> pa.Table:
        """The log's items, by id, with those that only the base has, of which that is said what the base says.

        Args:
            table: item_id, item, and the items' fields as they are stored.
            numbering: of the items.
        """
        absent = np.flatnonzero(numbering.codes == NO_CODE)
        if self.items is None or not len(absent):
            return table
        rows = self.items.take(pa.array(absent))
        columns = [
            pa.array(FIRST_REAL_ID + absent, each.type) if each.name == "item_id" else _take_column(rows, each)
            for each in table.schema
        ]
        return pa.concat_tables([table, pa.table(columns, schema=table.schema)]).sort_by("item_id").combine_chunks()

    def describe(self, vocabularies: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
        """What the manifest says: the base's fingerprint, its last moment, and how many ids of each field are its own.

        Args:
            vocabularies: field -> values by id from 2, of the new data set.
        """
        if self.manifest is None or self.items is None:
            return None
        ids = {name: len(self.values(name)) for name in vocabularies if name in self.vocabularies}
        return {
            "fingerprint": self.manifest.fingerprint,
            "last_moment": self.last_moment,
            "ids": {"item": self.items.num_rows, **ids},
        }


NO_BASE = BaseVocabulary()


def _take_column(rows: pa.Table, wanted: pa.Field) -> Any:
    """A column of the base's items; unknown or null if the base does not have it."""
    if wanted.name in rows.column_names and rows.schema.field(wanted.name).type == wanted.type:
        return rows[wanted.name]
    if wanted.name.endswith("_id"):
        return pa.array(np.full(rows.num_rows, UNKNOWN_ID), wanted.type)
    if wanted.name.endswith("_ids"):
        return pa.array([[UNKNOWN_ID]] * rows.num_rows, wanted.type)
    return pa.nulls(rows.num_rows, wanted.type)


def read_base(config: Config, moments: Moments | None) -> BaseVocabulary:
    """The vocabulary that `vocabulary.base` names, or an empty one.

    Args:
        moments: of the log; None if it has no times.

    Raises:
        DataError: if there is no whole data set, its fields have other forms, or `data.since_base` leaves nothing.
    """
    folder = config.vocabulary.base
    if folder is None:
        return NO_BASE
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(
            f"vocabulary.base: {folder}: no prepared data set here, or one of another version; name the folder that "
            "`din-train prepare` made for the earlier log, or leave it out"
        )
    names = ("items.parquet", "vocabularies.parquet")
    for name in names:
        if not (folder / name).is_file() or compute_sha256(folder / name) != manifest.files.get(name):
            raise DataError(f"vocabulary.base: {folder / name}: missing or damaged; restore it, or prepare it again")
    items, table = (pq.read_table(folder / name) for name in names)
    vocabularies: dict[str, list[str]] = {}
    for name, value in zip(table["field"].to_pylist(), table["value"].to_pylist(), strict=True):  # by id
        vocabularies.setdefault(name, []).append(value)
    base = BaseVocabulary(manifest, items, vocabularies)
    _check_forms(config, manifest, folder)
    if config.data.since_base:
        _check_time(base, moments)
    return base


def find_base_fingerprint(folder: Path | None) -> str | None:
    """Of the data set in `vocabulary.base`; None if there is none."""
    manifest = None if folder is None else read_manifest(folder)
    return None if manifest is None else manifest.fingerprint


def _check_forms(config: Config, manifest: Manifest, folder: Path) -> None:
    """Refuse a field whose values have one form there and another one here."""
    data, recipe = config.data, manifest.recipe
    here = {f"data.{key}": getattr(data, key) or () for key in ("list_fields", "numeric_fields", "standardized_fields")}
    here |= {"data.num_buckets": data.num_buckets, "vocabulary.hash_buckets": config.vocabulary.hash_buckets}
    there = {each for names in manifest.fields.values() for each in names} | {*recipe["data.behaviour_fields"], "item"}
    names = ("item", "category", *data.item_fields, *data.user_fields, *data.context_fields, *data.behaviour_fields)
    for name in names:
        was, now = _describe_form(name, recipe), _describe_form(name, here)
        if name in there and was != now:
            raise DataError(
                f"vocabulary.base: {folder}: '{name}' is {was} there, {now} here; ids are kept of fields of one form: "
                "declare it as it was, or leave vocabulary.base out"
            )


def _describe_form(name: str, recipe: Mapping[str, Any]) -> str:
    if name in recipe["data.standardized_fields"]:
        return "a standardised number"
    if name in recipe["data.numeric_fields"]:
        return f"a number in {recipe['data.num_buckets']:,} buckets"
    buckets = recipe["vocabulary.hash_buckets"].get(name)
    ids = "ids" if buckets is None else f"ids hashed to {buckets:,}"
    return f"lists of {ids}" if name in recipe["data.list_fields"] else ids


def _check_time(base: BaseVocabulary, moments: Moments | None) -> None:
    before = None if base.manifest is None else base.manifest.time
    last = base.last_moment
    if before is None or last is None or moments is None or before.is_unix != moments.is_unix:
        raise DataError(
            "data.since_base: needs times of one kind in both logs, but the base's go "
            f"{before or 'unsaid'}, this log's {moments or 'unsaid'}; leave it out"
        )
    if moments.last <= last:
        raise DataError(
            f"data.since_base: no event is after the base's last one, {moments.show(last)}: the log's times go "
            f"{moments}; give the log of a later day"
        )


@dataclass(frozen=True)
class ItemAges:
    """When each item had its last event, and which have expired.

    first_day: the moment from which on an event keeps an item. base: without expired items. is_expired: [codes] of the
    log's items. last_events: [codes] seconds. expired: how many items, of the log or of the base alone.
    """

    first_day: int
    base: BaseVocabulary
    is_expired: NDArray[np.bool_]
    last_events: Ints
    expired: int

    def take(self, numbering: Numbering) -> Ints:
        """[ids from 2] when each item had its last event."""
        last = numbering.take(self.last_events)
        before = self.base.find_last_events()
        last[: len(before)] = np.maximum(last[: len(before)], before)
        return last

    def describe(self) -> str:
        """A sentence for the summary."""
        return f"{self.expired:,} items have expired: no event since {show_date(self.first_day)}, so they have no id"


def find_expired(
    base: BaseVocabulary, items: Any, last_events: Ints, has_event: NDArray[np.bool_], *, now: int, days: int
) -> ItemAges:
    """Which items had no event for `days` days.

    Args:
        items: [codes] raw ids of the log's items.
        last_events: [codes] seconds.
        has_event: [codes] whether an item has a kept event; the last event of others is the base's.
        now: the log's last moment.
    """
    first_day = now - days * SECONDS_A_DAY
    of_base, codes = base.find_last_events(), find_codes(base.raw_items, items)
    last = np.where(has_event, last_events, 0)
    in_log = codes != NO_CODE
    last[codes[in_log]] = np.maximum(last[codes[in_log]], of_base[in_log])
    in_base = np.zeros(len(last), np.bool_)
    in_base[codes[in_log]] = True
    is_expired = (last < first_day) & (has_event | in_base)
    stays = np.where(in_log, last[codes], of_base) >= first_day if len(codes) else np.zeros(0, np.bool_)
    expired = int(is_expired.sum()) + int((~stays & ~in_log).sum())
    if base.items is not None:
        base = replace(base, items=base.items.filter(pa.array(stays)))
    return ItemAges(first_day, base, is_expired, last, expired)


def pair_ids(kind: str, codes: Ints) -> pa.Table:
    """<kind>_code, <kind>_id of the ids that the log has."""
    places = np.flatnonzero(codes != NO_CODE)
    return pa.table(
        {f"{kind}_code": codes[places].astype(np.int32), f"{kind}_id": (FIRST_REAL_ID + places).astype(np.int32)}
    )


def check_expiry(moments: Moments, days: int) -> None:
    """Refuse `vocabulary.expire_after` of a log without unix times."""
    if not moments.is_unix:
        raise DataError(
            f"vocabulary.expire_after: received {days} days, but the log's times are no unix times: they go {moments}; "
            "leave it out, or write unix times into the log"
        )
