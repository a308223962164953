"""Negatives of rows that are positives only: drawn as for a log of clicks, with the history of their positive."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.config import NegativesConfig
from din_train.dataset.given_histories import spread
from din_train.dataset.negatives import (
    ChosenItems,
    ItemDistribution,
    build_distribution,
    draw_negatives,
    number_samples,
)
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import PreparedData
from din_train.dataset.vocabulary import FIRST_REAL_ID

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
    for first in range(0, len(targets), _ROWS_AT_ONCE):
        positives = samples.take(np.arange(first, min(first + _ROWS_AT_ONCE, len(targets))) * targets.shape[1])
        targets[first : first + len(positives), 1:] = rows.draw(
            positives.user_ids,
            positives.target_item_ids,
            positives.history_start,
            positives.history_length,
            positives.events,
            count=negatives.per_positive,
            epoch=epoch,
        )
    return targets.ravel()
