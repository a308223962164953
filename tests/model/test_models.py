"""What holds for every model: padding, order and company change no score; empty histories; save and load."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from log_factory import make_config, prepare_events

from din_train.batches import EvaluationBatches, build_batch
from din_train.config import Config, dump_config
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.evaluation.evaluate import compute_scores
from din_train.model import ranking_model
from din_train.model.baselines import LR, WideDeep, compute_factorization, compute_inner_products, stack_fields
from din_train.model.build import build_model
from din_train.model.deep_model import DeepModel
from din_train.model.dice import Dice
from din_train.model.din import DIN
from din_train.model.embedding import find_tables
from din_train.model.losses import LogLoss
from din_train.model.positions import flatten_history
from din_train.model.ranking_model import LocatedBatch, LocatedSequence, RankingModel
from din_train.training.training_batches import cut_into_blocks

# Of a logit near 1 in float32, where sums are taken in another order.
ROUNDING = 3e-6

MODELS: dict[str, dict[str, Any]] = {
    "din": {"name": "din"},
    "din-everything": {
        "name": "din",
        "item_bias": True,
        "user_candidate_product": True,
        "interest": {"units": 128, "normalization": "affine"},
        "local_activation_unit": {"normalization": "sigmoid", "batch_normalization": True, "dropout": 0.3},
        "mlp": {"input_normalization": "batch", "batch_normalization": True, "dropout": 0.3},
    },
    "lr": {"name": "lr"},
    "wide_deep": {"name": "wide_deep"},
    "pnn": {"name": "pnn"},
    "deepfm": {"name": "deepfm"},
    "din-unnormalized": {
        "name": "din",
        "user_candidate_product": True,
        "local_activation_unit": {"normalization": "none", "activation": "prelu", "hidden_units": [36]},
    },
    "dien": {"name": "dien"},
    "bst": {"name": "bst", "num_positions": 6, "bst": {"num_heads": 3}},
    "tin": {"name": "tin"},
    "base": {"name": "base"},
    "base-mean": {"name": "base", "pooling": "mean", "mlp": {"hidden_units": [8], "activation": "prelu"}},
}
# The others pool their history as these do: what costs most is checked for them by the slow tests.
QUICK = {"din", "din-everything", "wide_deep", "dien", "bst", "tin"}
most_models_slowly = pytest.mark.parametrize(
    "config",
    [pytest.param(model, id=name, marks=() if name in QUICK else pytest.mark.slow) for name, model in MODELS.items()],
    indirect=True,
)
EVENTS = [(f"u{n % 9}", f"i{(n * n) % 31}", f"c{n % 5}", n) for n in range(200)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def data(folder: Path) -> PreparedData:
    return prepare_events(folder, EVENTS)[0]


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def config(request: pytest.FixtureRequest, folder: Path) -> Config:
    return make_config(folder, model=request.param)


@pytest.fixture(scope="module")
def used_models() -> dict[str, RankingModel]:
    """Built so far."""
    return {}


@pytest.fixture
def model(config: Config, data: PreparedData, used_models: dict[str, RankingModel]) -> Iterator[RankingModel]:
    """One for all tests, so that its scoring is traced once; what a test changes of its weights is put back."""
    name = dump_config(config)
    if name not in used_models:
        used_models[name] = build_used_model(config, data)
    model = used_models[name]
    weights = [weight.numpy() for weight in model.weights]
    yield model
    for weight, before in zip(model.weights, weights, strict=True):
        weight.assign(before)


def build_used_model(config: Config, data: PreparedData) -> RankingModel:
    """With weights and statistics that are not the initial ones."""
    model = build_model(config.model, data, seed=3)
    inputs, _ = build_batch(data, data.samples(Split.TRAIN, 100), np.arange(50), 100)
    model(inputs, training=True)
    return model


def batch(data: PreparedData, rows: np.ndarray | list[int]) -> dict[str, np.ndarray]:
    return build_batch(data, data.samples(Split.TRAIN, 100), np.array(rows), 100)[0]


def test_padding_changes_no_score(model: RankingModel, data: PreparedData) -> None:
    inputs = batch(data, np.arange(20))
    wider = {**inputs, "history_item_ids": np.pad(inputs["history_item_ids"], [(0, 0), (0, 30)])}
    garbage = {**wider, "history_item_ids": wider["history_item_ids"].copy()}
    beyond = np.arange(wider["history_item_ids"].shape[1]) >= inputs["history_length"][:, None]
    garbage["history_item_ids"][beyond] = 7
    expected = model.score(inputs).numpy()
    assert model.score(wider).numpy().tolist() == expected.tolist()
    assert model.score(garbage).numpy().tolist() == expected.tolist()


def test_padding_changes_no_statistic_in_training(config: Config, data: PreparedData) -> None:
    inputs = batch(data, np.arange(20))
    wider = {**inputs, "history_item_ids": np.pad(inputs["history_item_ids"], [(0, 0), (0, 30)])}
    narrow_model, wide_model = (build_model(config.model, data, seed=3) for _ in range(2))
    assert narrow_model(inputs, training=True).numpy().tolist() == wide_model(wider, training=True).numpy().tolist()
    for one, other in zip(narrow_model.weights, wide_model.weights, strict=True):
        assert np.array_equal(one.numpy(), other.numpy()), one.path


def test_din_equals_a_plain_reference(tmp_path: Path, data: PreparedData) -> None:
    """Formula by formula in NumPy, a row at a time, from the model's own weights."""
    model = build_model(
        make_config(tmp_path, model={"name": "din", "user_candidate_product": True}).model, data, seed=3
    )
    assert isinstance(model, DIN)
    model.item_embedding.items.assign(50 * model.item_embedding.items.numpy())
    model(batch(data, np.arange(50)), training=True)  # Dice's averages leave their initial values
    inputs = batch(data, np.arange(12))

    def embed(item_id: int) -> np.ndarray:
        category = model.item_embedding.item_category_ids.numpy()[item_id]
        tables = model.item_embedding.items.numpy()[item_id], model.item_embedding.categories.numpy()[category]
        return np.concatenate(tables).astype(np.float64)

    def dice(layer: Dice, s: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-(s - layer.moving_mean.numpy()) / np.sqrt(layer.moving_variance.numpy() + 1e-8)))
        return p * s + (1 - p) * layer.alpha.numpy() * s

    def dense(layer: Any, s: np.ndarray) -> np.ndarray:
        return s @ layer.kernel.numpy() + layer.bias.numpy()

    unit, expected = model.local_activation_unit, []
    for row in range(12):
        q = embed(inputs["target_item_id"][row])
        ks = [embed(item) for item in inputs["history_item_ids"][row, : inputs["history_length"][row]]]
        scores = []
        for k in ks:
            hidden = np.concatenate([q, k, q - k, q * k]) @ unit.kernel.numpy() + unit.bias.numpy()
            for activation, layer in zip(unit.activations, unit.dense, strict=True):
                hidden = dense(layer, dice(activation.layers[0], hidden))
            scores.append(hidden[0] / np.sqrt(len(q)))
        weights = np.exp(scores) / np.exp(scores).sum()
        interest = sum(weight * k for weight, k in zip(weights, ks, strict=True))
        hidden = np.concatenate([interest, q, interest * q])
        for layer, activation in zip(model.mlp.dense, model.mlp.activations, strict=True):
            hidden = dice(activation.layers[0], dense(layer, hidden))
        expected.append(dense(model.logit, hidden)[0])
    assert np.ptp(expected) > 0.01
    assert model.score(inputs).numpy() == pytest.approx(expected, abs=1e-5)


