"""Training samples of a prepared data set as the padded arrays that other toolkits take."""

import numpy as np
from numpy.typing import NDArray

from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.dataset.vocabulary import PAD_ID


def draw_padded_samples(
    data: PreparedData, count: int, *, max_history_length: int, seed: int
) -> dict[str, NDArray[np.int32]]:
    """Some of the training samples, drawn without replacement, in an order drawn with them.

    Args:
        count: how many; at most as many as there are.
        max_history_length: T; a longer history keeps its newest behaviours.

    Returns:
        row [S], the place in the training split; target_item_id, target_category_id, history_length, label [S];
        history_item_ids, history_category_ids [S, T], oldest first, padded with 0 on the right.
    """
    samples = data.samples(Split.TRAIN, max_history_length)
    rows = np.random.default_rng(seed).permutation(len(samples))[:count]
    length = samples.history_length[rows]
    places = np.arange(max_history_length)
    valid = places < length[:, None]  # [S, T]
    history = np.full(valid.shape, PAD_ID, np.int32)
    history[valid] = data.event_item_ids[(samples.history_start[rows][:, None] + places)[valid]]
    target = samples.target_item_ids[rows]
    return {
        "row": rows.astype(np.int32),
        "target_item_id": target,
        "target_category_id": data.item_category_ids[target],
        "history_item_ids": history,
        "history_category_ids": data.item_category_ids[history],
        "history_length": length,
        "label": samples.labels[rows].astype(np.int32),
    }
