"""At an epoch's end the moving statistics are measured anew, with weights that no longer move."""

from pathlib import Path

import numpy as np
import pytest
from log_factory import make_config, prepare_events

from din_train.dataset.protocols import Split
from din_train.model.build import build_model
from din_train.model.dice import Dice
from din_train.model.normalization import MovingStatistics
from din_train.model.ranking_model import RankingModel
from din_train.run_directory import RunDirectory
from din_train.training.checkpoint import load_weights
from din_train.training.trainer import fit_model
from din_train.training.training_batches import TrainingBatches

EVENTS = [(f"u{n % 9}", f"i{(n * n) % 97}", f"c{n % 5}", n) for n in range(120)]
SIZES = {"item_embedding_size": 2, "category_embedding_size": 2}


def read_random_states(model: RankingModel) -> list[list[int]]:
    return [each.numpy().tolist() for each in model.non_trainable_variables if each.dtype != "float32"]


@pytest.mark.parametrize("padded", [False, True])
def test_scores_are_those_of_the_mean_statistics_of_groups(tmp_path: Path, padded: bool) -> None:
    """Of BaseModel with one layer of one Dice unit, in NumPy; dropout goes on as if nothing had been measured."""
    data, _ = prepare_events(tmp_path, EVENTS)
    mlp = {"hidden_units": [1], "dropout": 0.5}
    config = make_config(
        tmp_path, model={"name": "base", "mlp": mlp, **SIZES}, training={"batch_size": 8, "select_on": "none"}
    )
    model = build_model(config.model, data, seed=1, padded=padded)
    samples = data.samples(Split.TRAIN, 100)
    batches = TrainingBatches(
        data, samples, batch_size=8, max_history_length=100, unknown_rate=0.0, seed=1, padded=padded
    )
    run = RunDirectory(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    if not padded:
        fit_model(model, batches, config, run, watched=None, data_fingerprint="x")
        load_weights(run.checkpoints, model)  # as it was saved
    dense, (dice,) = model.mlp.dense[0], [each for each in model._flatten_layers() if isinstance(each, Dice)]
    table, categories = model.item_embedding.items.numpy(), model.item_embedding.categories.numpy()
    of_item = data.item_category_ids

    def embed(ids: list[int]) -> np.ndarray:
        return np.concatenate([table[ids], categories[of_item[ids]]], axis=1)

    before = read_random_states(model)
    model.measure_statistics(batches.read_groups(100))
    means, variances = [], []
    for group in batches.read_groups(100):
        histories = [
            embed(list(ids[:length])).sum(axis=0)
            for ids, length in zip(group["history_item_ids"], group["history_length"], strict=True)
        ]
        of_rows = np.array(histories)[group["history_row"]]
        inputs = np.concatenate([of_rows, embed(list(group["target_item_id"]))], axis=1)
        values = inputs @ dense.kernel.numpy() + dense.bias.numpy()
        means.append(values.mean())
        variances.append(values.var())
    assert len(means) == -(-len(samples) // 8)
    assert dice.moving_mean.numpy()[0] == pytest.approx(np.mean(means), rel=1e-5)
    assert dice.moving_variance.numpy()[0] == pytest.approx(np.mean(variances), rel=1e-5)
    assert dice.updates.numpy() == len(means)
    assert read_random_states(model) == before


def test_an_epoch_ends_with_measured_statistics(tmp_path: Path) -> None:
    """Whatever the averages were before."""
    data, _ = prepare_events(tmp_path, EVENTS)
    config = make_config(
        tmp_path, model={"name": "din", **SIZES}, training={"batch_size": 8, "select_on": "none", "epochs": 2}
    )
    model = build_model(config.model, data, seed=1)
    sizes = {"batch_size": 8, "max_history_length": 100, "unknown_rate": 0.01, "seed": 1}
    batches = TrainingBatches(data, data.samples(Split.TRAIN, 100), **sizes)
    run = RunDirectory(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    fit_model(model, batches, config, run, watched=None, data_fingerprint="x")
    found = [weight.numpy() for weight in model.non_trainable_weights]
    moving = [each for each in model._flatten_layers() if isinstance(each, MovingStatistics)]
    assert [float(each.updates.numpy()) for each in moving] == [len(list(batches.read_groups(100)))] * len(moving)
    for each in moving:
        each.moving_mean.assign(np.full(each.moving_mean.shape, 1e6))
        each.moving_variance.assign(np.full(each.moving_variance.shape, 1e6))
    model.measure_statistics(batches.read_groups(100))
    for one, other in zip(found, model.non_trainable_weights, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=1e-8)
