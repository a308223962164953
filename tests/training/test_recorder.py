"""What the history says of the model."""

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from din_train.training.recorder import compute_embedding_norm, read_learning_rate


def test_embedding_norm_is_the_mean_over_real_items() -> None:
    items = keras.Variable(np.array([[90, 0], [0, 70], [3, 4], [0, 1]], np.float32))  # padding, unknown, two items
    embedding = SimpleNamespace(items=items, item_row_ids=None)
    model: Any = SimpleNamespace(item_embedding=embedding)
    assert compute_embedding_norm(model) == pytest.approx((5 + 1) / 2)
    embedding.item_row_ids = keras.Variable(np.array([0, 1, 2, 1], np.int32))  # the last shares the unknown item's row
    assert compute_embedding_norm(model) == pytest.approx(5)


def test_learning_rate_of_a_schedule_is_that_of_the_step_to_come() -> None:
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
    model: Any = SimpleNamespace(optimizer=keras.optimizers.SGD(schedule))
    assert read_learning_rate(model) == 0.5
    model.optimizer.iterations.assign(2)
    assert read_learning_rate(model) == 0.25
