"""The samples of a data set by the rows of the log that they are of, with what preparation gave them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from din_train.dataset.protocols import SPLITS
from din_train.dataset.store import PreparedData

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class StoredRows:
    """events: [R] rows of the log, ascending. The other columns are [R] as `Samples` has them."""

    events: Ints
    user_ids: NDArray[np.int32]
    history_start: Ints
    history_length: NDArray[np.int32]
    context: Mapping[str, NDArray[np.int32]]

    @classmethod
    def of(cls, data: PreparedData, max_history_length: int) -> Self:
        """Those of all splits, histories cut to their newest."""
        splits = [data.samples(split, max_history_length) for split in SPLITS]
        events, rows = np.unique(np.concatenate([each.events for each in splits]), return_index=True)
        return cls(
            events=events,
            user_ids=np.concatenate([each.user_ids for each in splits])[rows],
            history_start=np.concatenate([each.history_start for each in splits])[rows],
            history_length=np.concatenate([each.history_length for each in splits])[rows],
            context={
                name: np.concatenate([each.context[name] for each in splits])[rows] for name in data.context_fields
            },
        )

    def find(self, wanted: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """[S] rows of the log -> [S] places here, and whether they are there (else the place is any)."""
        places = np.minimum(np.searchsorted(self.events, wanted), max(len(self.events) - 1, 0))
        found: NDArray[np.bool_] = (
            self.events[places] == wanted if len(self.events) else np.zeros(len(wanted), np.bool_)
        )
        return places, found
