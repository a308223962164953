"""Ordered events in codes -> events and samples in ids, a block of whole users at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.config import DataConfig, NegativesConfig
from din_train.config.data import TIME_FIELDS
from din_train.logs import field_column
from din_train.samples.negatives import (
    ChosenItems,
    ItemDistribution,
    draw_negatives,
    find_last_excluded,
    number_samples,
)
from din_train.samples.relations import OrderedLog, read_user_blocks
from din_train.samples.split import SPLITS, Split, Targets, UserClicks, assign_splits
from din_train.samples.time_fields import compute_time_field
from din_train.samples.vocabulary import FIRST_REAL_ID, UNKNOWN_ID, Numbering

BLOCK_ROWS = 1_000_000

Ints = NDArray[np.int64]
Columns = dict[str, Any]


@dataclass
class EventCounts:
    """How often each code occurs among the kept events, and among training events alone.

    Training events are those that are a training sample or in the history of one.
    """

    items: Ints
    training_items: Ints
    context: dict[str, Ints]
    training_context: dict[str, Ints]


@dataclass
class BuildReport:
    """What the blocks came to."""

    negatives_not_drawn: int = 0
    targets_with_too_short_history: int = 0


@dataclass(frozen=True)
class Block:
    """events: columns of `events`. samples: columns of each split's samples."""

    events: Columns
    samples: dict[Split, Columns]


