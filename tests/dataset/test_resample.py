"""Fresh training negatives every epoch: keyed by seed, epoch and sample, never an excluded item."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import make_config, prepare_events, read_samples

from din_train.config import NegativesConfig
from din_train.dataset import training_rows as resample
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.dataset.training_rows import draw_epoch, redraw_training_negatives
from din_train.dataset.vocabulary import UNKNOWN_ID
from din_train.training.training_batches import TrainingBatches

EVENTS = [(f"u{n % 11}", f"i{(n * 7) % 97}", "x", n) for n in range(250)]


def make(tmp_path: Path, *, min_count: int = 0, **negatives: Any) -> tuple[PreparedData, NegativesConfig]:
    data, _ = prepare_events(
        tmp_path, EVENTS, negatives={"resample": "epoch", **negatives}, vocabulary={"min_count": min_count}
    )
    return data, NegativesConfig(resample="epoch", **negatives)


@pytest.mark.parametrize("exclude", ["all", "history"])
@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_epoch_zero_gives_the_stored_ones(tmp_path: Path, exclude: Any, distribution: Any) -> None:
    data, negatives = make(tmp_path, per_positive=3, exclude=exclude, distribution=distribution)
    stored = data.samples(Split.TRAIN, 100)
    drawn = redraw_training_negatives(data, negatives, 0)
    assert drawn.tolist() == stored.target_item_ids.tolist()
    other = redraw_training_negatives(data, negatives, 1)
    assert (other == drawn)[stored.labels == 1].all()
    assert (other != drawn)[stored.labels == 0].mean() > 0.8


@pytest.mark.parametrize("exclude", ["all", "history"])
@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_epoch_zero_gives_the_stored_ones_of_rare_items_too(tmp_path: Path, exclude: Any, distribution: Any) -> None:
    data, negatives = make(tmp_path, min_count=3, per_positive=3, exclude=exclude, distribution=distribution)
    stored = data.samples(Split.TRAIN, 100)
    assert redraw_training_negatives(data, negatives, 0).tolist() == stored.target_item_ids.tolist()
    unknown, known = data.manifest.unknown_items, data.num_items
    assert unknown.items == 97 - known > 5
    weight, total = unknown.items, 97
    if distribution == "popularity":
        weight, total = unknown.training_events, unknown.training_events + int(data.training_events.sum())
    later = np.concatenate([redraw_training_negatives(data, negatives, n)[stored.labels == 0] for n in range(1, 6)])
    assert (later == UNKNOWN_ID).mean() > 0.9 * weight / total  # own items are excluded where they are known


@pytest.mark.parametrize("exclude", ["all", "history"])
def test_epoch_zero_gives_the_stored_ones_beside_a_user_with_every_item(tmp_path: Path, exclude: Any) -> None:
    events = [*EVENTS, *(("u5", f"i{n}", "x", 1_000 + n) for n in range(97)), ("u5", "i1", "x", 2_000)]
    negatives = {"per_positive": 3, "exclude": exclude}
    data, preparation = prepare_events(tmp_path, events, negatives=negatives)
    assert preparation.manifest.dropped["positives_without_a_negative"] > 1
    stored = data.samples(Split.TRAIN, 100)
    config = NegativesConfig(**negatives)
    assert redraw_training_negatives(data, config, 0).tolist() == stored.target_item_ids.tolist()
    later = redraw_training_negatives(data, config, 3)
    assert later.all()
    assert later.tolist() != stored.target_item_ids.tolist()


def test_blocks_of_users_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, negatives = make(tmp_path)
    whole = redraw_training_negatives(data, negatives, 5)
    monkeypatch.setattr(resample, "BLOCK_ROWS", 7)
    assert redraw_training_negatives(data, negatives, 5).tolist() == whole.tolist()


def test_no_epoch_draws_an_item_of_the_users_list(tmp_path: Path) -> None:
    data, negatives = make(tmp_path, per_positive=2)
    own: dict[str, set[str]] = {}
    for user, item, _, _ in EVENTS:
        own.setdefault(user, set()).add(item)
    users = [row["user"] for row in read_samples(data, Split.TRAIN)]
    labels = data.samples(Split.TRAIN, 1).labels
    from log_factory import read_raw_ids

    items = read_raw_ids(data, "items", "item_id", "item")
    for epoch in range(1, 4):
        drawn = redraw_training_negatives(data, negatives, epoch)
        assert all(
            (items[item] in own[user]) == bool(label) for user, item, label in zip(users, drawn, labels, strict=True)
        )


def test_batches_of_an_epoch_have_its_negatives_and_evaluation_keeps_its_own(tmp_path: Path) -> None:
    data, negatives = make(tmp_path)
    config = make_config(tmp_path, negatives={"resample": "epoch"})

    def targets(epoch: int, resampled: NegativesConfig | None) -> list[int]:
        samples = data.samples(Split.TRAIN, 100)
        options: dict[str, Any] = {"batch_size": 32, "max_history_length": 100, "unknown_rate": 0.0, "seed": 1}
        draw = None if resampled is None else partial(draw_epoch, data, config, samples)
        batches = TrainingBatches(data, samples, **options, draw_epoch=draw)
        batches.start_epoch(epoch)
        return sorted(np.concatenate([inputs["target_item_id"] for inputs, _ in batches]).tolist())

    assert targets(0, negatives) == targets(0, None) == targets(3, None)
    assert targets(3, negatives) == sorted(redraw_training_negatives(data, negatives, 3).tolist()) != targets(0, None)


def test_whether_negatives_are_drawn_anew_does_not_change_the_data_set(tmp_path: Path) -> None:
    _, never = prepare_events(tmp_path, EVENTS)
    _, epoch = prepare_events(tmp_path, EVENTS, negatives={"resample": "epoch"})
    assert epoch.reason is None
    assert epoch.manifest.fingerprint == never.manifest.fingerprint
