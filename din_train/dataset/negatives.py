"""Sampled negatives: items the user did not choose, drawn uniformly over all items or by their popularity.

Every draw is a pure function of (seed, epoch, sample, attempt), so negatives are the same whatever the
engine, the order of the rows or the number of workers. A draw that hits an excluded item is drawn again.

Items of the log that are not in the vocabulary are drawn like any other, as the unknown id: as targets they are that
id too, and an id that only positives have tells the label.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from din_train.config import NegativesConfig
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID

# Draws before drawing among what is left; reached only by users who own most of the items.
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

    @cached_property
    def cumulative_weights(self) -> Ints:
        """[num_items + 1] the weight of the items before each, and of all real items at the end."""
        weights = np.ones(self.num_items, np.int64) if self.weights is None else self.weights
        return np.concatenate([[0], np.cumsum(weights)])

    def draw(self, bits: NDArray[np.uint64]) -> Ids:
        """[S] random bits -> [S] item ids."""
        numbers = (bits % np.uint64(self.total)).astype(np.int64)
        if self.weights is not None:
            numbers = np.searchsorted(self.cumulative_weights[1:], numbers, side="right")
        return _to_ids(numbers, self.num_items)


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


def _to_ids(places: Ints, num_items: int) -> Ids:
    """Places in 0 .. num_items - 1 -> real ids; what lies beyond is the unknown one."""
    ids = places.astype(np.int32) + np.int32(FIRST_REAL_ID)
    ids[places >= num_items] = UNKNOWN_ID
    return ids


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

    def of_users(self, users: Ints) -> tuple[Ints, Ints, Ints]:
        """The pairs of a few distinct users: [users] how many, [P] item places, [P] first positions."""
        low, high = np.searchsorted(self.keys, [users * self.num_items, (users + 1) * self.num_items])
        counts = high - low
        pairs = np.repeat(high - np.cumsum(counts), counts) + np.arange(counts.sum())
        return counts, self.keys[pairs] % self.num_items, self.first_positions[pairs]


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
    if pending.size:
        bits = draw_bits(seed, epoch, samples[pending], _MAX_ATTEMPTS)
        drawn[pending] = _draw_unchosen(chosen, distribution, user_rows[pending], until[pending], bits)
    return drawn


def _draw_unchosen(
    chosen: ChosenItems, distribution: ItemDistribution, user_rows: Ints, until: Ints, bits: NDArray[np.uint64]
) -> Ids:
    """[S] items among what each sample's user has not chosen by `until`, in proportion to their weights; 0 if none.

    Nothing is listed. `number` of the unchosen weight lies behind exactly those chosen items that have no more than
    it of unchosen weight before them: a binary search over the user's P chosen items finds them, all samples in step,
    in O((P + S) log^2 P). What a block of chosen items weighs by `until` is a difference of cumulative sums over the
    blocks' items in order of their first positions.
    """
    users, owners = np.unique(user_rows, return_inverse=True)
    counts, items, first = chosen.of_users(users)
    starts = np.cumsum(counts) - counts
    places = np.arange(len(items)) - np.repeat(starts, counts)  # [P] among the user's chosen items
    before_item = distribution.cumulative_weights
    weights = np.diff(before_item)[items]  # [P]
    width = 1 << int(counts.max() - 1).bit_length()
    span = int(first.max()) + 2
    until = np.clip(until, -1, span - 2)

    def weigh_blocks(width: int, blocks: Ints, blocks_a_user: int) -> Ints:
        """[S] the weight of the items chosen by `until` in one block of `width` of the user's chosen items."""
        of_pairs = np.repeat(np.arange(len(users)), counts) * blocks_a_user + places // width
        keys = of_pairs * span + first + 1
        order = np.argsort(keys)
        sums = np.concatenate([[0], np.cumsum(weights[order])])
        block = (owners * blocks_a_user + blocks) * span
        begin, end = np.searchsorted(keys[order], [block, block + until + 1], side="right")
        weight: Ints = sums[end] - sums[begin]
        return weight

    blocks = np.zeros(len(user_rows), np.int64)
    unchosen = before_item[-1] - weigh_blocks(width, blocks, 1)
    total = unchosen + distribution.unknown
    number = (bits % np.maximum(total, 1).astype(np.uint64)).astype(np.int64)
    before = np.zeros(len(user_rows), np.int64)  # the chosen weight that lies before
    blocks_a_user = 1
    while width > 1:
        width, blocks, blocks_a_user = width // 2, 2 * blocks, 2 * blocks_a_user
        left = weigh_blocks(width, blocks, blocks_a_user)
        middle = (blocks + 1) * width
        item = items[starts[owners] + np.minimum(middle, counts[owners] - 1)]
        is_right = (middle < counts[owners]) & (before_item[item] - before - left <= number)
        blocks = blocks + is_right
        before += np.where(is_right, left, 0)
    nearest = starts[owners] + blocks
    is_before = (first[nearest] <= until) & (before_item[items[nearest]] - before <= number)
    before += np.where(is_before, weights[nearest], 0)
    ids = _to_ids(np.searchsorted(before_item[1:], number + before, side="right"), distribution.num_items)
    ids[number >= unchosen] = UNKNOWN_ID
    ids[total == 0] = 0
    return ids


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
