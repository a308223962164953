"""Small prepared data sets from hand-written events, through the product's own path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from din_train.config import Config
from din_train.dataset.column_file import map_columns
from din_train.dataset.prepare import Preparation, prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store

Event = tuple[str, str, str, int]  # user, item, category, time


def write_log(path: Path, events: Sequence[Event]) -> Path:
    """A TSV as `table` reads it."""
    return write_table(path, ["user", "item", "category", "time"], events)


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """Tab-separated, with a header."""
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in (header, *rows)), encoding="utf-8")
    return path


def make_config(folder: Path, **changes: Any) -> Config:
    """A small config on `folder/log.tsv`; `changes` are sections to merge in."""
    values: dict[str, Any] = {
        "name": "small",
        "data": {
            "source": "table",
            "events": str(folder / "log.tsv"),
            "columns": {"user": "user", "item": "item", "category": "category", "timestamp": "time"},
            "prepared": str(folder / "prepared"),
        },
        "model": {"name": "din"},
        "training": {"epochs": 1},
    }
    for section, keys in changes.items():
        values[section] = {**values.get(section, {}), **keys} if isinstance(keys, dict) else keys
    return Config.model_validate(values)


def prepare_events(folder: Path, events: Sequence[Event], **changes: Any) -> tuple[PreparedData, Preparation]:
    """Write the log, prepare it, open it."""
    write_log(folder / "log.tsv", events)
    config = make_config(folder, **changes)
    preparation = prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared), preparation


def read_raw_ids(data: PreparedData, table: str, key: str, raw: str) -> dict[int, str]:
    """Id -> raw id of a stored table."""
    rows = pq.read_table(data.folder / f"{table}.parquet")
    return dict(zip(rows[key].to_pylist(), rows[raw].to_pylist(), strict=True))


def read_samples(data: PreparedData, split: Split, max_history_length: int = 100) -> list[dict[str, Any]]:
    """Every row of a split in stored order, in raw ids: user, target, history, label; an unknown item is `?`."""
    items = {1: "?", **read_raw_ids(data, "items", "item_id", "item")}
    users = read_raw_ids(data, "users", "user_id", "user")
    samples = data.samples(split, max_history_length)
    return [
        {
            "user": users[samples.user_ids[row]],
            "target": items[samples.target_item_ids[row]],
            "history": [
                items[each]
                for each in data.event_item_ids[
                    samples.history_start[row] : samples.history_start[row] + samples.history_length[row]
                ]
            ],
            "label": int(samples.labels[row]),
        }
        for row in range(len(samples))
    ]


def read_positives(data: PreparedData, split: Split, max_history_length: int = 100) -> list[dict[str, Any]]:
    """Every positive of a split in raw ids: user, target, history."""
    rows = read_samples(data, split, max_history_length)
    return [{key: row[key] for key in ("user", "target", "history")} for row in rows if row["label"]]


def read_values(data: PreparedData, field: str) -> dict[int, str]:
    """Id -> value of a field."""
    rows = pq.read_table(data.folder / "vocabularies.parquet", filters=[("field", "=", field)])
    return dict(zip(rows["id"].to_pylist(), rows["value"].to_pylist(), strict=True))


def read_events(data: PreparedData) -> dict[str, list[int]]:
    """The stored events, a list a column."""
    return {name: column.tolist() for name, column in map_columns(data.folder / "events.arrow").items()}
