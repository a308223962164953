"""A split cut by what its rows are: history length, popularity of the target, new or known target, context."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import UNKNOWN_ID

LENGTH_EDGES = (1, 5, 10, 20, 50)
POPULARITY_EDGES = (1, 5, 10, 20, 50, 100, 1000)

# Of a context field's values, the most frequent are slices of their own.
_MOST_VALUES = 30

Rows = NDArray[np.bool_]
Slices = Mapping[str, Sequence[tuple[str, Rows]]]


def find_slices(
    data: PreparedData, samples: Samples, context_values: Mapping[str, Sequence[str | None]]
) -> dict[str, list[tuple[str, Rows]]]:
    """Dimension -> its slices in order, each a name and [S] which rows are in it; empty ones are left out.

    Args:
        context_values: of each context field, what its ids stand for.
    """
    popularity = data.training_events[find_targets(samples)]  # [S]
    slices = {
        "history_length": list(_cut(samples.history_length, LENGTH_EDGES)),
        "target_popularity": list(_cut(popularity, POPULARITY_EDGES)),
        "target_item": [("new", popularity == 0), ("known", popularity > 0)],
        **{name: list(_cut_values(ids, context_values[name])) for name, ids in samples.context.items()},
    }
    return {key: [(name, rows) for name, rows in parts if rows.any()] for key, parts in slices.items()}


def find_targets(samples: Samples) -> NDArray[np.int32]:
    """[S] the item that a row is about: the positive of its impression, so that positive and negatives stay together.

    An impression is a run of rows with the same user and the same history. One without exactly one positive has no
    such item: there a row is about its own.
    """
    num_rows = len(samples)
    if not num_rows:
        return samples.target_item_ids
    same = np.ones(num_rows - 1, np.bool_)
    for column in (samples.user_ids, samples.history_start, samples.history_length):
        same &= column[1:] == column[:-1]
    impression = np.concatenate([[0], np.cumsum(~same)])  # [S]
    positive_rows = np.flatnonzero(samples.labels == 1)
    positives = np.bincount(impression[positive_rows], minlength=int(impression[-1]) + 1)
    item = np.zeros(len(positives), np.int32)
    item[impression[positive_rows]] = samples.target_item_ids[positive_rows]
    return np.where(positives[impression] == 1, item[impression], samples.target_item_ids)


def _cut(values: NDArray[Any], edges: Sequence[int]) -> Iterator[tuple[str, Rows]]:
    """Whole numbers from 0, cut below each edge."""
    place = np.searchsorted(edges, values, side="right")
    bounds = (0, *edges)
    for number, low in enumerate(bounds):
        last = number == len(edges)
        high = None if last else bounds[number + 1] - 1
        yield f"{low}+" if last else str(low) if high == low else f"{low}-{high}", place == number


def _cut_values(ids: NDArray[np.int32], values: Sequence[str | None]) -> Iterator[tuple[str, Rows]]:
    counts = np.bincount(ids, minlength=len(values))
    shown = np.sort(np.argsort(-counts, kind="stable")[:_MOST_VALUES])
    for value_id in shown:
        yield values[value_id] or ("unknown" if value_id == UNKNOWN_ID else "none"), ids == value_id
    yield "other", ~np.isin(ids, shown)
