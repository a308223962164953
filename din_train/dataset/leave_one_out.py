"""Training histories of all the other training events of a user, later ones too (`training.leave_one_out`)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from din_train.dataset.histories import find_rows
from din_train.dataset.protocols import SPLITS
from din_train.dataset.store import PreparedData, Samples

NO_CAP = 2**31 - 1

Ints = NDArray[np.int64]


def leave_one_out(
    data: PreparedData,
    samples: Samples,
    starts: Ints,
    *,
    share: float,
    max_history_length: int,
    random: np.random.Generator,
) -> Samples:
    """The samples with such a history in a share of the lists, drawn at random.

    The training events of a stored list of behaviours are those that a history of `samples` holds and, where the list
    goes on with the target of such a history, that target: a beginning of the list, so that events of rows which are
    not in `samples` are never in it. A history has the newest `max_history_length` of them, without the positive's own
    event, over which it jumps (`Samples.skipped`). Further sequences stay as they are.

    Args:
        samples: positives, each followed by its negatives.
        starts: [S] the first event row of each history before it was cut: where its list begins.
        share: of the positives, 0 to 1.
    """
    positives = np.flatnonzero(samples.labels == 1)
    lists = np.cumsum(samples.labels, dtype=np.int64) - 1  # [S] which positive a row is of
    start, end = starts[positives], samples.history_ends[positives]  # [P]
    own = np.where(start < end, _find_own(data, samples.take(positives), start), -1)  # an empty history is of no list
    _, of_list = np.unique(start, return_inverse=True)
    known = np.zeros(len(positives), np.int64)  # by list: the event row after its last training event
    np.maximum.at(known, of_list, end + (own == end))
    known = known[of_list]
    own = np.where(own < known, own, -1)
    width = np.int64(max_history_length)
    first = np.maximum(start, known - width)
    has_own = own >= first  # whether it is among the newest, so that one more is kept; -1 if it is in no list
    first = np.where(has_own, np.maximum(start, known - width - 1), first)
    length = np.minimum(known - first - has_own, width)
    chosen = (random.random(len(positives)) < share) & (start < end)
    rows = chosen[lists]
    return replace(
        samples,
        history_start=np.where(rows, first[lists], samples.history_start),
        history_length=np.where(rows, length[lists], samples.history_length).astype(np.int32),
        skipped=np.where(rows & has_own[lists], own[lists], -1),
    )


def _find_own(data: PreparedData, positives: Samples, start: Ints) -> Ints:
    """[P] the event row of each positive: of a log its own; of ready-made rows the next one with its item in its list.

    It is -1 if the list of a ready-made row has none.
    """
    if not data.manifest.histories.get("given"):
        return find_rows(data.event_columns["ordinal"], positives.events)
    list_ends = np.zeros(len(data.event_item_ids) + 1, np.int64)  # by its first row: of its longest history
    for split in SPLITS:
        samples = data.samples(split, NO_CAP)
        np.maximum.at(list_ends, samples.history_start, samples.history_ends)
    return find_next(data.event_item_ids, positives.target_item_ids, positives.history_ends, list_ends[start])


def find_next(events: NDArray[np.int32], items: NDArray[np.int32], first: Ints, until: Ints) -> Ints:
    """[P] the first event row in [first, until) with the item; -1 if there is none."""
    size = len(events) + 1
    keys = np.sort(events.astype(np.int64) * size + np.arange(len(events)))
    wanted = items.astype(np.int64) * size + first
    place = np.searchsorted(keys, wanted)
    found = np.append(keys, -1)[place]
    row = found - items.astype(np.int64) * size
    return np.where((found >= wanted) & (row < until), row, -1)
