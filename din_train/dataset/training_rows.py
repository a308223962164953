"""Which rows a model is trained on: with fresh negatives for an epoch, and with those of validation for a refit."""

import numpy as np
from numpy.typing import NDArray

from din_train.config import NegativesConfig
from din_train.dataset.column_file import map_columns
from din_train.dataset.negatives import (
    ChosenItems,
    build_distribution,
    draw_negatives,
    find_last_excluded,
    number_samples,
)
from din_train.dataset.protocols import Split
from din_train.dataset.row_negatives import redraw_rows
from din_train.dataset.samples import BLOCK_ROWS
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import FIRST_REAL_ID

_NO_CAP = 2**31 - 1


def redraw_training_negatives(data: PreparedData, negatives: NegativesConfig, epoch: int) -> NDArray[np.int32]:
    """[S] the training split's target items in stored order, the sampled ones drawn anew (epoch 0: as stored).

    A function of (`negatives.seed`, epoch, sample) alone.
    """
    if data.manifest.histories.get("given"):
        return redraw_rows(data, negatives, epoch)
    samples = data.samples(Split.TRAIN, _NO_CAP)
    targets = samples.target_item_ids.copy()
    distribution = build_distribution(negatives, data.training_events[FIRST_REAL_ID:], data.manifest.unknown_items)
    ends = np.append(data.user_starts[1:], len(data.event_item_ids))  # by user id
    ordinals = map_columns(data.folder / "events.arrow")["ordinal"]
    first = 0
    while first < len(samples):
        last = _end_of_users(samples.user_ids, first)
        users = samples.user_ids[first:last]
        low, high = int(users[0]), int(users[-1])
        start, end = int(data.user_starts[low]), int(ends[high])
        counts = ends[low : high + 1] - data.user_starts[low : high + 1]  # [users]
        user_rows = np.repeat(np.arange(len(counts)), counts)
        positions = np.arange(end - start) - np.repeat(data.user_starts[low : high + 1] - start, counts)
        chosen = ChosenItems.of(user_rows, positions, data.event_item_ids[start:end], data.num_items)

        positive = samples.labels[first:last] == 1
        rows = np.arange(last - first)
        slots = rows - np.maximum.accumulate(np.where(positive, rows, 0)) - 1  # 0 for the first after its positive
        drawn = np.flatnonzero(~positive)
        of_users = users[drawn].astype(np.int64) - low
        target_rows = start + find_rows(ordinals[start:end], samples.events[first:last][drawn])
        targets[first + drawn] = draw_negatives(
            chosen=chosen,
            distribution=distribution,
            user_rows=of_users,
            until=find_last_excluded(negatives, target_rows - data.user_starts[users[drawn]], counts[of_users]),
            samples=number_samples(target_rows, slots[drawn]),
            seed=negatives.seed,
            epoch=epoch,
        )
        first = last
    return targets


def find_rows(ordinals: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """[S] the row of `ordinals`, distinct numbers in any order, that holds each wanted one; all of them are there."""
    order = np.argsort(ordinals)
    return order[np.searchsorted(ordinals, wanted, sorter=order)]


def _end_of_users(user_ids: NDArray[np.int32], first: int) -> int:
    """Where a block of whole users ends that begins at row `first`."""
    end = first + BLOCK_ROWS
    return len(user_ids) if end >= len(user_ids) else int(np.searchsorted(user_ids, user_ids[end - 1], side="right"))


def join_for_refit(training: Samples, validation: Samples, *, per_positive: int | None) -> Samples:
    """The training rows in their order, then the validation rows in theirs.

    Args:
        per_positive: how many negatives a validation target keeps, the first of its own, where negatives are sampled:
            as many as a training target has, whatever `negatives.evaluation_per_positive` is. None keeps all rows.
    """
    if per_positive is not None:
        validation = validation.take(np.flatnonzero(_count_since_positive(validation.labels) <= per_positive))
    return Samples.join([training, validation])


def _count_since_positive(labels: NDArray[np.int8]) -> NDArray[np.int64]:
    """[S] 0 for a target, 1 for its first negative, ...: a target's negatives follow it."""
    rows = np.arange(len(labels))
    return rows - np.maximum.accumulate(np.where(labels == 1, rows, 0))
