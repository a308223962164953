"""A user and a candidate item as one sample: with the history that the data set has for them, if it has one."""

from dataclasses import dataclass

import numpy as np

from din_train.samples.split import SPLITS, Split
from din_train.samples.store import NO_EVENT, PreparedData, Samples
from din_train.samples.stored_histories import StoredHistories
from din_train.samples.vocabulary import UNKNOWN_ID


@dataclass(frozen=True)
class Pair:
    """samples: of one row. split: of the stored row that it is; None for one made of all the user's events."""

    samples: Samples
    split: Split | None

    @property
    def history(self) -> str:
        """Which behaviours those are, for people."""
        if self.split is None:
            return "all the user's events"
        clicked = "clicked" if self.samples.labels[0] else "did not click"
        return f"as the {self.split.name.lower()} split has them for this item, which the user {clicked}"


def find_pair(data: PreparedData, user_id: int, item_id: int, max_history_length: int) -> Pair:
    """The first of these that there is, histories cut to the newest `max_history_length` behaviours:

    1. the test row of the pair, a clicked one before one that was not, so that a test target is not in its own history;
    2. the row of a validation target, or else of a training target, that is the item;
    3. all the user's events (of ready-made samples: the user's longest history), with every context field unknown.

    Of several rows the newest.
    """
    for split in reversed(SPLITS):
        samples = data.samples(split, max_history_length)
        of_pair = (samples.user_ids == user_id) & (samples.target_item_ids == item_id)
        clicked = np.flatnonzero(of_pair & (samples.labels == 1))
        rows = np.flatnonzero(of_pair) if split is Split.TEST and not len(clicked) else clicked
        if len(rows):
            return Pair(samples.take(rows[-1:]), split)
    stored = StoredHistories.of(data)
    start, end = int(stored.starts[user_id]), int(stored.ends[user_id])
    kept = min(end - start, max_history_length)
    samples = Samples(
        user_ids=np.array([user_id], np.int32),
        target_item_ids=np.array([item_id], np.int32),
        history_start=np.array([end - kept], np.int64),
        history_length=np.array([kept], np.int32),
        labels=np.zeros(1, np.int8),
        events=np.full(1, NO_EVENT),
        context={name: np.array([UNKNOWN_ID], np.int32) for name in data.context_fields},
    )
    return Pair(samples, None)
