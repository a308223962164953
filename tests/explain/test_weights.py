"""Weights by hand for every normalisation; what they claim of the score holds; weights of something else are caught."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from log_factory import make_config, prepare_events, read_raw_ids

from din_train.batches import build_batch
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.errors import RunError
from din_train.evaluation.metrics import compute_click_probabilities
from din_train.explain import weights as explain_module
from din_train.explain.examples import choose_examples
from din_train.explain.weights import explain_score as explain
from din_train.model.build import build_model
from din_train.model.din import DIN
from din_train.tensorflow_setup import start_tensorflow

start_tensorflow("cpu")

EVENTS = [(f"u{n % 9}", f"i{(n * n) % 31}", f"c{n % 5}", n) for n in range(200)]
NORMALIZATIONS = ("none", "sigmoid", "softmax")

MODELS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "sigmoid": {"local_activation_unit": {"normalization": "sigmoid"}},
    "none": {"local_activation_unit": {"normalization": "none", "activation": "prelu", "scale": False}},
    "official": {
        "item_bias": True,
        "user_candidate_product": True,
        "interest": {"units": 128, "normalization": "affine"},
        "mlp": {"input_normalization": "affine", "activation": "sigmoid"},
    },
    "everything": {
        "item_bias": True,
        "user_candidate_product": True,
        "interest": {"units": 128, "normalization": "batch"},
        "local_activation_unit": {"normalization": "sigmoid", "batch_normalization": True, "dropout": 0.3},
        "mlp": {"input_normalization": "batch", "batch_normalization": True, "dropout": 0.3},
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare_events(tmp_path_factory.mktemp("log"), EVENTS)[0]


def make_model(data: PreparedData, options: dict[str, Any], *, precision: str = "float32") -> DIN:
    """With rows that differ and statistics that are not the initial ones, as after training."""
    config = make_config(data.folder.parent, model={"name": "din", **options})
    model = build_model(config.model, data, seed=3, precision=precision)
    assert isinstance(model, DIN)
    table = model.item_embedding.items
    table.assign(np.random.default_rng(5).normal(size=table.shape))
    model(build_batch(data, data.samples(Split.TRAIN, 100), np.arange(50), 100)[0], training=True)
    return model


def find_row(data: PreparedData, length: int) -> dict[str, np.ndarray]:
    """A training row with a history of this length."""
    samples = data.samples(Split.TRAIN, 100)
    row = int(np.flatnonzero(samples.history_length == length)[0])
    return build_batch(data, samples, np.array([row]), 100)[0]


def softmax(scores: list[float]) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum()


NORMALIZE = {"none": np.array, "sigmoid": lambda scores: 1 / (1 + np.exp(-np.array(scores))), "softmax": softmax}


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_by_hand(tmp_path: Path, normalization: str) -> None:
    """Scores are products q k = 1, 2, 3; the logit is a tenth of the sum of the interest's two numbers."""
    events = [("u", f"i{n}", f"c{n}", n) for n in range(9)]
    data, _ = prepare_events(tmp_path, events)
    config = make_config(
        tmp_path,
        model={
            "name": "din", "item_embedding_size": 1, "category_embedding_size": 1,
            "local_activation_unit": {
                "inputs": ["product"], "hidden_units": [1], "activation": "relu", "scale": False,
                "normalization": normalization,
            },
            "mlp": {"hidden_units": [1], "activation": "relu"},
        },
    )  # fmt: skip
    model = build_model(config.model, data, seed=1)
    assert isinstance(model, DIN)
    ids = {raw: item_id for item_id, raw in read_raw_ids(data, "items", "item_id", "item").items()}
    vectors = {"i0": (1, 0), "i1": (0, 1), "i2": (1, 1), "i3": (1, 2)}
    items, categories = (np.zeros((11, 1), np.float32) for _ in range(2))
    for raw, (item, category) in vectors.items():
        items[ids[raw]] = item
        categories[data.item_category_ids[ids[raw]]] = category
    model.item_embedding.items.assign(items)
    model.item_embedding.categories.assign(categories)
    unit = model.local_activation_unit
    unit.kernel.assign([[1], [1]])
    unit.dense[0].kernel.assign([[1]])
    model.mlp.dense[0].kernel.assign([[0.1], [0.1], [0], [0]])  # interest, candidate
    model.logit.kernel.assign([[1]])

    history = [ids["i0"], ids["i1"], ids["i2"]]
    inputs = {
        "target_item_id": np.array([ids["i3"]], np.int32),
        "history_item_ids": np.array([[*history, 0, 0]], np.int32),
        "history_length": np.array([3], np.int32),
        "user_id": np.array([2], np.int32),
    }
    explanation = explain(model, inputs)
    normalize = NORMALIZE[normalization]
    weights = normalize([1.0, 2.0, 3.0])
    assert explanation.weights == pytest.approx(weights, rel=1e-6)
    sums = np.array([1, 1, 2])  # of a vector's two numbers
    assert explanation.logit == pytest.approx(0.1 * weights @ sums, rel=1e-6)
    without = [0.1 * normalize([2.0, 3.0]) @ [1, 2], 0.1 * normalize([1.0, 3.0]) @ [1, 2]]
    without.append(0.1 * normalize([1.0, 2.0]) @ [1, 1])
    assert explanation.logits_without == pytest.approx(without, rel=1e-6)
    assert explanation.predicted_without == pytest.approx(without, rel=1e-6)
    assert explanation.top == 2
    assert explanation.click_probability == pytest.approx(1 / (1 + np.exp(-0.1 * weights @ sums)), rel=1e-6)


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_what_the_weights_claim_holds(data: PreparedData, options: dict[str, Any]) -> None:
    model = make_model(data, options)
    inputs = find_row(data, 12)
    explanation = explain(model, inputs)
    assert explanation.logit == pytest.approx(float(model.score(inputs)[0]), abs=1e-6)
    assert explanation.predicted_without == pytest.approx(explanation.logits_without, abs=1e-4)
    assert explanation.largest_difference < 1e-4
    assert np.ptp(explanation.logits_without) > 1e-3  # a behaviour moves the score by more than is allowed
    for place in (0, 5, 11):  # really scored without it
        history = np.delete(inputs["history_item_ids"][0, :12], place)[None]
        shortened = {**inputs, "history_item_ids": history, "history_length": np.array([11], np.int32)}
        assert explanation.logits_without[place] == pytest.approx(float(model.score(shortened)[0]), abs=1e-5)


