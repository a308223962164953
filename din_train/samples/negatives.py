"""Sampled negatives: items the user did not choose, drawn uniformly over all items.

Every draw is a pure function of (seed, epoch, sample, attempt), so negatives are the same whatever the
engine, the order of the rows or the number of workers. A draw that hits an excluded item is drawn again.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from din_train.samples.vocabulary import FIRST_REAL_ID

# Draws before falling back to listing what is left; reached only by users who own most of the items.
_MAX_ATTEMPTS = 64

Ids = NDArray[np.int32]


def draw_uniform(seed: int, epoch: int, samples: NDArray[np.int64], attempt: int, num_items: int) -> Ids:
    """One real item id a sample, uniform in [2, num_items + 2).

    Args:
        samples: [S] sample numbers, the counter of the generator.
        attempt: 0 for the first draw of a sample, 1 for its first redraw, ...
    """
    key = _mix(_mix(np.array([seed], np.uint64)) ^ np.array([epoch], np.uint64))
    bits = _mix(_mix(key ^ samples.astype(np.uint64)) + np.uint64(attempt))
    return (bits % np.uint64(num_items)).astype(np.int32) + np.int32(FIRST_REAL_ID)


@dataclass(frozen=True)
class ChosenItems:
    """Which items each user has chosen and when first, for exclusion.

    keys: sorted, user_row * num_items + item, one a distinct pair.
    first_positions: the pair's first position in the user's list.
    """

    keys: NDArray[np.int64]
    first_positions: NDArray[np.int64]
    num_items: int

    @classmethod
    def of(
        cls, user_rows: NDArray[np.int64], positions: NDArray[np.int64], item_ids: Ids, num_items: int
    ) -> "ChosenItems":
        """From events sorted by user and time: [E] user rows, positions in the user's list, item ids."""
        keys, first = np.unique(_pair_keys(user_rows, item_ids, num_items), return_index=True)
        return cls(keys, positions[first], num_items)

    def contains(self, user_rows: NDArray[np.int64], item_ids: Ids, until: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[S]: has the user chosen the item at a position <= `until`?"""
        wanted = _pair_keys(user_rows, item_ids, self.num_items)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        known: NDArray[np.bool_] = (self.keys[place] == wanted) & (self.first_positions[place] <= until)
        return known

    def remaining(self, user_row: int, until: int) -> Ids:
        """The item ids the user has not chosen by position `until`."""
        low, high = np.searchsorted(self.keys, [user_row * self.num_items, (user_row + 1) * self.num_items])
        taken = self.keys[low:high][self.first_positions[low:high] <= until] % self.num_items
        free = np.setdiff1d(np.arange(self.num_items), taken)
        return (free + FIRST_REAL_ID).astype(np.int32)


def draw_negatives(
    *,
    chosen: ChosenItems,
    user_rows: NDArray[np.int64],
    until: NDArray[np.int64],
    samples: NDArray[np.int64],
    seed: int,
    epoch: int,
) -> Ids:
    """One negative a sample, never an item its user has chosen at a position <= `until`.

    Args:
        chosen: the users' lists.
        user_rows: [S] whose sample it is.
        until: [S] last position that excludes: the target's own, or the end of the list.
        samples: [S] distinct sample numbers, the same whatever the order of the rows.
        seed: `negatives.seed`.
        epoch: 0 for negatives that never change.

    Returns:
        [S] item ids; 0 where the user has chosen every item and none is left.
    """
    drawn = draw_uniform(seed, epoch, samples, 0, chosen.num_items)
    pending = np.flatnonzero(chosen.contains(user_rows, drawn, until))
    for attempt in range(1, _MAX_ATTEMPTS):
        if not pending.size:
            return drawn
        drawn[pending] = draw_uniform(seed, epoch, samples[pending], attempt, chosen.num_items)
        pending = pending[chosen.contains(user_rows[pending], drawn[pending], until[pending])]
    for row in pending:
        free = chosen.remaining(int(user_rows[row]), int(until[row]))
        if free.size:
            place = draw_uniform(seed, epoch, samples[row : row + 1], _MAX_ATTEMPTS, free.size)[0] - FIRST_REAL_ID
            drawn[row] = free[place]
        else:
            drawn[row] = 0
    return drawn


def _pair_keys(user_rows: NDArray[np.int64], item_ids: Ids, num_items: int) -> NDArray[np.int64]:
    return user_rows * np.int64(num_items) + (item_ids.astype(np.int64) - FIRST_REAL_ID)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function (Steele, Lea and Flood 2014): a bijection that scatters nearby counters."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
