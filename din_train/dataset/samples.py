"""Ordered events in codes -> events and samples in ids, a block of whole users at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from din_train.config import DataConfig, NegativesConfig
from din_train.config.data import TIME_FIELDS
from din_train.dataset.events import OrderedLog, read_user_blocks
from din_train.dataset.negatives import (
    ChosenItems,
    ItemDistribution,
    draw_negatives,
    find_last_excluded,
    number_samples,
)
from din_train.dataset.protocols import SPLITS, Split, Targets, UserEvents, assign_splits
from din_train.dataset.time_fields import SECONDS_A_DAY, compute_time_field
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID, Numbering
from din_train.logs import field_column

BLOCK_ROWS = 1_000_000

Ints = NDArray[np.int64]
Columns = dict[str, Any]


@dataclass
class EventCounts:
    """How often each code occurs among the kept events, and among training events alone.

    Training events are those that are a training sample or in the history of one. Of a numeric field, which only
    behaviours have, `training_context` counts the latter alone.
    """

    items: Ints
    training_items: Ints
    training_users: Ints
    context: dict[str, Ints]
    training_context: dict[str, Ints]

    @classmethod
    def of(cls, ordered: OrderedLog) -> Self:
        """Zeros, for the codes of a log."""
        sizes = {name: len(values) for name, values in ordered.context.items()}
        return cls(
            items=np.zeros(ordered.num_items, np.int64),
            training_items=np.zeros(ordered.num_items, np.int64),
            training_users=np.zeros(ordered.num_users, np.int64),
            context={name: np.zeros(size, np.int64) for name, size in sizes.items()},
            training_context={name: np.zeros(size, np.int64) for name, size in sizes.items()},
        )

    def by_name(self) -> dict[str, Ints]:
        """Each of the arrays, by the names that `SampleBuilder.read_counted` has for them."""
        return {
            "items": self.items,
            "training_items": self.training_items,
            "training_users": self.training_users,
            **{f"context {name}": counts for name, counts in self.context.items()},
            **{f"training_context {name}": counts for name, counts in self.training_context.items()},
        }


@dataclass
class BuildReport:
    """What the blocks came to."""

    positives_without_a_negative: int = 0
    targets_with_too_short_history: int = 0
    targets: int = 0
    tied_targets: int = 0  # of clicks: whose history would be shorter if `data.ties` were `apart`
    targets_up_to_base: int = 0  # no training rows, by `data.since_base`
    requests: int = 0  # of impressions
    requests_at_midnight: int = 0

    def add(self, other: "BuildReport") -> None:
        """Count other blocks too."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


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
        train_after: training targets are those after this moment; None: all.
    """

    ordered: OrderedLog
    data: DataConfig
    negatives: NegativesConfig
    ticks: int | None
    labelled: bool
    user_splits: NDArray[np.int8] | None = None
    train_after: int | None = None
    report: BuildReport = field(default_factory=BuildReport)

    def count(self) -> EventCounts:
        """The first pass: what the vocabulary is made from."""
        counts = EventCounts.of(self.ordered)
        by_name = counts.by_name()
        for _rows, _events, counted in self.read_counted():
            for name, codes in counted.items():
                by_name[name] += np.bincount(codes, minlength=len(by_name[name]))
        return counts

    def read_counted(self) -> Iterator[tuple[Columns, UserEvents, dict[str, NDArray[np.int32]]]]:
        """Blocks of columns and events, and the codes that are counted, by the names of `EventCounts.by_name`."""
        for rows, events, targets in self._read_blocks():
            in_training, seen = _find_training_events(events, targets)
            training = in_training | seen
            counted = {
                "items": rows["item_code"],
                "training_items": rows["item_code"][training],
                "training_users": rows["user_code"][training],
            }
            for name in self.ordered.context:
                codes = rows[field_column(name)]
                counted[f"context {name}"] = codes[codes >= 0]
                codes = codes[seen if name in self.data.numeric_fields else training]
                counted[f"training_context {name}"] = codes[codes >= 0]
            yield rows, events, counted

    def read_user_codes(self) -> Ints:
        """The users left, in order."""
        blocks = read_user_blocks(self.ordered.path, BLOCK_ROWS, ["user_code"])
        users = [np.unique(rows["user_code"]) for rows in blocks]
        return np.concatenate(users).astype(np.int64)

    def find_last_events(self) -> Ints:
        """[items] when each item of the log had its last event, in seconds; 0 if it has none."""
        last = np.zeros(self.ordered.num_items, np.int64)
        for rows in read_user_blocks(self.ordered.path, BLOCK_ROWS, ["user_code", "item_code", "timestamp"]):
            np.maximum.at(last, rows["item_code"], rows["timestamp"] // (self.ticks or 1))
        return last

    def build(
        self,
        items: Numbering,
        context: Mapping[str, NDArray[np.int32]],
        distribution: ItemDistribution,
        *,
        first_user: int = FIRST_REAL_ID,
        first_event: int = 0,
    ) -> Iterator[Block]:
        """The second pass: blocks of events and samples.

        Args:
            context: field, of samples or of behaviours -> [codes] ids of its codes, or [codes, V] of several values.
            first_user: the id of the first user; the others' count up from it.
            first_event: the events of the users before, by which negatives are drawn.
        """
        for rows, events, targets in self._read_blocks():
            item_ids = items.ids[rows["item_code"]]
            ids = {name: take_ids(context[name], rows[field_column(name)]) for name in context}
            user_ids = (first_user + events.user_rows).astype(np.int32)
            clicks = events.click_rows
            stored = {
                "user_id": user_ids[clicks],
                "item_id": item_ids[clicks],
                "timestamp": events.click_times,
                "ordinal": rows["ordinal"][clicks],
                **{name: ids[name][clicks] for name in self.data.behaviour_fields if name in ids},
            }
            samples = self._build_samples(events, targets, user_ids, item_ids, rows, ids, distribution, first_event)
            too_short = events.is_sample & (targets.splits == Split.HISTORY) & ~targets.is_old
            self.report.targets_up_to_base += int(targets.is_old.sum())
            self.report.targets_with_too_short_history += int(too_short.sum())
            self._count_requests(events, targets)
            yield Block(stored, samples)
            first_user += len(events.num_clicks)
            first_event += len(clicks)

    def plan_shards(
        self,
        items: Numbering,  # noqa: ARG002 - as `build`
        context: Mapping[str, NDArray[np.int32]],  # noqa: ARG002
        distribution: ItemDistribution,  # noqa: ARG002
    ) -> Any:
        """What writes the blocks of `build` as several shards (see `StoreParts`); None: they are one."""
        return None

    def _count_requests(self, events: UserEvents, targets: Targets) -> None:
        """Of impressions, the requests; of clicks, the samples whose history the file's order decides."""
        if self.labelled:
            begins = np.append(True, np.diff(events.requests) != 0) | np.append(True, np.diff(events.user_rows) != 0)
            begins &= events.is_sample
            self.report.requests += int(begins.sum())
            self.report.requests_at_midnight += int((events.moments[begins] % SECONDS_A_DAY == 0).sum())
            return
        is_target = targets.splits != Split.HISTORY
        self.report.targets += int(is_target.sum())
        apart = events.count_clicks_before(events.moments)
        self.report.tied_targets += int((is_target & (apart < events.positions)).sum())

    def _read_blocks(self) -> Iterator[tuple[Columns, UserEvents, Targets]]:
        """Columns as they are stored, whole users' events, and the targets."""
        ticks = self.ticks or 1
        for rows in read_user_blocks(self.ordered.path, BLOCK_ROWS):
            users, times = rows["user_code"], rows["timestamp"]
            if self.labelled:
                events = UserEvents.of_impressions(
                    users,
                    rows["label"] == 1,
                    requests=rows["request"],
                    moments=rows["moment"],
                    times=times,
                    items=rows["item_code"],
                    ticks=ticks,
                    is_behaviour=rows["behaviour"] == 1 if "behaviour" in rows else None,
                )
            else:
                events = UserEvents.of_clicks(users, times // ticks)
            user_splits = None if self.user_splits is None else self.user_splits[users[events.first_events]]
            targets = assign_splits(
                events, self.data, labelled=self.labelled, user_splits=user_splits, train_after=self.train_after
            )
            yield rows, events, targets

    def _build_samples(
        self,
        events: UserEvents,
        targets: Targets,
        user_ids: NDArray[np.int32],
        item_ids: NDArray[np.int32],
        log: Columns,
        context: Columns,
        distribution: ItemDistribution,
        first_event: int,
    ) -> dict[Split, Columns]:
        chosen = None
        if not self.labelled:
            chosen = ChosenItems.of(events.user_rows, events.positions, item_ids, distribution.num_items)
        parts: dict[Split, Columns] = {}
        for split in SPLITS:
            rows = np.flatnonzero(targets.splits == split)  # [P] places in the block
            candidates = item_ids[rows, None]  # [P, 1 + K]
            if chosen is not None:
                drawn = self._draw(chosen, distribution, events, rows, first_event, split)
                has_negatives = drawn[:, 0] != 0  # all of a positive's are drawn from the same items, or none is
                self.report.positives_without_a_negative += int((~has_negatives).sum())
                rows = rows[has_negatives]
                candidates = np.concatenate([candidates, drawn], axis=1)[has_negatives]

            def repeat(values: Any, width: int = candidates.shape[1]) -> Any:
                return np.repeat(values, width, axis=0)

            labels = np.zeros(candidates.shape, np.int8)
            labels[:, 0] = events.is_click[rows]
            length, moments = targets.history_length[rows], events.moments[rows]
            columns = {
                "user_id": repeat(user_ids[rows]),
                "target_item_id": candidates.ravel(),
                "history_length": repeat(length),
                "label": labels.ravel(),
                "event": repeat(log["ordinal"][rows]),
                "timestamp": repeat(moments),
            }
            if self.labelled:
                columns["request"] = events.requests[rows]
            if "weight" in log:
                columns["weight"] = repeat(log["weight"][rows])
            newest = events.click_starts[events.user_rows[rows]] + length - 1  # the history's newest click
            last = np.full(len(rows), -1)
            last[length > 0] = events.click_times[newest[length > 0]]
            for name in self.data.context_fields:
                value = compute_time_field(name, moments, last) if name in TIME_FIELDS else context[name][rows]
                columns[name] = repeat(value)
            parts[split] = columns
        return parts

    def _draw(
        self,
        chosen: ChosenItems,
        distribution: ItemDistribution,
        events: UserEvents,
        rows: Ints,
        first_event: int,
        split: Split,
    ) -> NDArray[np.int32]:
        """[P, K] negatives; without labels a place in the block is a click's row in `events`."""
        count = self.negatives.per_positive if split is Split.TRAIN else self.negatives.evaluation_per_positive
        until = find_last_excluded(self.negatives, events.positions[rows], events.num_clicks[events.user_rows[rows]])
        return draw_negatives(
            chosen=chosen,
            distribution=distribution,
            user_rows=np.repeat(events.user_rows[rows], count),
            until=np.repeat(until, count),
            samples=number_samples(np.repeat(first_event + rows, count), np.tile(np.arange(count), len(rows))),
            seed=self.negatives.seed,
            epoch=0,
        ).reshape(-1, count)


def _find_training_events(events: UserEvents, targets: Targets) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[E] events that are training samples, and [E] clicks that are in the history of one."""
    in_training = targets.splits == Split.TRAIN
    longest = np.zeros(len(events.num_clicks), np.int64)  # [users] clicks that some training sample sees
    np.maximum.at(longest, events.user_rows[in_training], targets.history_length[in_training])
    is_behaviour = events.positions >= 0
    return in_training, is_behaviour & (events.positions < longest[events.user_rows])


def take_ids(ids: NDArray[np.int32], codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """[n] or [n, V] ids of codes; unknown if there is no value (-1)."""
    unknown = np.zeros((1, *ids.shape[1:]), np.int32)
    unknown.flat[0] = UNKNOWN_ID
    taken: NDArray[np.int32] = np.concatenate([ids, unknown])[codes]  # -1 is the last
    return taken
