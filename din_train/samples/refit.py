"""The rows of a refit: training and validation together."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from din_train.samples.store import Samples


def join_for_refit(training: Samples, validation: Samples, *, per_positive: int | None) -> Samples:
    """The training rows in their order, then the validation rows in theirs.

    Args:
        per_positive: how many negatives a validation target keeps, the first of its own, where negatives are sampled:
            as many as a training target has, whatever `negatives.evaluation_per_positive` is. None keeps all rows.
    """
    if per_positive is not None:
        validation = validation.take(np.flatnonzero(_count_since_positive(validation.labels) <= per_positive))
    columns = {
        each.name: np.concatenate([getattr(training, each.name), getattr(validation, each.name)])
        for each in fields(Samples)
        if each.name != "context"
    }
    context = {name: np.concatenate([values, validation.context[name]]) for name, values in training.context.items()}
    return Samples(**columns, context=context)


def _count_since_positive(labels: NDArray[np.int8]) -> NDArray[np.int64]:
    """[S] 0 for a target, 1 for its first negative, ...: a target's negatives follow it."""
    rows = np.arange(len(labels))
    return rows - np.maximum.accumulate(np.where(labels == 1, rows, 0))