def test_leaving_out_in_blocks_is_the_same(data: PreparedData, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = make_model(data, {}), find_row(data, 12)
    whole = explain(model, inputs)
    monkeypatch.setattr(explain_module, "_POSITIONS_AT_ONCE", 60)  # 5 rows, 5 rows, 2 rows
    blocks = explain(model, inputs)
    assert blocks.logits_without == pytest.approx(whole.logits_without, abs=1e-6)
    assert blocks.predicted_without == pytest.approx(whole.predicted_without, abs=1e-6)


def of_another_candidate(model: DIN, inputs: dict[str, Any]) -> tf.Tensor:
    other = {**inputs, "target_item_id": inputs["target_item_id"] + 1}
    return DIN.compute_activation_weights(model, other)[0]


def shifted(model: DIN, inputs: dict[str, Any]) -> tf.Tensor:
    return tf.roll(DIN.compute_activation_weights(model, inputs)[0], 1, axis=0)


def reversed_in_time(model: DIN, inputs: dict[str, Any]) -> tf.Tensor:
    return DIN.compute_activation_weights(model, inputs)[0][::-1]


def doubled(model: DIN, inputs: dict[str, Any]) -> tf.Tensor:
    return 2 * DIN.compute_activation_weights(model, inputs)[0]


def not_a_number(model: DIN, inputs: dict[str, Any]) -> tf.Tensor:
    return np.nan * DIN.compute_activation_weights(model, inputs)[0]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_weights_that_are_not_the_scores_are_caught(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch, normalization: str
) -> None:
    model, inputs = make_model(data, MODELS[normalization]), find_row(data, 12)
    explain(model, inputs)
    for bug in (of_another_candidate, shifted, reversed_in_time, doubled, not_a_number):
        with monkeypatch.context() as patch:
            wrong = bug(model, inputs)
            patch.setattr(model, "compute_activation_weights", lambda _inputs, _place, wrong=wrong: (wrong, None))
            with pytest.raises(RunError, match="they are not the weights behind the score"):
                explain(model, inputs)


def test_a_history_that_is_not_shortened_right_is_caught(data: PreparedData, monkeypatch: pytest.MonkeyPatch) -> None:
    """All weights give the score, but the score without a behaviour is that without its neighbour."""
    model, inputs = make_model(data, {}), find_row(data, 12)
    leave_out = explain_module._leave_out
    monkeypatch.setattr(
        explain_module,
        "_leave_out",
        lambda inputs, name, places, histories: leave_out(inputs, name, (places + 1) % 12, histories),
    )
    with pytest.raises(RunError, match=r"behaviour \d+ of 12 left out"):
        explain(model, inputs)


def test_renormalisation_is_part_of_the_claim(data: PreparedData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Softmax weights taken for weights that do not depend on each other predict another score."""
    model, inputs = make_model(data, {}), find_row(data, 12)
    unit = model.local_activation_unit
    score = model.score
    score(inputs)  # traced while the unit is right

    def compute_wrongly(inputs: dict[str, Any], _place: int) -> tuple[tf.Tensor, None]:
        unit.normalization = "softmax"
        weights = DIN.compute_activation_weights(model, inputs)[0]
        unit.normalization = "none"
        return weights, None

    monkeypatch.setattr(model, "compute_activation_weights", compute_wrongly)
    with pytest.raises(RunError, match=r"behaviour \d+ of 12 left out"):
        explain(model, inputs)


def test_one_behaviour_and_none(data: PreparedData) -> None:
    model = make_model(data, {})
    alone = explain(model, find_row(data, 1))
    assert alone.weights.tolist() == [1.0]
    empty = {**find_row(data, 1), "history_length": np.zeros(1, np.int32)}
    nothing = explain(model, empty)
    assert (len(nothing.weights), nothing.top, len(nothing.logits_without)) == (0, None, 0)
    assert alone.logits_without == pytest.approx([nothing.logit], abs=1e-6)
    assert alone.predicted_without == pytest.approx([nothing.logit], abs=1e-6)


def test_a_weight_of_one_leaves_nothing_to_predict_from(data: PreparedData) -> None:
    model, inputs = make_model(data, {}), find_row(data, 10)
    last = model.local_activation_unit.dense[-1]
    last.kernel.assign(20_000 * last.kernel.numpy())  # scores hundreds apart
    explanation = explain(model, inputs)
    top = explanation.top
    assert top is not None
    assert explanation.weights[top] == 1
    assert np.flatnonzero(np.isnan(explanation.predicted_without)).tolist() == [top]
    assert np.isfinite(explanation.logits_without).all()


def test_a_weight_of_almost_one_keeps_the_others_digits(data: PreparedData) -> None:
    """(interest - w e) / (1 - w) in the order it is written would have lost them."""
    model, inputs = make_model(data, {}), find_row(data, 12)
    last = model.local_activation_unit.dense[-1]
    for factor in (30, 100, 300):
        kernel = last.kernel.numpy()
        last.kernel.assign(factor * kernel)
        explanation = explain(model, inputs)
        last.kernel.assign(kernel)
        assert explanation.largest_difference < 1e-4


def test_bfloat16_is_checked_as_far_as_it_goes(data: PreparedData) -> None:
    model, inputs = make_model(data, {}, precision="bfloat16"), find_row(data, 12)
    explanation = explain(model, inputs)
    assert explanation.tolerance == 0.2
    assert explanation.predicted_without == pytest.approx(explanation.logits_without, abs=0.2)


def test_scores_are_in_whole_float32(data: PreparedData, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's TensorFloat-32 alone would put predicted and scored logits further apart than is allowed."""
    model, inputs = make_model(data, {}), find_row(data, 12)
    is_short = tf.config.experimental.tensor_float_32_execution_enabled
    tf.config.experimental.enable_tensor_float_32_execution(True)  # whatever a test before has left
    seen = []
    score = model.score
    monkeypatch.setattr(model, "score", lambda batch: (seen.append(is_short()), score(batch))[1])
    explain(model, inputs)
    assert set(seen) == {False}
    assert is_short()


@pytest.mark.parametrize(
    ("weights", "top"), [([0.2, 0.5, 0.3], 1), ([-0.9, 0.5], 0), ([0.4, 0.4, 0.2], 1), ([0.0, 0.0], 1)]
)
def test_the_top_is_the_largest_in_size_and_of_equals_the_newest(weights: list[float], top: int) -> None:
    zeros = np.zeros(len(weights))
    assert explain_module.Explanation(np.array(weights), 0.0, zeros, zeros, 0.0, 1.0).top == top


def test_examples_have_the_models_own_weights(tmp_path: Path) -> None:
    data, _ = prepare_events(
        tmp_path, [(f"u{n % 20}", f"i{(n * 7 + n // 20) % 97}", f"c{n % 5}", n) for n in range(300)]
    )
    model, samples = make_model(data, {}), data.samples(Split.TEST, 100)
    logits = model.score(build_batch(data, samples, np.arange(len(samples)), 100)[0]).numpy()
    examples = choose_examples(model, data, samples, logits, seed=1, max_history_length=100)
    assert len(examples) == 6
    items, users = (read_raw_ids(data, f"{key}s", f"{key}_id", key) for key in ("item", "user"))
    for example in examples:
        rows = [row for row in range(len(samples)) if users[samples.user_ids[row]] == example["user"]]
        for row, key in zip(rows, ("clicked", "sampled"), strict=True):
            inputs, _ = build_batch(data, samples, np.array([row]), 100)
            weights = model.compute_activation_weights(inputs)[0].numpy()
            assert [each[f"weight_{key}"] for each in example["behaviours"]] == weights.astype(float).tolist()
            history = inputs["history_item_ids"][0, : inputs["history_length"][0]]
            assert [each["item"] for each in example["behaviours"]] == [items[each] for each in history]
            candidate = example[key]
            assert candidate["item"] == items[samples.target_item_ids[row]]
            assert candidate["click_probability"] == pytest.approx(
                float(compute_click_probabilities(logits[[row]])[0]), abs=1e-6
            )
