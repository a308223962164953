"""`model.min_item_count`: rare items share the unknown item's row wherever one is looked up, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from log_factory import make_config, prepare_events

from din_train.batches import build_batch
from din_train.config import OptimizerConfig
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.model.build import build_model, compute_item_rows
from din_train.model.embedding import ItemEmbedding
from din_train.model.losses import LogLoss
from din_train.model.ranking_model import RankingModel
from din_train.training.callbacks import compute_embedding_norm
from din_train.training.optimizers import build_optimizer

EVENTS = [(f"u{n % 9}", f"i{(n * n) % 31}", f"c{n % 5}", n) for n in range(200)]
MIN_COUNT = 12
MODELS: dict[str, dict[str, Any]] = {
    name: {"name": name, "item_bias": True} for name in ("din", "base", "lr", "wide_deep", "pnn", "deepfm")
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare_events(tmp_path_factory.mktemp("data"), EVENTS)[0]


@pytest.fixture
def rare(data: PreparedData) -> list[int]:
    """Ids of the items below the count; their categories are not the unknown item's."""
    ids = [each for each in range(2, 2 + data.num_items) if data.training_events[each] < MIN_COUNT]
    assert 2 <= len(ids) < data.num_items
    return ids


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request: pytest.FixtureRequest, tmp_path: Path, data: PreparedData) -> RankingModel:
    config = make_config(tmp_path, model={**request.param, "min_item_count": MIN_COUNT})
    return build_model(config.model, data, seed=3)


def item_tables(model: RankingModel) -> dict[str, Any]:
    """Every weight with a row an item."""
    return {each.path: each for each in model.trainable_weights if each.path.endswith(("/items", "item_bias"))}


def batch(data: PreparedData) -> dict[str, np.ndarray]:
    samples = data.samples(Split.TRAIN, 100)
    return build_batch(data, samples, np.arange(len(samples)), 100)[0]


def test_rows_by_hand() -> None:
    # padding and the unknown item have no events and keep their rows; of the others two have at least three
    rows = compute_item_rows(np.array([0, 0, 5, 2, 3, 0]), 3)
    assert rows.tolist() == [0, 1, 2, 1, 4, 1]
    assert rows.dtype == np.int32


def test_an_items_row_is_shared_and_its_category_is_not() -> None:
    layer = ItemEmbedding(
        num_items=4,
        num_categories=4,
        item_size=1,
        category_size=1,
        item_category_ids=np.array([0, 1, 2, 3]),
        item_row_ids=np.array([0, 1, 2, 1]),
    )
    layer.items.assign([[10], [11], [12], [13]])
    layer.categories.assign([[100], [101], [102], [103]])
    assert layer(tf.constant([1, 2, 3])).numpy().tolist() == [[11, 101], [12, 102], [11, 103]]
    assert layer.sum_by_row(np.array([0, 5, 7, 2])).tolist() == [0, 7, 7, 0]


def test_a_layer_made_from_its_config_shares_once_its_weights_are_loaded() -> None:
    sizes = {"num_items": 3, "num_categories": 2, "item_size": 1, "category_size": 1}
    layer = ItemEmbedding(**sizes, item_category_ids=np.array([0, 1, 1]), item_row_ids=np.array([0, 1, 1]))
    again = ItemEmbedding.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    assert again(tf.constant([0, 1, 2])).numpy().tolist() == layer(tf.constant([0, 1, 2])).numpy().tolist()
    assert ItemEmbedding.from_config(ItemEmbedding(**sizes).get_config()).item_row_ids is None


def test_no_score_depends_on_a_rare_items_own_rows(model: RankingModel, data: PreparedData, rare: list[int]) -> None:
    inputs = batch(data)
    before = model.score(inputs).numpy()
    for table in item_tables(model).values():
        values = table.numpy()
        values[rare] += 7
        table.assign(values)
    assert model.score(inputs).numpy().tolist() == before.tolist()


