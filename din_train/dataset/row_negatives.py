"""Negatives of rows that are positives only: drawn as for a log of clicks, with the history of their positive."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.config import NegativesConfig
from din_train.dataset.given_histories import spread
from din_train.dataset.negatives import ChosenItems, ItemDistribution, draw_negatives, number_samples

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
