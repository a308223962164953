"""Batches: padding on the right, newest kept, buckets, each sample once an epoch, unknown ids in training only."""

from collections.abc import Sequence

import numpy as np
import pytest
from log_factory import prepare_events

from din_train.batches import (
    EvaluationBatches,
    Parts,
    TrainingBatches,
    build_batch,
    choose_parts,
    round_up_to_bucket,
)
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData

EVENTS = [(f"u{n % 11}", f"i{(n * 7) % 97}", f"c{n % 5}", n) for n in range(250)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare_events(tmp_path_factory.mktemp("log"), EVENTS)[0]


def make_training(data: PreparedData, *, unknown_rate: float = 0.0, seed: int = 1) -> TrainingBatches:
    return TrainingBatches(
        data,
        data.samples(Split.TRAIN, 100),
        batch_size=32,
        max_history_length=100,
        unknown_rate=unknown_rate,
        seed=seed,
    )


def collect(batches: TrainingBatches | EvaluationBatches, key: str) -> list[int]:
    return np.concatenate([inputs[key] for inputs, _ in batches]).tolist()


@pytest.mark.parametrize(
    ("longest", "cap", "expected"), [(0, 100, 8), (8, 100, 8), (9, 100, 16), (65, 100, 100), (3, 5, 5), (100, 100, 100)]
)
def test_buckets(longest: int, cap: int, expected: int) -> None:
    assert round_up_to_bucket(longest, cap) == expected


def test_a_batch_by_hand(data: PreparedData) -> None:
    samples = data.samples(Split.TEST, 3)
    inputs, labels = build_batch(data, samples, np.array([0, 1]), 3)
    start = samples.history_start[0]
    history = data.event_item_ids[start : start + 3].tolist()
    assert inputs["history_item_ids"].tolist() == [history, history]
    assert data.event_item_ids[start + 3] == inputs["target_item_id"][0]  # the target follows its history
    assert inputs["history_length"].tolist() == [3, 3]
    assert labels.tolist() == [1.0, 0.0]
    assert {each.dtype.name for each in inputs.values()} == {"int32"}


def test_padding_is_zero_and_on_the_right(data: PreparedData) -> None:
    samples = data.samples(Split.TRAIN, 100)
    inputs, _ = build_batch(data, samples, np.arange(40), 100)
    valid = np.arange(inputs["history_item_ids"].shape[1]) < inputs["history_length"][:, None]
    assert (inputs["history_item_ids"][valid] >= 2).all()
    assert (inputs["history_item_ids"][~valid] == 0).all()
    assert (~valid).any()


def test_an_epoch_sees_each_sample_once_in_an_order_of_its_own(data: PreparedData) -> None:
    batches = make_training(data)
    samples = data.samples(Split.TRAIN, 100)
    orders = []
    for epoch in (0, 1, 0):
        batches.start_epoch(epoch)
        orders.append(collect(batches, "target_item_id"))
        assert sorted(orders[-1]) == sorted(samples.target_item_ids.tolist())
    assert orders[0] == orders[2] != orders[1]
    assert collect(make_training(data, seed=2), "target_item_id") != orders[0]


def test_evaluation_keeps_the_stored_order(data: PreparedData) -> None:
    samples = data.samples(Split.TEST, 100)
    batches = EvaluationBatches(data, samples, batch_size=5, max_history_length=100)
    assert collect(batches, "target_item_id") == samples.target_item_ids.tolist()
    assert len(batches) == len(list(batches)) == -(-len(samples) // 5)


def test_a_share_of_training_ids_is_unknown_and_padding_stays(data: PreparedData) -> None:
    for key in ("target_item_id", "history_item_ids"):
        before, after = (
            np.concatenate([inputs[key].ravel() for inputs, _ in make_training(data, unknown_rate=rate)])
            for rate in (0.0, 0.2)
        )
        changed = before != after
        assert set(after[changed].tolist()) == {1}
        assert (after[before == 0] == 0).all()
        assert changed.sum() / (before != 0).sum() == pytest.approx(0.18, abs=0.06)


def test_datasets_give_the_same_batches(data: PreparedData) -> None:
    batches = make_training(data, unknown_rate=0.1)
    dataset = batches.to_dataset()
    assert int(dataset.cardinality()) == len(batches)
    for (inputs, labels), (tensors, tensor_labels) in zip(batches, dataset, strict=True):
        assert labels.tolist() == tensor_labels.numpy().tolist()
        for key, value in inputs.items():
            assert value.tolist() == tensors[key].numpy().tolist()


def test_a_pass_may_begin_inside_its_epoch_and_the_next_does_not(data: PreparedData) -> None:
    batches = make_training(data, unknown_rate=0.1)
    batches.start_epoch(3)
    whole = [inputs["history_item_ids"].tolist() for inputs, _ in batches]
    batches.start_epoch(3, 2)
    dataset = batches.to_dataset(2)
    assert int(dataset.cardinality()) == len(whole) - 2
    assert [inputs["history_item_ids"].numpy().tolist() for inputs, _ in dataset] == whole[2:]
    batches.start_epoch(3)
    assert [inputs["history_item_ids"].tolist() for inputs, _ in batches] == whole


@pytest.mark.parametrize("padded", [False, True], ids=["flat", "padded"])
def test_parts_hold_the_rows_of_the_whole_batch(data: PreparedData, padded: bool) -> None:
    """Each row once, with its own label and history; padded parts ascend by length, flat ones keep the order."""
    parts = Parts((0.5, 0.75), by_length=True) if padded else Parts((0.5, 0.75))
    whole = make_training(data)
    cut = TrainingBatches(
        data,
        data.samples(Split.TRAIN, 100),
        batch_size=32,
        max_history_length=100,
        unknown_rate=0.0,
        seed=1,
        parts=parts,
    )
    dataset = cut.to_dataset()
    assert int(dataset.cardinality()) == len(whole)
    for (inputs, labels), (pieces, piece_labels), (tensors, _) in zip(whole, cut, dataset, strict=True):
        assert isinstance(pieces, tuple)
        assert len(pieces) == len(tensors) == 3
        lengths = np.concatenate([each["history_length"] for each in pieces])
        rows = describe_rows([inputs], labels)
        assert sorted(describe_rows(pieces, piece_labels)) == sorted(rows)
        if padded:
            assert (np.diff(lengths) >= 0).all()
            assert pieces[0]["history_item_ids"].shape[1] <= pieces[-1]["history_item_ids"].shape[1]
        else:
            assert describe_rows(pieces, piece_labels) == rows
        for piece, tensor in zip(pieces, tensors, strict=True):
            assert tensor["history_item_ids"].numpy().tolist() == piece["history_item_ids"].tolist()
    assert len(cut.shapes) >= 1


def describe_rows(pieces: Sequence[dict[str, np.ndarray]], labels: np.ndarray) -> list[tuple[object, ...]]:
    """(user, target, history, label) of each row."""
    rows = [
        (int(user), int(target), tuple(history[:length].tolist()))
        for piece in pieces
        for user, target, history, length in zip(
            piece["user_id"], piece["target_item_id"], piece["history_item_ids"], piece["history_length"], strict=True
        )
    ]
    return [(*row, float(label)) for row, label in zip(rows, labels, strict=True)]


@pytest.mark.parametrize(
    ("batch_size", "padded", "expected"), [(32, False, 1), (1024, False, 2), (8192, False, 8), (1 << 17, False, 8)]
)
def test_one_part_for_every_few_hundred_rows(batch_size: int, padded: bool, expected: int) -> None:
    assert len(choose_parts(batch_size, padded=padded).cuts) + 1 == expected


def test_padded_blocks_halve() -> None:
    rows, lengths = np.arange(1024), np.arange(1024, dtype=np.int32)[::-1]
    blocks = choose_parts(1024, padded=True).cut(rows, lengths)
    assert [len(block) for block in blocks] == [512, 256, 128, 64, 32, 32]
    assert blocks[-1].tolist() == list(range(31, -1, -1))


def test_a_pass_can_begin_at_a_later_step(data: PreparedData) -> None:
    batches = make_training(data, unknown_rate=0.1)
    every = [inputs["target_item_id"].tolist() for inputs, _ in batches]
    batches.start_epoch(0, first_step=2)
    dataset = batches.to_dataset(first_step=2)
    assert int(dataset.cardinality()) == len(every) - 2
    assert [inputs["target_item_id"].numpy().tolist() for inputs, _ in dataset] == every[2:]
