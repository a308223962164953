"""Users, items and histories as people know them: raw ids, titles, categories and times in place of ids."""

from typing import Literal, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from din_train.logs.time_unit import guess_unit
from din_train.samples.column_file import map_columns
from din_train.samples.names import read_names
from din_train.samples.store import PreparedData, Samples
from din_train.samples.vocabulary import FIRST_REAL_ID

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
        self._timestamps = map_columns(data.folder / "events.arrow").get("timestamp")

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

    def history(self, samples: Samples, row: int) -> list[EventDescription]:
        """The behaviours of a sample's history, oldest first."""
        start, length = int(samples.history_start[row]), int(samples.history_length[row])
        return [
            {**self.item(int(self._data.event_item_ids[event])), "timestamp": self._find_time(event)}
            for event in range(start, start + length)
        ]

    def _find_time(self, event: int) -> int | None:
        if self._timestamps is None:
            return None
        value = int(self._timestamps[event])
        return value if guess_unit(value) == "seconds" else None  # a log without unix times is stored as it is


def _find(names: pa.Array, raw: str) -> int | None:
    place = pc.index(names, pa.scalar(raw, pa.string())).as_py()
    return None if place < 0 else int(place)
