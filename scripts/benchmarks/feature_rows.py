"""Rows as a feature store joins them: a sample per row with the user's newest behaviours, in Parquet lists."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HISTORY_LENGTH = 50
ROWS_PER_USER, ROWS_PER_ITEM, ITEMS_PER_CATEGORY = 10, 5, 200
DAYS = 30
_START, _SECONDS_A_DAY = 1_700_006_400, 86_400
_ROWS_AT_ONCE = 25_000

# How `data` reads them. No list is the beginning of another of its user, so all are stored.
DATA: dict[str, Any] = {
    "source": "rows",
    "columns": {
        "user": "user_id",
        "item": "item_id",
        "category": "category_id",
        "timestamp": "time",
        "label": "clicked",
    },
    "sequences": {"clicks": {"item": "clicked_items", "category": "clicked_categories"}},
    "row_split": {"by": "time"},
    "protocol": "presampled",
}


def write_feature_rows(path: Path, rows: int) -> dict[str, int]:
    """Write rows in the order of time, of users who come back again and again; each comes with lists of 50.

    A user's behaviours are one endless sequence of items, of which a row holds 50; each row has seen one more.
    """
    draw = np.random.default_rng(1)
    users, items = max(1, rows // ROWS_PER_USER), max(10, rows // ROWS_PER_ITEM)
    categories = max(2, items // ITEMS_PER_CATEGORY)
    category_of = draw.integers(1, categories + 1, items)
    seen = np.zeros(users, np.int64)  # behaviours of each user before the row's list
    whole, ids = pa.int64(), pa.list_(pa.int64())
    schema = pa.schema(
        [
            ("clicked", pa.int8()),
            *((name, whole) for name in ("user_id", "item_id", "category_id", "time")),
            *((name, ids) for name in ("clicked_items", "clicked_categories")),
        ]
    )
    temporary = path.with_name(f".{path.name}.part")
    with pq.ParquetWriter(temporary, schema) as writer:
        for first in range(0, rows, _ROWS_AT_ONCE):
            size = min(_ROWS_AT_ONCE, rows - first)
            user = draw.integers(0, users, size)
            order = np.argsort(user, kind="stable")
            visits = np.empty(size, np.int64)  # of the user among these rows, before this one
            visits[order] = np.arange(size) - np.searchsorted(user[order], user[order])
            steps = (seen[user] + visits)[:, None] + np.arange(HISTORY_LENGTH)
            seen += np.bincount(user, minlength=users)
            history = _choose(user[:, None] * 1_000_003 + steps, items).ravel()
            target = _choose(draw.integers(0, 2**40, size), items)
            times = _START + (np.arange(first, first + size) * DAYS * _SECONDS_A_DAY // rows)
            offsets = pa.array(np.arange(0, size * HISTORY_LENGTH + 1, HISTORY_LENGTH, dtype=np.int32))
            columns = [
                *(draw.integers(0, 2, size), user + 1, target + 1, category_of[target], times),
                *(pa.ListArray.from_arrays(offsets, pa.array(each)) for each in (history + 1, category_of[history])),
            ]
            writer.write_table(pa.table(columns, names=schema.names).cast(schema))
    temporary.replace(path)
    return {"rows": rows, "users": users, "items": items}


def _choose(keys: Any, items: int) -> Any:
    """An item for each key, always the same, small numbers more often."""
    mixed = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    share = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    return (share * share * items).astype(np.int64)
