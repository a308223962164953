"""A prepared data set in memory with Electronics' lengths of histories, and batches of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Electronics 5-core (2014): table lengths with the two reserved ids, and log-lengths of histories in two slopes.
NUM_ITEMS, NUM_CATEGORIES, CAP = 63_003, 803, 100
LENGTH_QUANTILES = {0.0: 4, 1.2816: 15, 2.3263: 58}  # standard normal -> length: median, 90 and 99 per cent


def draw_lengths(random: np.random.Generator, size: int) -> NDArray[np.int32]:
    """History lengths as Electronics has them, 1 to the cap."""
    scores, lengths = np.array([*LENGTH_QUANTILES]), np.log([*LENGTH_QUANTILES.values()])
    slopes = np.diff(lengths) / np.diff(scores)
    drawn = random.normal(size=size)
    logs = lengths[0] + slopes[0] * drawn + (slopes[1] - slopes[0]) * np.maximum(drawn - scores[1], 0)
    return np.clip(np.rint(np.exp(logs)), 1, CAP).astype(np.int32)


def build_data(num_items: int, num_categories: int, num_samples: int) -> Any:
    """A prepared data set in memory: few items are popular, half the samples are clicks, histories may overlap."""
    from din_train.dataset.protocols import Split
    from din_train.dataset.store import PreparedData

    random = np.random.default_rng(7)

    def draw_items(size: int) -> NDArray[np.int32]:
        return (2 + (num_items - 2) * random.random(size) ** 2).astype(np.int32)

    num_events = 20 * num_samples + CAP
    columns = {
        "user_id": np.full(num_samples, 2, np.int32),
        "target_item_id": draw_items(num_samples),
        "history_start": random.integers(0, num_events - CAP, num_samples),
        "history_length": draw_lengths(random, num_samples),
        "label": random.integers(0, 2, num_samples).astype(np.int8),
        "event": np.arange(num_samples),
    }
    categories = random.integers(2, num_categories, num_items).astype(np.int32)
    categories[:2] = [0, 1]
    return PreparedData(
        folder=Path(),
        manifest=SimpleNamespace(fields={"context": []}, fingerprint="synthetic"),
        event_item_ids=draw_items(num_events),
        item_fields={"category": categories},
        user_fields={},
        num_values={"category": num_categories},
        training_events=np.ones(num_items, np.int64),
        user_starts=np.zeros(3, np.int64),
        _samples={Split.TRAIN: columns},
    )


def build_batches(data: Any, batch_size: int, *, padded: bool, longest_history: int = CAP) -> Any:
    """The product's training batches, with no id replaced."""
    from din_train.dataset.protocols import Split
    from din_train.training.training_batches import TrainingBatches

    return TrainingBatches(
        data,
        data.samples(Split.TRAIN, longest_history),
        batch_size=batch_size,
        max_history_length=longest_history,
        unknown_rate=0.0,
        seed=1,
        padded=padded,
    )
