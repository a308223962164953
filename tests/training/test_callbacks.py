"""What an epoch's record says about the model, and callbacks that go on from a saved state."""

import json
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from din_train.training.callbacks import (
    EpochMeter,
    ResumableEarlyStopping,
    ResumableReduceLROnPlateau,
    compute_embedding_norm,
    read_learning_rate,
)


def test_embedding_norm_is_the_mean_over_real_items() -> None:
    items = keras.Variable(np.array([[90, 0], [0, 70], [3, 4], [0, 1]], np.float32))  # padding, unknown, two items
    embedding = SimpleNamespace(items=items, item_row_ids=None)
    model: Any = SimpleNamespace(item_embedding=embedding)
    assert compute_embedding_norm(model) == pytest.approx((5 + 1) / 2)
    embedding.item_row_ids = keras.Variable(np.array([0, 1, 2, 1], np.int32))  # the last shares the unknown item's row
    assert compute_embedding_norm(model) == pytest.approx(5)
    embedding.item_row_ids.assign(np.array([0, 1, 3, 3], np.int32))  # both are hashed to the last row
    assert compute_embedding_norm(model) == pytest.approx(1)
    embedding.item_row_ids = keras.Variable(np.array([0, 1, 2], np.int32))  # more rows than items
    assert compute_embedding_norm(model) == pytest.approx(5)


def test_learning_rate_of_a_schedule_is_that_of_the_step_to_come() -> None:
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
    model: Any = SimpleNamespace(optimizer=keras.optimizers.SGD(schedule))
    assert read_learning_rate(model) == 0.5
    model.optimizer.iterations.assign(2)
    assert read_learning_rate(model) == 0.25


SELECTING = [
    lambda: ResumableEarlyStopping("loss", mode="min", patience=3),
    lambda: ResumableReduceLROnPlateau("loss", mode="min", factor=0.5, patience=2, cooldown=1, min_delta=0.0),
]


@pytest.mark.parametrize("build", SELECTING)
def test_keras_callbacks_go_on_from_their_state_as_if_never_stopped(build: Any) -> None:
    losses = [0.5, 0.4, 0.45, 0.41, 0.42, 0.43, 0.44]
    model: Any = SimpleNamespace(optimizer=keras.optimizers.SGD(1.0), stop_training=False)
    for stop in range(1, len(losses)):
        whole, before, after = build(), build(), build()
        for each in (whole, before, after):
            each.set_model(model)
            each.on_train_begin()
        for epoch, loss in enumerate(losses):
            if epoch == stop:
                after.load_state_dict(json.loads(json.dumps(before.state_dict())))
            if epoch >= stop:
                differing = {name for name, value in vars(whole).items() if vars(after)[name] != value}
                assert differing <= {"monitor_op"}  # chosen anew from `mode`
            for each in (whole, before if epoch < stop else after):
                model.optimizer.learning_rate = 1.0
                each.on_epoch_end(epoch, {"loss": loss})


def test_an_epochs_time_is_the_sum_of_its_processes() -> None:
    batches: Any = SimpleNamespace(num_samples=6000, wait_seconds=1.0)
    model: Any = SimpleNamespace(
        optimizer=keras.optimizers.SGD(0.5),
        padded=False,
        item_embedding=SimpleNamespace(items=keras.Variable(np.ones((3, 4), np.float32)), item_row_ids=None),
    )
    records: list[dict[str, Any]] = []
    meter = EpochMeter(batches)
    meter.set_model(model)
    meter.load_state_dict({"seconds": 60.0, "wait_seconds": 29.0})
    for epoch in (3, 4):
        meter.on_epoch_begin(epoch)
        assert meter.state_dict()["seconds"] == pytest.approx(60.0 if epoch == 3 else 0.0, abs=1.0)
        records.append({})
        meter.on_epoch_end(epoch, records[-1])
        assert meter.state_dict() == {"seconds": 0.0, "wait_seconds": 0.0}
    assert records[0]["samples_per_second"] == pytest.approx(100, rel=0.02)
    assert records[0]["input_wait"] == pytest.approx(0.5, rel=0.02)
    assert records[1]["seconds"] < 1
    assert (records[0]["learning_rate"], records[0]["embedding_norm"]) == (0.5, 2.0)