def test_scores_depend_on_the_shared_row_and_on_a_rare_items_category(
    model: RankingModel, data: PreparedData, rare: list[int]
) -> None:
    ids = np.array(rare[:1], np.int32)
    inputs = {"target_item_id": ids, "history_item_ids": ids[:, None], "history_length": ids * 0 + 1, "user_id": ids}
    unknown = {**inputs, "target_item_id": ids * 0 + 1, "history_item_ids": ids[:, None] * 0 + 1}
    for table in (each for each in model.trainable_weights if each.path.endswith(("/items", "/categories"))):
        table.assign(np.random.default_rng(1).normal(size=table.shape))
    before = model.score(inputs).numpy()
    assert before.tolist() != model.score(unknown).numpy().tolist()  # by the category
    categories = {each.path: each for each in model.trainable_weights if each.path.endswith("/categories")}
    for table in categories.values():
        values = table.numpy()
        values[data.item_category_ids[ids[0]]] = values[1]
        table.assign(values)
    if model.name != "wide_deep":  # it also has a number for each pair of categories, zero to begin with
        assert model.score(inputs).numpy() == pytest.approx(model.score(unknown).numpy(), abs=1e-6)
    for table in item_tables(model).values():
        values = table.numpy()
        values[1] += 1
        table.assign(values)
    assert model.score(inputs).numpy().tolist() != before.tolist()


def test_training_moves_no_rare_items_own_rows(model: RankingModel, data: PreparedData, rare: list[int]) -> None:
    tables = item_tables(model)
    assert len(tables) == {"lr": 2, "wide_deep": 4, "deepfm": 4}.get(model.name, 2)
    before = {path: table.numpy() for path, table in tables.items()}
    model.compile(optimizer=build_optimizer(OptimizerConfig()), loss=LogLoss(), jit_compile=False, run_eagerly=True)
    samples = data.samples(Split.TRAIN, 100)
    inputs, labels = build_batch(data, samples, np.arange(len(samples)), 100)
    for _ in range(2):
        model.train_on_batch({key: tf.constant(value) for key, value in inputs.items()}, tf.constant(labels))
    for path, table in tables.items():
        moved = np.abs(table.numpy() - before[path]).max(axis=1) > 0
        assert not moved[[0, *rare]].any(), path
        assert moved[1], path  # the shared row
        assert moved[2:].any(), path


def test_without_it_nothing_is_looked_up_and_nothing_is_saved_more(tmp_path: Path, data: PreparedData) -> None:
    model = build_model(make_config(tmp_path).model, data, seed=3)
    assert model.item_embedding.item_row_ids is None
    assert not [each for each in model.weights if "row_ids" in each.path]


def test_saved_weights_score_the_same(model: RankingModel, data: PreparedData, tmp_path: Path) -> None:
    model.save_weights(tmp_path / "model.weights.h5")
    config = make_config(tmp_path, model={**MODELS[model.name], "min_item_count": MIN_COUNT})
    again = build_model(config.model, data, seed=99)
    again.load_weights(tmp_path / "model.weights.h5")
    inputs = batch(data)
    assert again.score(inputs).numpy().tolist() == model.score(inputs).numpy().tolist()


def test_the_recorded_norm_is_of_rows_that_are_looked_up(tmp_path: Path, data: PreparedData, rare: list[int]) -> None:
    config = make_config(tmp_path, model={"min_item_count": MIN_COUNT})
    model = build_model(config.model, data, seed=3)
    values = np.full(model.item_embedding.items.shape, 2.0, np.float32)
    values[rare] = 1000
    model.item_embedding.items.assign(values)
    assert compute_embedding_norm(model) == pytest.approx(2 * 64**0.5)
    nothing = build_model(make_config(tmp_path, model={"min_item_count": 10**6}).model, data, seed=3)
    assert compute_embedding_norm(nothing) == 0
