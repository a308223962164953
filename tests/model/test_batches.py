"""Batches: padding on the right, newest kept, buckets, each sample once an epoch, unknown ids in training only."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import prepare_events

from din_train.batches import GROUP_ROWS, EvaluationBatches, build_batch, compute_block_rows, round_up_to_bucket
from din_train.dataset.category_search import CategorySearch
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.errors import ConfigError
from din_train.training import training_batches
from din_train.training.training_batches import TrainingBatches, check_batch_size, cut_into_blocks

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


def test_lists_stay_together_and_batches_have_whole_ones(data: PreparedData) -> None:
    """Every third row left out, lists have one row or two; a batch has as many as 32 rows are on average."""
    every = data.samples(Split.TRAIN, 100)
    samples = every.take(np.flatnonzero(np.arange(len(every)) % 3 != 1))
    lists = samples.find_lists()
    assert set(np.bincount(lists).tolist()) == {1, 2}
    options: dict[str, Any] = {"batch_size": 32, "max_history_length": 100, "unknown_rate": 0.0, "seed": 1}
    batches = TrainingBatches(data, samples, **options)
    expected = sorted(
        tuple(zip(samples.target_item_ids[lists == each], samples.labels[lists == each], strict=True))
        for each in range(lists[-1] + 1)
    )
    found, sizes = [], []
    for inputs, labels in batches:
        row = inputs["history_row"]
        assert (np.diff(row) >= 0).all()
        sizes.append(len(inputs["history_length"]))
        assert row.max() + 1 == sizes[-1] == len(inputs["history_item_ids"])
        found += [
            tuple(zip(inputs["target_item_id"][row == each], labels[row == each], strict=True))
            for each in range(sizes[-1])
        ]
    assert sorted(found) == expected
    assert set(sizes[:-1]) == {32 * len(expected) // len(samples)}
    assert len(batches) == len(sizes)
    padded = list(TrainingBatches(data, samples, **options, padded=True))
    assert {len(labels) for _, labels in padded[:-1]} == {32}  # cut at rows, since XLA compiles for every size
    assert sum(len(labels) for _, labels in padded) == len(samples)


def test_a_batch_has_no_more_rows_than_the_configured_size(tmp_path: Path) -> None:
    """24 rows are 4.8 lists; of five of them, blocks of 512 rows would be one row too many for the steps of XLA."""
    data, _ = prepare_events(tmp_path, EVENTS, negatives={"per_positive": 4})
    samples = data.samples(Split.TRAIN, 100)
    for padded in (False, True):
        batches = TrainingBatches(
            data, samples, batch_size=24, max_history_length=100, unknown_rate=0.0, seed=1, padded=padded
        )
        sizes = [len(labels) for _, labels in batches]
        assert set(sizes[:-1]) == {20}
        assert len(sizes) == len(batches)


def test_neighbours_share_a_history_in_evaluation(data: PreparedData) -> None:
    samples = data.samples(Split.TEST, 100)
    ((inputs, _),) = EvaluationBatches(data, samples, batch_size=100, max_history_length=100)
    alone, _ = build_batch(data, samples, np.arange(len(samples)), 100)
    assert inputs["history_row"].tolist() == np.repeat(np.arange(len(samples) // 2), 2).tolist()
    assert len(inputs["history_length"]) == len(samples) // 2
    for name in ("history_length", "history_item_ids"):
        assert inputs[name][inputs["history_row"]].tolist() == alone[name].tolist()


@pytest.mark.parametrize("searches", [False, True])
def test_replicas_share_a_batch_by_its_groups(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch, searches: bool
) -> None:
    """Groups of ten rows, lists of two: a batch of 14 rows has two groups, so one of three replicas has nothing."""
    monkeypatch.setattr(training_batches, "GROUP_ROWS", 10)
    samples = data.samples(Split.TRAIN, 100)
    samples = samples.take(np.arange(2 * 32 + 14))
    options = {"batch_size": 32, "max_history_length": 100, "unknown_rate": 0.4, "seed": 3}
    search = CategorySearch(data, keep=2, recent=3) if searches else None
    batches = TrainingBatches(data, samples, **options, search=search)
    parts = [list(batches._iterate(range(each, each + 1), 3)) for each in range(3)]
    together = list(batches._iterate(range(3), 3))
    shares = [[inputs["share"].tolist() for inputs, _ in of_replica] for of_replica in parts]
    assert shares == [[[0, 0, 4]] * 2 + [[0, 0, 2]], [[20, 2, 4]] * 2 + [[10, 1, 2]], [[30, 3, 4]] * 2 + [[14, 2, 2]]]
    hidden = 0
    for step, (batch, of_step) in enumerate(zip(batches, zip(*parts, strict=True), strict=True)):
        sizes = [len(labels) for _, labels in of_step]
        assert sizes == ([20, 10, 2] if step < 2 else [10, 4, 0])
        own_lists = [np.unique(inputs["history_row"]).tolist() for inputs, _ in of_step]
        assert own_lists == [[*range(size // 2)] for size in sizes]
        if searches:
            found = [inputs["searched_item_ids"][inputs["searched_item_ids"] != 0] for inputs, _ in (*of_step, batch)]
            assert np.concatenate(found[:-1]).tolist() == found[-1].tolist()
        assert [row for part in of_step for row in describe_rows(*part)] == describe_rows(*batch)
        for one, other in zip(of_step, together[3 * step : 3 * step + 3], strict=True):
            assert describe_rows(*one) == describe_rows(*other)
        hidden += int((batch[0]["target_item_id"] < 0).sum())
    assert hidden > 5


def test_fewer_groups_than_replicas_are_refused() -> None:
    check_batch_size(1025, 3)
    with pytest.raises(ConfigError, match=r"received 1024, which is 2 groups of 512 rows.* set it to 1536 or more"):
        check_batch_size(1024, 3)


def test_evaluation_keeps_the_stored_order(data: PreparedData) -> None:
    samples = data.samples(Split.TEST, 100)
    batches = EvaluationBatches(data, samples, batch_size=5, max_history_length=100)
    assert collect(batches, "target_item_id") == samples.target_item_ids.tolist()
    assert len(batches) == len(list(batches)) == -(-len(samples) // 5)


def test_a_share_of_training_ids_is_hidden_and_padding_stays(data: PreparedData) -> None:
    for key in ("target_item_id", "history_item_ids"):
        before, after = (
            np.concatenate([inputs[key].ravel() for inputs, _ in make_training(data, unknown_rate=rate)])
            for rate in (0.0, 0.2)
        )
        changed = before != after
        assert after[changed].tolist() == (-before[changed]).tolist()
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


def test_padded_batches_hold_the_rows_of_the_flat_ones(data: PreparedData) -> None:
    """Each row once, with its own label, history and hidden ids, by length; as a data set, too."""
    options = {"batch_size": 32, "max_history_length": 100, "unknown_rate": 0.1, "seed": 1}
    flat, padded = (TrainingBatches(data, data.samples(Split.TRAIN, 100), padded=each, **options) for each in (0, 1))
    dataset = padded.to_dataset()
    for (inputs, labels), (cut, cut_labels), (tensors, _) in zip(flat, padded, dataset, strict=True):
        assert (np.diff(cut["history_length"]) >= 0).all()
        assert sorted(describe_rows(cut, cut_labels)) == sorted(describe_rows(inputs, labels))
        for block, tensor in zip(cut["history_item_ids"], tensors["history_item_ids"], strict=True):
            assert tensor.numpy().tolist() == block.tolist()
    assert len(padded.shapes) >= 1


def describe_rows(inputs: dict[str, Any], labels: np.ndarray) -> list[tuple[object, ...]]:
    """(user, target, history, label) of each row."""
    histories, lengths = inputs["history_item_ids"], inputs["history_length"]
    if isinstance(histories, tuple):
        lines = [line for block in histories for line in block]
    else:
        lines, lengths = histories[inputs["history_row"]], lengths[inputs["history_row"]]
    columns = (inputs["user_id"], inputs["target_item_id"], lengths, lines, labels)
    return [
        (int(user), int(target), tuple(line[:length].tolist()), float(label))
        for user, target, length, line, label in zip(*columns, strict=True)
    ]


def test_blocks_are_of_each_group_of_512_rows() -> None:
    """700 rows are two groups, each by length; a block has the first's rows before the second's, and fits both."""
    length = np.random.default_rng(0).integers(0, 101, 700).astype(np.int32)
    ids = np.where(np.arange(100) < length[:, None], 1 + np.arange(700)[:, None], 0).astype(np.int32)  # row + 1
    inputs, order = cut_into_blocks(
        ({"history_length": length, "history_item_ids": ids, "user_id": np.arange(700)}, np.arange(700)), 100
    )
    assert sorted(order[:512].tolist()) == list(range(512))
    assert inputs["user_id"].tolist() == order.tolist()
    assert inputs["history_length"].tolist() == length[order].tolist()
    assert all((np.diff(inputs["history_length"][rows]) >= 0).all() for rows in (slice(0, 512), slice(512, 700)))
    assert compute_block_rows(512) == [256, 128, 64, 32, 16, 16]
    assert compute_block_rows(188) == [94, 47, 23, 12, 6, 6]
    assert [len(block) for block in inputs["history_item_ids"]] == [350, 175, 87, 44, 22, 22]
    assert [block.shape[1] for block in inputs["history_item_ids"]] == [64, 100, 100, 100, 100, 100]
    first, second = np.split(np.arange(700), [512])
    ends = [np.cumsum(compute_block_rows(len(rows))) for rows in (first, second)]
    for block, (one, other) in enumerate(zip(*ends, strict=True)):
        start, begin = (each[block - 1] if block else 0 for each in ends)
        rows = np.concatenate([order[:512][start:one], order[512:][begin:other]])
        width = inputs["history_item_ids"][block].shape[1]
        assert inputs["history_item_ids"][block].tolist() == ids[rows, :width].tolist()


def test_no_block_of_a_last_group_is_larger_than_that_of_a_whole_one() -> None:
    """So that `RankingModel` finds a group's rows of a block at a multiple of a whole one's."""
    whole = compute_block_rows(GROUP_ROWS)
    for rows in range(GROUP_ROWS):
        blocks = compute_block_rows(rows)
        assert sum(blocks) == rows
        assert all(0 <= few <= most for few, most in zip(blocks, whole, strict=True))


def test_a_pass_can_begin_at_a_later_step(data: PreparedData) -> None:
    batches = make_training(data, unknown_rate=0.1)
    every = [inputs["target_item_id"].tolist() for inputs, _ in batches]
    batches.start_epoch(0, first_step=2)
    dataset = batches.to_dataset(first_step=2)
    assert int(dataset.cardinality()) == len(every) - 2
    assert [inputs["target_item_id"].numpy().tolist() for inputs, _ in dataset] == every[2:]
