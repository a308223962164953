"""Brings rows with equal histories together, so that their history is read and computed with once."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from din_train.dataset.store import Samples


def unify_histories(samples: Samples, event_item_ids: NDArray[np.int32]) -> Samples:
    """The rows, those with equal lists of ids being slices of the same events: of histories that the rows give."""

    def unify(start: NDArray[np.int64], length: NDArray[np.int32]) -> NDArray[np.int64]:
        firsts: dict[bytes, int] = {}
        slices = zip(start.tolist(), length.tolist(), strict=True)
        found = (firsts.setdefault(event_item_ids[first : first + size].tobytes(), first) for first, size in slices)
        return np.fromiter(found, np.int64, len(start))

    return replace(
        samples,
        history_start=unify(samples.history_start, samples.history_length),
        sequences={name: (unify(*slices), slices[1]) for name, slices in samples.sequences.items()},
    )


def sort_by_history(samples: Samples) -> NDArray[np.int64]:
    """[S] the rows in an order in which those of one user, one history and one time follow each other."""
    columns = [column for slices in samples.all_sequences.values() for column in slices]
    columns += [each for each in (samples.timestamps, samples.user_ids) if each is not None]
    return np.lexsort(columns)
