"""Sampled negatives: items the user did not choose, drawn uniformly over all items or by their popularity.

Every draw is a pure function of (seed, epoch, sample, attempt), so negatives are the same whatever the
engine, the order of the rows or the number of workers. A draw that hits an excluded item is drawn again.

Items of the log that are not in the vocabulary are drawn like any other, as the unknown id: as targets they are that
id too, and an id that only positives have tells the label.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from din_train.config import NegativesConfig
from din_train.samples.vocabulary import FIRST_REAL_ID, UNKNOWN_ID

# Draws before falling back to listing what is left; reached only by users who own most of the items.
_MAX_ATTEMPTS = 64

# A negative's number is its target's row in `events` shifted by these bits, plus its own number among the target's.
_NEGATIVE_BITS = 16

Ids = NDArray[np.int32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class UnknownItems:
    """The items of the log that are not in the vocabulary: how many, and their training events together."""

    items: int
    training_events: int

    @classmethod
    def of(cls, is_unknown: NDArray[np.bool_], training_events: Ints) -> Self:
        """From every item of the log: [n] whether it is unknown, and its training events."""
        return cls(int(is_unknown.sum()), int(training_events[is_unknown].sum()))


@dataclass(frozen=True)
class ItemDistribution:
    """What negatives are drawn from.

    num_items: real items, ids 2 .. num_items + 1.
    weights: [num_items] whole numbers, of which an item's chance is a share; None for 1 each.
    unknown: the weight of all items out of the vocabulary together, which are drawn as the unknown id.
    """

    num_items: int
    weights: Ints | None = None
    unknown: int = 0

    @property
    def total(self) -> int:
        """The sum of all weights; 0 if nothing can be drawn."""
        return (self.num_items if self.weights is None else int(self.weights.sum())) + self.unknown

    def draw(self, bits: NDArray[np.uint64]) -> Ids:
        """[S] random bits -> [S] item ids."""
        places = _pick(bits, self.num_items, self.weights, self.unknown)
        ids = places.astype(np.int32) + np.int32(FIRST_REAL_ID)
        ids[places >= self.num_items] = UNKNOWN_ID
        return ids

    def draw_among(self, bits: NDArray[np.uint64], item_ids: Ids) -> int:
        """One of a few real ids or the unknown one; 0 if none of them can be drawn."""
        weights = None if self.weights is None else self.weights[item_ids - FIRST_REAL_ID]
        among = ItemDistribution(len(item_ids), weights, self.unknown)
        if not among.total:
            return 0
        place = int(_pick(bits, among.num_items, among.weights, among.unknown)[0])
        return int(item_ids[place]) if place < len(item_ids) else UNKNOWN_ID


def build_distribution(
    negatives: NegativesConfig, training_events: Ints, unknown_items: UnknownItems
) -> ItemDistribution:
    """What `negatives.distribution` means.

    Args:
        training_events: [num_items] of the real items.
        unknown_items: the log's others.
    """
    if negatives.distribution == "popularity":
        return ItemDistribution(len(training_events), training_events, unknown_items.training_events)
    return ItemDistribution(len(training_events), None, unknown_items.items)


def _pick(bits: NDArray[np.uint64], count: int, weights: Ints | None, unknown: int) -> Ints:
    """Places in 0 .. count - 1, and `count` or beyond for an unknown item."""
    if weights is None:
        return (bits % np.uint64(count + unknown)).astype(np.int64)
    up_to = np.cumsum(weights)
    total = int(weights.sum()) + unknown
    return np.searchsorted(up_to, (bits % np.uint64(total)).astype(np.int64), side="right")


def draw_bits(seed: int, epoch: int, samples: Ints, attempt: int) -> NDArray[np.uint64]:
    """[S] random bits, a counter-based generator's.

    Args:
        samples: [S] sample numbers, the counter.
        attempt: 0 for the first draw of a sample, 1 for its first redraw, ...
    """
    key = mix(mix(np.array([seed], np.uint64)) ^ np.array([epoch], np.uint64))
    return mix(mix(key ^ samples.astype(np.uint64)) + np.uint64(attempt))


@dataclass(frozen=True)
class ChosenItems:
    """Which items each user has chosen and when first, for exclusion.

    keys: sorted, user_row * num_items + item, one a distinct pair.
    first_positions: the pair's first position in the user's list.
    """

    keys: Ints
    first_positions: Ints
    num_items: int

    @classmethod
    def of(cls, user_rows: Ints, positions: Ints, item_ids: Ids, num_items: int) -> Self:
        """From events sorted by user and time: [E] user rows, positions in the user's list, item ids.

        Unknown items are left out: which of them a draw of the unknown id is cannot be told.
        """
        known = item_ids >= FIRST_REAL_ID
        if not known.all():
            user_rows, positions, item_ids = user_rows[known], positions[known], item_ids[known]
        keys, first = np.unique(_pair_keys(user_rows, item_ids, num_items), return_index=True)
        return cls(keys, positions[first], num_items)

    def contains(self, user_rows: Ints, item_ids: Ids, until: Ints) -> NDArray[np.bool_]:
        """[S]: has the user chosen the item at a position <= `until`? Never so of the unknown id."""
        if not len(self.keys):
            return np.zeros(len(user_rows), np.bool_)
        wanted = _pair_keys(user_rows, item_ids, self.num_items)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found: NDArray[np.bool_] = (self.keys[place] == wanted) & (self.first_positions[place] <= until)
        return found & (item_ids >= FIRST_REAL_ID)  # the unknown id has no key; it would be another user's

    def remaining(self, user_row: int, until: int) -> Ids:
        """The real item ids the user has not chosen by position `until`."""
        low, high = np.searchsorted(self.keys, [user_row * self.num_items, (user_row + 1) * self.num_items])
        taken = self.keys[low:high][self.first_positions[low:high] <= until] % self.num_items
        free = np.setdiff1d(np.arange(self.num_items), taken)
        return (free + FIRST_REAL_ID).astype(np.int32)


def draw_negatives(
    *,
    chosen: ChosenItems,
    distribution: ItemDistribution,
    user_rows: Ints,
    until: Ints,
    samples: Ints,
    seed: int,
    epoch: int,
) -> Ids:
    """One negative a sample, never an item its user has chosen at a position <= `until`.

    A user who has chosen unknown items may get the unknown id all the same: it cannot be told which one it is.

    Args:
        chosen: the users' lists.
        distribution: of all items.
        user_rows: [S] whose sample it is.
        until: [S] last position that excludes: the target's own, or the end of the list.
        samples: [S] distinct sample numbers, the same whatever the order of the rows.
        seed: `negatives.seed`.
        epoch: 0 for negatives that never change.

    Returns:
        [S] item ids; 0 where the user has chosen every item and none is left.
    """
    if not distribution.total:
        return np.zeros(len(samples), np.int32)
    drawn = distribution.draw(draw_bits(seed, epoch, samples, 0))
    pending = np.flatnonzero(chosen.contains(user_rows, drawn, until))
    for attempt in range(1, _MAX_ATTEMPTS):
        if not pending.size:
            return drawn
        drawn[pending] = distribution.draw(draw_bits(seed, epoch, samples[pending], attempt))
        pending = pending[chosen.contains(user_rows[pending], drawn[pending], until[pending])]
    for row in pending:
        free = chosen.remaining(int(user_rows[row]), int(until[row]))
        drawn[row] = distribution.draw_among(draw_bits(seed, epoch, samples[row : row + 1], _MAX_ATTEMPTS), free)
    return drawn


def number_samples(event_rows: Ints, slots: Ints) -> Ints:
    """[S] numbers of sampled negatives, the counters of their draws.

    Args:
        event_rows: [S] rows of their targets in `events`.
        slots: [S] 0 for the first negative of a target, 1 for its second, ...
    """
    return (event_rows << _NEGATIVE_BITS) + slots


def find_last_excluded(negatives: NegativesConfig, positions: Ints, num_clicks: Ints) -> Ints:
    """[S] the last position of the user's list whose item may not be a negative.

    Args:
        positions: [S] of the targets in their users' lists.
        num_clicks: [S] lengths of those lists.
    """
    return positions if negatives.exclude == "history" else num_clicks - 1


def _pair_keys(user_rows: Ints, item_ids: Ids, num_items: int) -> Ints:
    return user_rows * np.int64(num_items) + (item_ids.astype(np.int64) - FIRST_REAL_ID)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function (Steele, Lea and Flood 2014): a bijection that scatters nearby counters."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