@dataclass
class SampleBuilder:
    """Turns an ordered log into events and samples, by one protocol.

    Args:
        ordered: the log.
        data, negatives: the config.
        ticks: the log's timestamps a second, None where they are no unix times.
        labelled: whether the log has impressions, so that nothing is drawn.
        user_splits: code -> `Split`, for protocol `user`.
    """

    ordered: OrderedLog
    data: DataConfig
    negatives: NegativesConfig
    ticks: int | None
    labelled: bool
    user_splits: NDArray[np.int8] | None = None
    report: BuildReport = field(default_factory=BuildReport)

    def count(self) -> EventCounts:
        """The first pass: what the vocabulary is made from."""
        names = {name: len(values) for name, values in self.ordered.context.items()}
        counts = EventCounts(
            items=np.zeros(self.ordered.num_items, np.int64),
            training_items=np.zeros(self.ordered.num_items, np.int64),
            context={name: np.zeros(size, np.int64) for name, size in names.items()},
            training_context={name: np.zeros(size, np.int64) for name, size in names.items()},
        )
        for rows, clicks, targets, _seconds in self._read_blocks():
            training = _find_training_events(clicks, targets)
            counts.items += np.bincount(rows["item_code"], minlength=len(counts.items))
            counts.training_items += np.bincount(rows["item_code"][training], minlength=len(counts.items))
            for name, size in names.items():
                codes = rows[field_column(name)]
                counts.context[name] += np.bincount(codes[codes >= 0], minlength=size)
                codes = codes[training]
                counts.training_context[name] += np.bincount(codes[codes >= 0], minlength=size)
        return counts

    def read_user_codes(self) -> Ints:
        """The users left, in order."""
        blocks = read_user_blocks(self.ordered.path, BLOCK_ROWS, ["user_code"])
        users = [np.unique(rows["user_code"]) for rows in blocks]
        return np.concatenate(users).astype(np.int64)

    def build(
        self, items: Numbering, context: Mapping[str, Numbering], distribution: ItemDistribution
    ) -> Iterator[Block]:
        """The second pass: blocks of events and samples, user ids counting up from 2."""
        first_user, first_event = FIRST_REAL_ID, 0
        for rows, clicks, targets, seconds in self._read_blocks():
            item_ids = items.ids[rows["item_code"]]
            ids = {name: _take(context[name].ids, rows[field_column(name)]) for name in context}
            user_ids = (first_user + clicks.user_rows).astype(np.int32)
            is_click = clicks.is_click
            events = {
                "user_id": user_ids[is_click],
                "item_id": item_ids[is_click],
                "timestamp": seconds[is_click],
            }
            samples = self._build_samples(clicks, targets, user_ids, item_ids, seconds, ids, distribution, first_event)
            self.report.targets_with_too_short_history += int((targets.splits == Split.HISTORY).sum())
            yield Block(events, samples)
            first_user += len(clicks.num_clicks)
            first_event += int(is_click.sum())

    def _read_blocks(self) -> Iterator[tuple[Columns, UserClicks, Targets, Ints]]:
        """Columns as they are stored, the users' clicks, the targets, and the [E] unix times."""
        for rows in read_user_blocks(self.ordered.path, BLOCK_ROWS):
            is_click = rows["label"] == 1 if self.labelled else np.ones(len(rows["user_code"]), np.bool_)
            clicks = UserClicks.of(rows["user_code"], is_click)
            user_splits = None if self.user_splits is None else self.user_splits[rows["user_code"][clicks.first_events]]
            seconds = rows["timestamp"] // (self.ticks or 1)
            targets = assign_splits(clicks, self.data, seconds=seconds, user_splits=user_splits)
            yield rows, clicks, targets, seconds

    def _build_samples(
        self,
        clicks: UserClicks,
        targets: Targets,
        user_ids: NDArray[np.int32],
        item_ids: NDArray[np.int32],
        seconds: Ints,
        context: Columns,
        distribution: ItemDistribution,
        first_event: int,
    ) -> dict[Split, Columns]:
        starts = np.cumsum(clicks.num_clicks) - clicks.num_clicks  # [users] first click among the block's clicks
        click_times = seconds[clicks.is_click]
        chosen = None
        if not self.labelled:
            chosen = ChosenItems.of(clicks.user_rows, clicks.clicks_before, item_ids, distribution.num_items)
        parts: dict[Split, Columns] = {}
        for split in SPLITS:
            rows = np.flatnonzero(targets.splits == split)  # [P] places in the block
            candidates = item_ids[rows, None]  # [P, 1 + K]
            if chosen is not None:
                drawn = self._draw(chosen, distribution, clicks, rows, first_event, split)
                candidates = np.concatenate([candidates, drawn], axis=1)
            kept = candidates.ravel() != 0
            self.report.negatives_not_drawn += int((~kept).sum())

            def repeat(values: Any, kept: Any = kept, width: int = candidates.shape[1]) -> Any:
                return np.repeat(values, width)[kept]

            labels = np.zeros(candidates.shape, np.int8)
            labels[:, 0] = clicks.is_click[rows]
            length = targets.history_length[rows]
            newest = starts[clicks.user_rows[rows]] + length - 1  # the history's newest click
            last = np.where(length > 0, click_times[np.maximum(newest, 0)] if len(click_times) else 0, -1)
            columns = {
                "user_id": repeat(user_ids[rows]),
                "target_item_id": candidates.ravel()[kept],
                "history_length": repeat(length),
                "label": labels.ravel()[kept],
            }
            if self.labelled:
                columns["timestamp"] = repeat(seconds[rows])
            for name in self.data.context_fields:
                value = compute_time_field(name, seconds[rows], last) if name in TIME_FIELDS else context[name][rows]
                columns[name] = repeat(value)
            parts[split] = columns
        return parts

    def _draw(
        self,
        chosen: ChosenItems,
        distribution: ItemDistribution,
        clicks: UserClicks,
        rows: Ints,
        first_event: int,
        split: Split,
    ) -> NDArray[np.int32]:
        """[P, K] negatives; without labels a place in the block is a click's row in `events`."""
        count = self.negatives.per_positive if split is Split.TRAIN else self.negatives.evaluation_per_positive
        until = find_last_excluded(
            self.negatives, clicks.clicks_before[rows], clicks.num_clicks[clicks.user_rows[rows]]
        )
        return draw_negatives(
            chosen=chosen,
            distribution=distribution,
            user_rows=np.repeat(clicks.user_rows[rows], count),
            until=np.repeat(until, count),
            samples=number_samples(np.repeat(first_event + rows, count), np.tile(np.arange(count), len(rows))),
            seed=self.negatives.seed,
            epoch=0,
        ).reshape(-1, count)


def _find_training_events(clicks: UserClicks, targets: Targets) -> NDArray[np.bool_]:
    """[E] events that are training samples, and clicks that are in the history of one."""
    in_training = targets.splits == Split.TRAIN
    longest = np.zeros(len(clicks.num_clicks), np.int64)  # [users] clicks that some training sample sees
    np.maximum.at(longest, clicks.user_rows[in_training], targets.history_length[in_training])
    seen: NDArray[np.bool_] = clicks.is_click & (clicks.clicks_before < longest[clicks.user_rows])
    training: NDArray[np.bool_] = in_training | seen
    return training


def _take(ids: NDArray[np.int32], codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Ids of codes; unknown where there is no value (-1)."""
    if not len(ids):
        return np.full(len(codes), UNKNOWN_ID, np.int32)
    return np.where(codes < 0, np.int32(UNKNOWN_ID), ids[codes])
