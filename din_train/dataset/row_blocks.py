"""Rows that hold their histories -> blocks of the store."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from din_train.config import DataConfig
from din_train.config.data import TIME_FIELDS
from din_train.dataset.given_histories import GivenHistories
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.row_negatives import RowNegatives
from din_train.dataset.samples import BLOCK_ROWS, Block, take_ids
from din_train.dataset.time_fields import compute_time_field
from din_train.logs import RawSamples

Ids = NDArray[np.int32]


@dataclass
class RowBlocks:
    """Builds the store's blocks of events, then of samples.

    samples: Parquet, sorted by split and row; context fields are codes in it. items: code -> item id. behaviours,
        context: field -> [codes] or, of a context field of several values, [codes, V] ids.
    """

    data: DataConfig
    raw: RawSamples
    given: GivenHistories
    samples: Path
    items: NDArray[np.int32]
    behaviours: Mapping[str, Ids]
    context: Mapping[str, Ids]
    negatives: RowNegatives | None
    positives_without_a_negative: int = 0

    @property
    def column_types(self) -> dict[str, Any]:
        """Of the starts of further sequences, and of context fields with several values."""
        starts = {f"{name}_start": pa.int64() for name in list(self.raw.layout.sequences)[1:]}
        lists = {name: pa.list_(pa.int32(), ids.shape[1]) for name, ids in self.context.items() if ids.ndim > 1}
        return starts | lists

    @property
    def event_columns(self) -> list[str]:
        """Beside user and item."""
        return [*(["timestamp"] if "timestamp" in self.given.events else []), *self.behaviours]

    @property
    def sample_columns(self) -> list[str]:
        has = pq.read_schema(self.samples).names
        names = {"timestamp": "timestamp", "request": "request_number", "weight": "weight"}
        others = [f"{name}_{what}" for name in list(self.raw.layout.sequences)[1:] for what in ("start", "length")]
        return [
            *("user_id", "target_item_id", "history_start", "history_length", "label", "event"),
            *(name for name, column in names.items() if column in has),
            *others,
            *self.data.context_fields,
        ]

    def read_blocks(self) -> Iterator[Block]:
        """Events first, then the samples; what one kind has no rows of is empty."""
        none = np.zeros(0, np.int64)
        no_rows = {name: self.context[name][:0] if name in self.context else none for name in self.sample_columns}
        no_samples = dict.fromkeys(SPLITS, no_rows)
        no_events = dict.fromkeys(("user_id", "item_id", *self.event_columns), none)
        for _first, events in self.given.events.read_blocks(BLOCK_ROWS):
            columns = {"user_id": events["user_id"], "item_id": self.items[events["item"]]}
            columns |= {"timestamp": events["timestamp"]} if "timestamp" in events else {}
            for name, ids in self.behaviours.items():
                columns[name] = take_ids(ids, events[name])
            yield Block(columns, no_samples)
        with pq.ParquetFile(self.samples) as file:
            for batch in file.iter_batches(BLOCK_ROWS):
                columns = {name: batch[name].to_numpy() for name in batch.schema.names}
                samples = {}
                for split in SPLITS:
                    rows = columns["split"] == split
                    samples[split] = self._build({name: each[rows] for name, each in columns.items()}, split)
                yield Block(no_events, samples)

    def _build(self, rows: Mapping[str, Any], split: Split) -> dict[str, Any]:
        """Columns of the store from those of the file."""
        columns = {
            "user_id": rows["user_id"],
            "target_item_id": self.items[rows["item_code"]],
            "label": rows["label"],
            "event": rows["ordinal"],
        }
        for place, name in enumerate(["history", *list(self.raw.layout.sequences)[1:]]):
            columns |= {f"{name}_{what}": rows[f"{what} {place}"] for what in ("start", "length")}
        for name, column in {"timestamp": "timestamp", "request": "request_number", "weight": "weight"}.items():
            if column in rows:
                columns[name] = rows[column]
        for name in self.data.context_fields:
            if name in TIME_FIELDS:
                columns[name] = compute_time_field(name, rows["timestamp"], rows["newest"])
            else:
                columns[name] = take_ids(self.context[name], rows[f"context {name}"])
        return columns if self.negatives is None else self._add_negatives(columns, self.negatives, split)

    def _add_negatives(self, columns: Mapping[str, Any], negatives: RowNegatives, split: Split) -> dict[str, Any]:
        config = negatives.negatives
        count = config.per_positive if split is Split.TRAIN else config.evaluation_per_positive
        names = ("user_id", "target_item_id", "history_start", "history_length", "event")
        drawn = negatives.draw(*(columns[name] for name in names), count=count)
        has_negatives = drawn[:, 0] != 0
        self.positives_without_a_negative += int((~has_negatives).sum())
        repeated = {name: np.repeat(each[has_negatives], 1 + count, axis=0) for name, each in columns.items()}
        candidates = np.concatenate([columns["target_item_id"][:, None], drawn], axis=1)[has_negatives]
        labels = np.zeros(candidates.shape, np.int8)
        labels[:, 0] = 1
        return {**repeated, "target_item_id": candidates.ravel(), "label": labels.ravel()}
