"""What ids stand for: raw ids, titles and field values of a prepared data set, by id."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from din_train.config.field_kinds import ListFieldConfig
from din_train.dataset.category_search import SEARCHED, CategorySearch
from din_train.dataset.fields import BucketIds, IdFinder, ListIds
from din_train.dataset.manifest import read_manifest
from din_train.dataset.store import PreparedData, Samples, read_tables
from din_train.dataset.vocabulary import FIRST_REAL_ID, HashedIds, RawIds
from din_train.errors import DataError
from din_train.logs.time_unit import guess_unit

_ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Names:
    """Strings by id; null for padding and unknown, and where there is no title.

    items, titles: [num_items + 2]. users: [num_users + 2].
    """

    items: pa.Array
    titles: pa.Array
    users: pa.Array
    _vocabularies: pa.Table
    _hashed: Mapping[str, int]

    def values(self, field: str) -> list[str | None]:
        """A field's values by id: `category`, or any other item, user, context or behaviour field.

        The values of a hashed field are not kept; its ids are called `bucket 0`, `bucket 1`, ...
        """
        if field in self._hashed:
            return [None] * FIRST_REAL_ID + [f"bucket {place}" for place in range(self._hashed[field])]
        of_field = self._vocabularies.filter(pc.equal(self._vocabularies["field"], field)).sort_by("id")
        return [None] * FIRST_REAL_ID + list(of_field["value"].to_pylist())


def read_names(data: PreparedData) -> Names:
    """The names of a prepared data set.

    Raises:
        DataError: if another one has taken its place since it was opened.
    """
    items, users, vocabularies = read_tables(data.folder).values()
    manifest = read_manifest(data.folder)
    if manifest is None or manifest.fingerprint != data.fingerprint:
        raise DataError(
            f"{data.folder}: another process has prepared another data set here since this command began; prepare this "
            "one again, each in a folder of its own (data.prepared), and run the command again (fit: with --resume)"
        )
    return Names(
        items=_by_id(items, "item"),
        titles=_by_id(items, "title"),
        users=_by_id(users, "user"),
        _vocabularies=vocabularies,
        _hashed=_find_hashed(data),
    )


def build_id_finder(data: PreparedData, names: Names, field: str) -> IdFinder:
    """What gives texts, or lists, the ids that a field's values have in a prepared data set."""
    recipe = data.manifest.recipe
    if field in recipe["data.numeric_fields"]:
        counted = data.manifest.field_values.get(field)
        style = None if counted is None else counted.style
        return BucketIds([str(each) for each in names.values(field)[FIRST_REAL_ID:]], style)
    buckets = _find_hashed(data).get(field)
    ids: IdFinder = RawIds(names.values(field)) if buckets is None else HashedIds(buckets)
    lists = recipe.get("data.list_fields", {})
    return ids if field not in lists else ListIds(ids, ListFieldConfig(**lists[field]), recipe["data.null_values"])


def _find_hashed(data: PreparedData) -> Mapping[str, int]:
    hashed: Mapping[str, int] = data.manifest.recipe.get("vocabulary.hash_buckets", {})
    return hashed


def hash_rows(data: PreparedData, samples: Samples) -> str:
    """SHA-256 of the rows' raw user, raw item and label, in their order: equal for the same rows, whatever their ids.

    Items out of the vocabulary have no raw id here; they are all alike.
    """
    names = read_names(data)
    digest = hashlib.sha256()
    for start in range(0, len(samples), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        for strings, ids in ((names.users, samples.user_ids), (names.items, samples.target_item_ids)):
            taken = pc.fill_null(strings.take(pa.array(ids[rows])), "")
            digest.update(pc.binary_length(taken).to_numpy(zero_copy_only=False).tobytes())
            digest.update(pc.binary_join(pa.ListArray.from_arrays([0, len(taken)], taken), "")[0].as_buffer())
        digest.update(samples.labels[rows].tobytes())
    return digest.hexdigest()


def _by_id(table: pa.Table, name: str) -> pa.Array:
    reserved = pa.nulls(FIRST_REAL_ID, pa.string())
    return pa.concat_arrays([reserved, table[name].cast(pa.string()).combine_chunks()])


# In place of a raw id that the data set does not have: of an item with too few training events.
UNKNOWN_ITEM = "(unknown item)"


class ItemDescription(TypedDict):
    """item: raw id, or `UNKNOWN_ITEM`. title, category: None where there is none."""

    item: str
    title: str | None
    category: str | None


class EventDescription(ItemDescription):
    """timestamp: unix seconds; None in a log without unix times."""

    timestamp: int | None


class Describer:
    """Looks up what a prepared data set says of its ids, and ids of raw ids."""

    def __init__(self, data: PreparedData) -> None:
        self._data = data
        self._names = read_names(data)
        self._categories = self._names.values("category")
        self._timestamps = data.event_columns.get("timestamp")

    def find_user(self, raw: str) -> int | None:
        """A user's id."""
        return _find(self._names.users, raw)

    def find_item(self, raw: str) -> int | None:
        """An item's id."""
        return _find(self._names.items, raw)

    def first(self, table: Literal["users", "items"]) -> str:
        """A raw id that there is, as an example."""
        names = self._names.users if table == "users" else self._names.items
        return str(names[FIRST_REAL_ID]) if len(names) > FIRST_REAL_ID else ""

    def user(self, user_id: int) -> str:
        """A user's raw id."""
        return str(self._names.users[user_id])

    def item(self, item_id: int) -> ItemDescription:
        """An item's raw id, title and category."""
        return {
            "item": self._names.items[item_id].as_py() or UNKNOWN_ITEM,
            "title": self._names.titles[item_id].as_py(),
            "category": self._categories[self._data.item_category_ids[item_id]],
        }

    def history(self, samples: Samples, row: int, sequence: str = "history") -> list[EventDescription]:
        """The behaviours of a sample's history, or of another sequence of it, oldest first."""
        start, length = (int(column[row]) for column in samples.all_sequences[sequence])
        return self._describe_events(range(start, start + length))

    def sequences(
        self, samples: Samples, row: int, search: CategorySearch | None = None
    ) -> dict[str, list[EventDescription]]:
        """The behaviours of a sample's history, and of what else the model takes, by its name.

        Args:
            search: of a model that has one.
        """
        kept = samples if search is None else search.keep_recent(samples)
        named = {name: self.history(kept, row, name) for name in kept.all_sequences}
        if search is not None:
            named[SEARCHED] = self._describe_events(search.find(samples, np.array([row]))[0].tolist())
        return named

    def _describe_events(self, events: Iterable[int]) -> list[EventDescription]:
        return [
            {**self.item(int(self._data.event_item_ids[event])), "timestamp": self._find_time(event)}
            for event in events
        ]

    def _find_time(self, event: int) -> int | None:
        if self._timestamps is None:
            return None
        value = int(self._timestamps[event])
        return value if guess_unit(value) == "seconds" else None  # a log without unix times is stored as it is


def _find(names: pa.Array, raw: str) -> int | None:
    place = pc.index(names, pa.scalar(raw, pa.string())).as_py()
    return None if place < 0 else int(place)
