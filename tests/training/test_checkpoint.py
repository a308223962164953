"""Saved states: every variable comes back, the last few stay, damaged ones are told apart, best weights with them."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from din_train.errors import RunError
from din_train.training.checkpoint import (
    Phase,
    Position,
    State,
    find_newest_position,
    read_checkpoint,
    read_newest_state,
    restore_best,
    restore_variables,
    write_checkpoint,
    write_state,
)


def make_model(units: int = 3) -> Any:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)])
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def train(model: Any) -> None:
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    model.train_on_batch(x, np.ones((4, model.output_shape[1]), np.float32))


def save(folder: Path, model: Any, epoch: int, step: int, *, phase: Phase = "selection", best: Any = None) -> None:
    position = Position(phase, epoch, step)
    callbacks = {"EarlyStopping": {"wait": 1, "best": 0.1 + 0.2}}
    write_state(folder, State(position, False, "fp", best, "{}\n", callbacks, {}), model, keep=2)


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def unexpected(line: str) -> None:
    raise AssertionError(line)


def test_every_variable_comes_back_bit_by_bit(tmp_path: Path) -> None:
    model, other = make_model(), make_model()
    train(model)
    save(tmp_path, model, 1, 4)
    state = read_newest_state(tmp_path, report=unexpected)
    assert state is not None
    restore_variables(state, other)
    for variables in ("variables", "metrics_variables"):
        for one, two in zip(getattr(model, variables), getattr(other, variables), strict=True):
            assert one.numpy().tobytes() == two.numpy().tobytes()
    for one, two in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        assert one.numpy().tobytes() == two.numpy().tobytes()
    assert len(model.variables) == 3  # kernel, bias, and what dropout draws from
    assert len(model.metrics_variables) == 2  # the running loss
    train(model)
    train(other)
    assert model.get_weights()[0].tobytes() == other.get_weights()[0].tobytes()  # dropout drew the same
    assert (state.position, state.history, state.callbacks) == (
        Position("selection", 1, 4), "{}\n", {"EarlyStopping": {"wait": 1, "best": 0.1 + 0.2}},
    )  # fmt: skip


def test_the_last_stay_in_the_order_of_training(tmp_path: Path) -> None:
    model = make_model()
    for epoch, step in ((1, 20), (2, 0), (2, 9), (2, 10)):
        save(tmp_path, model, epoch, step)
    names = [f"state-2-{step}.{suffix}" for step in (10, 9) for suffix in ("json", "npz")]
    assert list_names(tmp_path) == names
    save(tmp_path, model, 0, 3, phase="refit")  # comes after all of the selection
    assert list_names(tmp_path) == [
        *(f"state-2-10.{suffix}" for suffix in ("json", "npz")),
        *(f"state-refit-0-3.{suffix}" for suffix in ("json", "npz")),
    ]
    assert find_newest_position(tmp_path) == Position("refit", 0, 3)


def test_without_its_record_a_state_is_not_there(tmp_path: Path) -> None:
    model = make_model()
    save(tmp_path, model, 1, 0)
    save(tmp_path, model, 2, 0)
    (tmp_path / "state-2-0.json").unlink()
    state = read_newest_state(tmp_path, report=unexpected)
    assert state is not None
    assert state.position == Position("selection", 1, 0)
    assert list_names(tmp_path) == ["state-1-0.json", "state-1-0.npz"]


@pytest.mark.parametrize(
    ("name", "contents"), [("state-2-0.npz", b"PK"), ("state-2-0.json", b"{"), ("state-2-0.json", b'{"sha256": 1}')]
)
def test_a_damaged_one_is_reported_removed_and_the_one_before_used(tmp_path: Path, name: str, contents: bytes) -> None:
    model, lines = make_model(), list[str]()
    save(tmp_path, model, 1, 0)
    save(tmp_path, model, 2, 0)
    (tmp_path / name).write_bytes(contents)
    state = read_newest_state(tmp_path, report=lines.append)
    assert state is not None
    assert state.position == Position("selection", 1, 0)
    assert len(lines) == 1
    assert lines[0].startswith(f"{tmp_path}/state-2-0.npz: damaged (")
    assert list_names(tmp_path) == ["state-1-0.json", "state-1-0.npz"]


def test_none_is_left(tmp_path: Path) -> None:
    assert read_newest_state(tmp_path / "nowhere", report=unexpected) is None
    save(tmp_path, make_model(), 1, 0)
    (tmp_path / "state-1-0.npz").write_bytes(b"")
    lines: list[str] = []
    assert read_newest_state(tmp_path, report=lines.append) is None
    assert lines == [f"{tmp_path}/state-1-0.npz: damaged (its SHA-256 is not the one saved with it)"]


def test_another_models_state_is_refused(tmp_path: Path) -> None:
    save(tmp_path, make_model(), 1, 0)
    state = read_newest_state(tmp_path, report=unexpected)
    assert state is not None
    with pytest.raises(RunError, match="does not fit"):
        restore_variables(state, make_model(units=4), ["model"])


def test_best_weights_of_the_state_take_the_place_of_newer_ones(tmp_path: Path) -> None:
    model = make_model()
    first = write_checkpoint(tmp_path, model, epoch=1, data_fingerprint="fp")
    weights = model.get_weights()[0].copy()
    save(tmp_path, model, 1, 0, best=first)
    train(model)
    second = write_checkpoint(tmp_path, model, epoch=2, data_fingerprint="fp")
    assert first.sha256 != second.sha256
    state = read_newest_state(tmp_path, report=unexpected)
    assert state is not None
    assert read_checkpoint(tmp_path) == first == state.best
    model.load_weights(tmp_path / "best.weights.h5")
    assert model.get_weights()[0].tolist() == weights.tolist()


def test_replaced_weights_go_with_the_last_state_that_names_them(tmp_path: Path) -> None:
    model = make_model()
    names = []
    for epoch in (1, 2, 3, 4):
        train(model)
        save(tmp_path, model, epoch, 0, best=write_checkpoint(tmp_path, model, epoch=epoch, data_fingerprint="fp"))
        names.append([name for name in list_names(tmp_path) if name.startswith("replaced")])
    assert [len(each) for each in names] == [0, 1, 1, 1]  # two states: the newest one's best is in its place
    assert names[1] != names[2] != names[3]


def test_best_weights_from_before_there_was_a_state_are_gone(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, make_model(), epoch=1, data_fingerprint="fp")
    assert restore_best(tmp_path, None)
    assert list_names(tmp_path) == []