@most_models_slowly
def test_kept_padding_changes_no_step(config: Config, data: PreparedData) -> None:
    """Logits, gradients and moving statistics of a training step, flat, padded, and in blocks; dropout left out."""
    without_dropout = config.model.model_copy(
        update={
            "mlp": config.model.mlp.model_copy(update={"dropout": 0.0}),
            "local_activation_unit": config.model.local_activation_unit.model_copy(update={"dropout": 0.0}),
            "bst": config.model.bst.model_copy(update={"dropout": 0.0}),
        }
    )
    inputs = batch(data, np.arange(24))
    inputs["history_length"] = inputs["history_length"] * (np.arange(24) != 5)  # one history is empty
    results = []
    blocks, order = cut_into_blocks((inputs, np.arange(24)), 100)
    assert len({each.shape[1] for each in blocks["history_item_ids"]}) > 1
    for padded, given in ((False, inputs), (True, inputs), (True, blocks)):
        model = build_model(without_dropout, data, seed=3, padded=padded)
        for table in (each for each in model.trainable_weights if each.path.endswith(("items", "categories"))):
            table.assign(table.numpy() * 30)
        with tf.GradientTape() as tape:
            logits = model(given, training=True)
            if given is blocks:
                logits = tf.gather(logits, np.argsort(order))
            loss = tf.reduce_mean(tf.sin(logits * 3))
        gradients = tape.gradient(loss, model.trainable_weights, unconnected_gradients="zero")
        results.append([logits, *map(tf.convert_to_tensor, gradients), *model.non_trainable_weights])
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            scale = max(1e-2, float(np.abs(one.numpy()).max()))
            assert same.numpy() == pytest.approx(one.numpy(), abs=2e-4 * scale)
    assert np.ptp(results[0][0]) > 1e-3


