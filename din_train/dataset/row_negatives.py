"""Negatives of ready-made rows, with the history of their positive: of rows that are positives only, and fresh ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.config import NegativesConfig
from din_train.dataset.given_histories import spread
from din_train.dataset.histories import count_visits
from din_train.dataset.negatives import (
    ChosenItems,
    ItemDistribution,
    build_distribution,
    draw_negatives,
    number_samples,
)
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID
from din_train.errors import DataError

_NO_CAP = 2**31 - 1
_ROWS_AT_ONCE = 1 << 18

Ids = NDArray[np.int32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RowNegatives:
    """What is drawn from, and what each user has chosen: the items of the stored lists and the targets.

    events: [E] items of all lists, user after user, as codes; ids: code -> item id.
    user_starts: [num_users + 2] first event row of each user.
    target_users, target_item_ids: [P] of all positives, sorted by user.
    """

    negatives: NegativesConfig
    distribution: ItemDistribution
    events: Any
    ids: Ids
    user_starts: Ints
    target_users: Ids
    target_item_ids: Ids

    def draw(
        self, user_ids: Ids, target_item_ids: Ids, history_start: Ints, history_length: Any, events: Ints, *,
        count: int, epoch: int = 0,
    ) -> Ids:  # fmt: skip
        """[S, count] negatives of positives; 0 if the user has chosen every item.

        Args:
            user_ids, target_item_ids, history_start, history_length: [S].
            events: [S] the rows of the log, which number the draws.
        """
        if self.negatives.exclude == "all":
            users, owners = np.unique(user_ids, return_inverse=True)
            ends = np.append(self.user_starts[1:], len(self.events))
            starts, lengths = self.user_starts[users], ends[users] - self.user_starts[users]
            first, last = np.searchsorted(self.target_users, [users, users + 1])
            targets = self.target_item_ids[spread(first, last - first)]
            of_targets = np.repeat(np.arange(len(users)), last - first)
        else:
            owners = of_targets = np.arange(len(user_ids))
            starts, lengths, targets = history_start, history_length.astype(np.int64), target_item_ids
        chosen_rows = np.concatenate([np.repeat(np.arange(len(starts)), lengths), of_targets])
        chosen = np.concatenate([self.ids[self.events[spread(starts, lengths)]], targets])
        return draw_negatives(
            chosen=ChosenItems.of(chosen_rows, np.zeros(len(chosen), np.int64), chosen, self.distribution.num_items),
            distribution=self.distribution,
            user_rows=np.repeat(owners, count),
            until=np.zeros(len(user_ids) * count, np.int64),
            samples=number_samples(np.repeat(events, count), np.tile(np.arange(count), len(user_ids))),
            seed=self.negatives.seed,
            epoch=epoch,
        ).reshape(-1, count)

    def draw_of(self, positives: Samples, *, count: int, epoch: int) -> Ids:
        """[S, count] negatives of positives of the store; see `draw`."""
        drawn = np.zeros((len(positives), count), np.int32)
        for first in range(0, len(positives), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            names = ("user_ids", "target_item_ids", "history_start", "history_length", "events")
            columns = (getattr(positives, name)[rows] for name in names)
            drawn[rows] = self.draw(*columns, count=count, epoch=epoch)
        return drawn


def redraw_rows(data: PreparedData, negatives: NegativesConfig, epoch: int) -> Ids:
    """[S] the training split's target items in stored order, the negatives drawn anew (epoch 0: as stored)."""
    splits = [data.samples(split, _NO_CAP) for split in SPLITS]
    users = np.concatenate([each.user_ids[each.labels == 1] for each in splits])
    items = np.concatenate([each.target_item_ids[each.labels == 1] for each in splits])
    order = np.argsort(users, kind="stable")
    rows = RowNegatives(
        negatives=negatives,
        distribution=build_distribution(negatives, data.training_events[FIRST_REAL_ID:], data.manifest.unknown_items),
        events=data.event_item_ids,
        ids=np.arange(FIRST_REAL_ID + data.num_items, dtype=np.int32),
        user_starts=data.user_starts,
        target_users=users[order],
        target_item_ids=items[order],
    )
    samples = splits[SPLITS.index(Split.TRAIN)]
    targets = samples.target_item_ids.reshape(-1, 1 + negatives.per_positive).copy()  # a target's negatives follow it
    positives = samples.take(np.arange(len(targets)) * targets.shape[1])
    targets[:, 1:] = rows.draw_of(positives, count=negatives.per_positive, epoch=epoch)
    return targets.ravel()


def draw_fresh_rows(data: PreparedData, negatives: NegativesConfig, stored: Samples, epoch: int) -> tuple[Ints, Ids]:
    """Fresh negatives of the positives of rows that came with labels.

    They are items of these rows, as candidate of either label or as behaviour, and under `negatives.exclude: all` never
    a positive or a behaviour that the user has in these rows. Rows of other splits have no say in either.

    Args:
        stored: the training rows, or in a refit those and the validation rows, with whole histories.

    Returns:
        [P] the stored row of each positive that has a negative left, and [P, 1 + K] its item and its negatives.

    Raises:
        DataError: if no positive has one.
    """
    seen = np.flatnonzero(count_visits(len(data.event_item_ids), stored))  # events that are behaviours of these rows
    behaviours = data.event_item_ids[seen]
    in_rows = np.bincount(np.concatenate([stored.target_item_ids, behaviours]), minlength=len(data.training_events)) > 0
    every = build_distribution(negatives, data.training_events[FIRST_REAL_ID:], data.manifest.unknown_items)
    weights = in_rows[FIRST_REAL_ID:] * (np.int64(1) if every.weights is None else every.weights)
    distribution = ItemDistribution(data.num_items, weights, every.unknown if in_rows[UNKNOWN_ID] else 0)

    rows = np.flatnonzero(stored.labels == 1)
    positives = stored.take(rows)
    count = negatives.per_positive
    if negatives.exclude == "all":
        users = np.concatenate([np.searchsorted(data.user_starts, seen, side="right") - 1, positives.user_ids])
        items = np.concatenate([behaviours, positives.target_item_ids])
        drawn = draw_negatives(
            chosen=ChosenItems.of(users, np.zeros(len(users), np.int64), items, data.num_items),
            distribution=distribution,
            user_rows=np.repeat(positives.user_ids, count).astype(np.int64),
            until=np.zeros(len(rows) * count, np.int64),
            samples=number_samples(np.repeat(positives.events, count), np.tile(np.arange(count), len(rows))),
            seed=negatives.seed,
            epoch=epoch,
        ).reshape(-1, count)
    else:
        of_histories = RowNegatives(
            negatives=negatives,
            distribution=distribution,
            events=data.event_item_ids,
            ids=np.arange(FIRST_REAL_ID + data.num_items, dtype=np.int32),
            user_starts=data.user_starts,
            target_users=positives.user_ids[:0],
            target_item_ids=positives.target_item_ids[:0],
        )
        drawn = of_histories.draw_of(positives, count=count, epoch=epoch)
    left = drawn[:, 0] != 0  # all of a positive's are drawn from the same items, or none is
    if not left.any():
        raise DataError(
            f"{data.folder}: negatives.resample: no positive has an item of the training file left that its user has "
            "not chosen; use a log with more items, or negatives.exclude=history"
        )
    return rows[left], np.concatenate([positives.target_item_ids[:, None], drawn], axis=1)[left]
