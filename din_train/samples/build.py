"""Sorted events -> samples: each target with its history length, its label and its negatives beside it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from din_train.config import NegativesConfig
from din_train.samples.negatives import ChosenItems, draw_negatives
from din_train.samples.split import Split, assign_splits

# A sample's number is its target's row in `events` shifted by these bits, plus the negative's own number.
_NEGATIVE_BITS = 16

SPLIT_NAMES = [split.name.lower() for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)]


@dataclass(frozen=True)
class BuiltSamples:
    """The rows of `samples`, and how many negatives could not be drawn because nothing was left to draw."""

    table: pa.Table
    negatives_not_drawn: int


def build_samples(events: pa.Table, *, num_items: int, protocol: str, negatives: NegativesConfig) -> BuiltSamples:
    """Targets by the protocol, each positive followed by its negatives.

    Args:
        events: user_id, item_id of every event, sorted by user and time.
        num_items: real items, ids 2 .. num_items + 1.

    Returns:
        user_id int32, target_item_id int32, history_length int32 (the user's events before the target),
        label int8, split (string); sorted by split, user, position.
    """
    user_ids = events["user_id"].to_numpy()
    item_ids = events["item_id"].to_numpy()
    _, first_rows, counts = np.unique(user_ids, return_index=True, return_counts=True)
    user_rows = np.repeat(np.arange(len(counts)), counts)  # [events]
    positions = np.arange(len(user_ids)) - np.repeat(first_rows, counts)
    splits = assign_splits(counts, protocol)
    chosen = ChosenItems.of(user_rows, positions, item_ids, num_items)

    parts: list[pa.Table] = []
    not_drawn = 0
    for split in (Split.TRAIN, Split.VALIDATION, Split.TEST):
        targets = np.flatnonzero(splits == split)  # [P]
        per_positive = negatives.per_positive if split is Split.TRAIN else negatives.evaluation_per_positive
        drawn = draw_negatives(
            chosen=chosen,
            user_rows=np.repeat(user_rows[targets], per_positive),
            until=np.repeat(_last_excluding(negatives, positions, counts, user_rows, targets), per_positive),
            samples=((targets[:, None] << _NEGATIVE_BITS) + np.arange(per_positive)).ravel(),
            seed=negatives.seed,
            epoch=0,
        ).reshape(-1, per_positive)  # [P, K]
        candidates = np.concatenate([item_ids[targets, None], drawn], axis=1)  # [P, 1 + K]
        kept = candidates.ravel() != 0
        not_drawn += int((~kept).sum())
        columns = {
            "user_id": np.repeat(user_ids[targets], 1 + per_positive)[kept],
            "target_item_id": candidates.ravel()[kept],
            "history_length": np.repeat(positions[targets], 1 + per_positive)[kept].astype(np.int32),
            "label": np.tile(np.eye(1, 1 + per_positive, dtype=np.int8)[0], len(targets))[kept],
        }
        name = pa.DictionaryArray.from_arrays(np.full(int(kept.sum()), int(split), np.int8), SPLIT_NAMES)
        parts.append(pa.table({**columns, "split": name}))
    return BuiltSamples(pa.concat_tables(parts), not_drawn)


def _last_excluding(
    negatives: NegativesConfig,
    positions: NDArray[np.int64],
    counts: NDArray[np.int64],
    user_rows: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> NDArray[np.int64]:
    """[P] the last position of the user's list whose item may not be a negative."""
    return positions[targets] if negatives.exclude == "history" else counts[user_rows[targets]] - 1