def test_a_shared_history_changes_no_score(model: RankingModel, data: PreparedData) -> None:
    """Row by row, each of two or three consecutive rows having the same one, and one history being empty."""
    inputs = batch(data, np.arange(60))
    row = np.append(np.repeat(np.arange(20), 2 + np.arange(20) % 2), [20, 22, 22])  # history 21 has no candidate
    histories = {name: inputs[name][:23].copy() for name in ("history_item_ids", "history_length")}
    histories["history_length"][4] = 0
    candidates = {name: inputs[name][: len(row)] for name in ("target_item_id", "user_id")}
    shared = model.score({**candidates, **histories, "history_row": row.astype(np.int32)}).numpy()
    alone = model.score({**candidates, **{name: each[row] for name, each in histories.items()}}).numpy()
    assert shared == pytest.approx(alone, abs=ROUNDING)
    assert np.ptp(alone) > 1e-3


def test_many_candidates_of_one_history_score_as_they_do_alone(model: RankingModel, data: PreparedData) -> None:
    """By themselves, beside others of few candidates, and with a history that is empty."""
    for table in (each for each in model.trainable_weights if each.path.endswith(("items", "categories"))):
        table.assign(table.numpy() * 30)
    assert ranking_model._MANY_CANDIDATES <= 80
    inputs = batch(data, np.arange(120))
    for of_first, length in ((120, None), (80, None), (80, 0)):
        row = np.append(np.zeros(of_first, np.int32), 1 + np.arange(120 - of_first, dtype=np.int32) // 3)
        histories = {name: inputs[name][40 : 41 + row[-1]].copy() for name in ("history_item_ids", "history_length")}
        histories["history_length"][0] = histories["history_length"][0] if length is None else length
        candidates = {name: inputs[name] for name in ("target_item_id", "user_id")}
        shared = model.score({**candidates, **histories, "history_row": row}).numpy()
        alone = model.score({**candidates, **{name: each[row] for name, each in histories.items()}}).numpy()
        assert shared == pytest.approx(alone, rel=1e-5, abs=1e-5)
        assert np.ptp(alone) > 0.01


def test_dense_histories_with_padding_anywhere_change_no_score(model: RankingModel, data: PreparedData) -> None:
    """One history each, in a graph that could also take one for all, with holes between behaviours."""
    inputs = {name: each for name, each in batch(data, np.arange(40)).items() if name != "history_row"}
    inputs["history_length"][3] = 0
    expected = model.score(inputs).numpy()
    ids, length = inputs["history_item_ids"], inputs["history_length"]
    valid = np.arange(ids.shape[1]) < length[:, None]
    holes = np.zeros((40, 2 * ids.shape[1]), np.int32)
    holes[:, ::-2] = np.where(valid, ids, 0)[:, ::-1]
    for given, of_history in ((ids, valid), (holes, holes > 0)):
        compute = tf.function(
            lambda each, of_history: model.compute_logits(model.locate_dense(each, {"history": of_history}), False),
            input_signature=[
                {name: tf.TensorSpec([None] * each.ndim, each.dtype) for name, each in inputs.items()},
                tf.TensorSpec([None, None], tf.bool),
            ],
        )
        found = compute({**inputs, "history_item_ids": given}, of_history).numpy()
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


@most_models_slowly
def test_groups_in_a_loop_and_shared_histories_change_no_step(
    config: Config, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss, gradients and dropout's states: the loop's are those of three groups, one by one.

    So are those of the same rows if each has a history of its own: lists have two rows, groups ten. But for DIEN, whose
    auxiliary loss looks at other behaviours then.
    """
    ways = [("_loop_over_groups", True), ("_unroll_groups", True), ("_unroll_groups", False)]
    monkeypatch.setattr(ranking_model, "GROUP_ROWS", 10)
    weights = tf.linspace(0.5, 2.0, 24)
    results = []
    for way, shared in ways[:2] if config.model.name == "dien" else ways:
        samples = data.samples(Split.TRAIN, 100)
        inputs, labels = tf.nest.map_structure(
            tf.constant, build_batch(data, samples, np.arange(24), 100, shared=shared)
        )
        assert len(inputs["history_length"]) == (12 if shared else 24)
        model = build_model(config.model, data, seed=3)
        for table in find_tables(model):
            table.assign(table.numpy() * 30 + 0.01)
        model.compile(batch_size=24, loss=LogLoss())
        counts = [tf.constant(24.0)] * (2 if way == "_loop_over_groups" else 1)
        loss, gradients = getattr(model, way)(inputs, labels, weights, *counts)
        tables = [weight.path for weight in find_tables(model)]
        rows = [
            each.path for each, of in zip(model.trainable_weights, gradients, strict=True) if hasattr(of, "indices")
        ]
        assert sorted(rows) == sorted(tables)
        results.append([loss, *map(tf.convert_to_tensor, gradients), *model.non_trainable_variables])
    for one, *others in zip(*results, strict=True):
        scale = max(1e-2, float(np.abs(one.numpy()).max()))
        for same in others:
            assert same.numpy() == pytest.approx(one.numpy(), abs=1e-5 * scale)


def test_lr_is_a_sum_of_numbers(tmp_path: Path, data: PreparedData) -> None:
    model = build_model(make_config(tmp_path, model={"name": "lr"}).model, data, seed=3)
    assert isinstance(model, LR)
    inputs = batch(data, np.arange(12))
    categories = model.item_embedding.item_category_ids.numpy()
    model.bias.assign(0.5)
    weights = {}
    for name in ("candidate", "behaviours"):
        layer = getattr(model.linear, name)
        weights[name] = layer.items.numpy()[:, 0] + layer.categories.numpy()[categories, 0]
    for row, score in enumerate(model.score(inputs).numpy()):
        history = inputs["history_item_ids"][row, : inputs["history_length"][row]]
        expected = 0.5 + weights["candidate"][inputs["target_item_id"][row]] + weights["behaviours"][history].sum()
        assert score == pytest.approx(expected, abs=1e-6)


def test_wide_deep_adds_a_number_a_pair_of_categories(tmp_path: Path, data: PreparedData) -> None:
    model = build_model(make_config(tmp_path, model={"name": "wide_deep"}).model, data, seed=3)
    assert isinstance(model, WideDeep)
    inputs = batch(data, [5])
    before = model.score(inputs).numpy()[0]
    categories = model.item_embedding.item_category_ids.numpy()
    history = inputs["history_item_ids"][0, : inputs["history_length"][0]]
    pairs = int(categories[inputs["target_item_id"][0]]) * 1_000_003 + categories[history].astype(np.int64)
    crosses = np.zeros((model.cross_buckets, 1), np.float32)
    crosses[np.unique(1 + pairs % (model.cross_buckets - 1))] = 0.25
    model.crosses.assign(crosses)
    assert model.score(inputs).numpy()[0] == pytest.approx(before + 0.25 * len(history), abs=1e-5)


def test_products_of_fields_by_hand() -> None:
    # three fields of two: (1, 2), (3, 4), (5, 6); products 1 * 3 + 2 * 4 = 11, 1 * 5 + 2 * 6 = 17, 3 * 5 + 4 * 6 = 39
    fields = stack_fields([tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0, 5.0, 6.0]])], 2)
    assert compute_inner_products(fields).numpy().tolist() == [[11, 17, 39]]
    assert compute_factorization(fields).numpy().tolist() == [67]


def test_the_item_bias_is_added_to_the_logit(tmp_path: Path, data: PreparedData) -> None:
    model = build_model(make_config(tmp_path, model={"name": "din", "item_bias": True}).model, data, seed=3)
    inputs = batch(data, [0, 1])
    before = model.score(inputs).numpy()
    bias = np.zeros((model.item_embedding.num_rows, 1), np.float32)
    bias[inputs["target_item_id"][1]] = 2.0
    model.item_bias.assign(bias)
    assert model.score(inputs).numpy() - before == pytest.approx([0, 2], abs=1e-6)


@most_models_slowly
def test_bfloat16_is_close_and_keeps_weights_and_logits_in_float32(config: Config, data: PreparedData) -> None:
    inputs = batch(data, np.arange(20))
    exact, rough = (build_model(config.model, data, seed=3, precision=name) for name in ("float32", "bfloat16"))
    scores = rough.score(inputs)
    assert scores.dtype == tf.float32
    assert {weight.dtype for weight in rough.trainable_weights} == {"float32"}
    assert scores.numpy() == pytest.approx(exact.score(inputs).numpy(), abs=0.05)
    assert scores.numpy().tolist() != exact.score(inputs).numpy().tolist() or config.model.name == "lr"
    rounded = tf.cast(tf.cast(scores, tf.bfloat16), tf.float32)
    assert (scores.numpy() != rounded.numpy()).mean() > 0.5  # not float32 by type alone: ties would count one half


def test_order_and_company_change_no_score(model: RankingModel, data: PreparedData) -> None:
    every = model.score(batch(data, np.arange(60))).numpy()
    order = np.random.default_rng(0).permutation(60)
    assert model.score(batch(data, order)).numpy() == pytest.approx(every[order], abs=ROUNDING)
    alone = [model.score(batch(data, [row])).numpy()[0] for row in range(60)]
    assert alone == pytest.approx(every, abs=ROUNDING)
    assert np.ptp(every) > 1e-3  # scores do differ


def test_the_label_and_the_slot_change_no_score(model: RankingModel, data: PreparedData) -> None:
    samples = data.samples(Split.TEST, 100)
    scores = compute_scores(model, EvaluationBatches(data, samples, batch_size=7, max_history_length=100))
    whole = compute_scores(model, EvaluationBatches(data, samples, batch_size=1000, max_history_length=100))
    assert len(scores) == len(samples)
    assert scores == pytest.approx(whole, abs=ROUNDING)


def test_an_empty_history_has_zero_interest(model: RankingModel, data: PreparedData) -> None:
    inputs = batch(data, [0, 1])
    empty = {**inputs, "history_length": np.zeros(2, np.int32)}
    if isinstance(model, DeepModel):
        history, positions = flatten_history(empty["history_item_ids"], empty["history_length"])
        located = LocatedBatch(empty, LocatedSequence(history, positions, empty["history_length"]))
        candidate, behaviours = model.embed(located)
        interest = model.compute_user_interest(located, candidate, behaviours, training=False)
        assert [each.shape[0] for each in behaviours] == [0]
        assert interest.numpy().tolist() == np.zeros_like(candidate).tolist()
    assert np.isfinite(model.score(empty).numpy()).all()
    assert np.isfinite(model(empty, training=True).numpy()).all()
    assert all(np.isfinite(weight.numpy()).all() for weight in model.weights)


def test_an_item_outside_the_history_and_candidate_changes_nothing(model: RankingModel, data: PreparedData) -> None:
    inputs = batch(data, [0])
    used = {int(inputs["target_item_id"][0]), *inputs["history_item_ids"][0, : inputs["history_length"][0]].tolist()}
    before = model.score(inputs).numpy()
    table = model.item_embedding.items.numpy()
    unused = [row for row in range(len(table)) if row not in used]
    table[unused] += 5.0
    model.item_embedding.items.assign(table)
    assert model.score(inputs).numpy().tolist() == before.tolist()


def test_same_seed_same_weights(config: Config, data: PreparedData) -> None:
    one, same, other = (build_model(config.model, data, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(one.weights, same.weights, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    assert not np.array_equal(one.item_embedding.items.numpy(), other.item_embedding.items.numpy())


@pytest.mark.slow  # `eval` in a new process has a test of its own
def test_saved_weights_score_the_same_bits_in_a_new_process(
    folder: Path, data: PreparedData, used_models: dict[str, RankingModel], tmp_path: Path
) -> None:
    names = [name for name in MODELS if name not in ("din", "din-unnormalized", "base")]  # others have all their layers
    for name in names:
        config = make_config(folder, model=MODELS[name])
        model = used_models.get(dump_config(config)) or build_used_model(config, data)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        (tmp_path / f"{name}.yaml").write_text(dump_config(config))
        np.save(tmp_path / f"{name}.npy", model.score(batch(data, np.arange(30))).numpy())
    script = """
import sys
from pathlib import Path
from din_train.tensorflow_setup import start_tensorflow
start_tensorflow("cpu")
import numpy as np
from din_train.batches import build_batch
from din_train.config import load_config
from din_train.model.build import build_model
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
for path in Path(sys.argv[1]).glob("*.yaml"):
    config = load_config(path)
    data = open_store(config.data.prepared)
    model = build_model(config.model, data, seed=99)
    model.load_weights(path.with_suffix(".weights.h5"))
    inputs, _ = build_batch(data, data.samples(Split.TRAIN, 100), np.arange(30), 100)
    print(path.stem, np.array_equal(model.score(inputs).numpy(), np.load(path.with_suffix(".npy"))))
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert sorted(printed.splitlines()) == sorted(f"{name} True" for name in names)


def test_din_weighs_behaviours_by_the_candidate(tmp_path: Path, data: PreparedData) -> None:
    model = build_model(make_config(tmp_path).model, data, seed=3)
    assert isinstance(model, DIN)
    model.item_embedding.items.assign(100 * model.item_embedding.items.numpy())  # rows that differ, as after training
    row = int(np.argmax(data.samples(Split.TRAIN, 100).history_length))
    inputs = batch(data, [row, row])
    inputs["target_item_id"] = np.array([2, 9], np.int32)
    weights, rows = model.compute_activation_weights(inputs)
    first, second = (weights.numpy()[rows.numpy() == each] for each in (0, 1))
    assert first.sum() == pytest.approx(1, abs=1e-6)
    assert np.abs(first - second).max() > 1e-3
