"""Which behaviours of a long history are of the candidate's own category: SIM's hard search (Pi et al., CIKM 2020).

The events of a data set are sorted by category once, those of one category in their order. Behaviours of a history that
are of a category then stand side by side, and two binary searches find them, however long the history is.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from din_train.config import SearchConfig
from din_train.dataset.histories import count_visits
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import FIRST_REAL_ID

Ints = NDArray[np.int64]

# The sequence of behaviours that is found, which candidates do not share.
SEARCHED = "searched"

_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class CategorySearch:
    """Finds the newest `keep` behaviours of a candidate's category, and cuts histories to the newest `recent`."""

    data: PreparedData
    keep: int
    recent: int

    @staticmethod
    def of(config: SearchConfig | None, data: PreparedData) -> "CategorySearch | None":
        """None if the model does not search."""
        return None if config is None else CategorySearch(data, config.keep, config.recent)

    def keep_recent(self, samples: Samples) -> Samples:
        """With the newest `recent` behaviours of each history alone."""
        length = np.minimum(samples.history_length, np.int32(self.recent))
        start, skipped = samples.history_start + (samples.history_length - length), samples.skipped
        if skipped is not None:
            jumped = (skipped >= 0) & (skipped <= start)  # before what is kept, which no longer jumps
            start, skipped = start + jumped, np.where(jumped, -1, skipped)
        return replace(samples, history_start=start, history_length=length, skipped=skipped)

    def count_visits(self, samples: Samples) -> Ints:
        """[events] how often an event is among the newest ones of a sample's history, or is found for a sample."""
        visits = count_visits(len(self.data.event_item_ids), self.keep_recent(samples))
        for start in range(0, len(samples), _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(samples)))
            visits += np.bincount(self.find(samples, rows)[0], minlength=len(visits))
        return visits

    def find(self, samples: Samples, rows: Ints) -> tuple[Ints, NDArray[np.int32]]:
        """[n] event rows of what is found for each of the rows, oldest first, row by row, and [M] how many it has.

        Nothing is found for a candidate without a category.

        Args:
            samples: with their whole histories.
        """
        size, index = len(self.data.event_item_ids), self.data.events_by_category
        categories = self.data.item_category_ids[samples.target_item_ids[rows]].astype(np.int64)
        start = samples.history_start[rows]
        end = start + samples.history_length[rows]
        skipped = np.full(len(rows), -1) if samples.skipped is None else samples.skipped[rows]
        skips = skipped >= 0
        start, end = start + (skips & (start >= skipped)), end + (skips & (end > skipped))  # as `read_histories` has it
        low, high, gap = (np.searchsorted(index, categories * size + each) for each in (start, end, skipped))
        in_index = index[np.minimum(gap, len(index) - 1)] == categories * size + skipped if len(index) else skips
        has_gap = skips & in_index & (low <= gap) & (gap < high)
        has_category = categories >= FIRST_REAL_ID
        length = np.where(has_category, np.clip(high - low - has_gap, 0, self.keep), 0)
        first = high - length
        crosses = has_gap & (gap >= first) & (length > 0)
        first = first - crosses
        before = np.cumsum(length) - length
        places = np.repeat(first - before, length) + np.arange(int(length.sum()))
        places += np.repeat(crosses, length) & (places >= np.repeat(gap, length))
        return index[places] - np.repeat(categories * size, length), length.astype(np.int32)
