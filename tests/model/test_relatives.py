"""DIEN, BST and TIN equal their papers' formulas in plain NumPy, learn, and are told from what DIN is."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from log_factory import make_config, prepare_events

from din_train.batches import EvaluationBatches, build_batch
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.evaluation.evaluate import compute_scores
from din_train.evaluation.metrics import compute_user_aucs, summarise_gauc
from din_train.explain.weights import explain_score
from din_train.model.bst import BST
from din_train.model.build import build_model
from din_train.model.deep_model import DeepModel
from din_train.model.dien import DIEN, GRU, find_other_behaviours
from din_train.model.losses import LogLoss
from din_train.model.position_embedding import PositionEmbedding
from din_train.model.positions import FlatPositions, PaddedPositions
from din_train.model.tin import TIN
from din_train.training.training_batches import TrainingBatches

Floats = np.ndarray[Any, np.dtype[np.float64]]

EVENTS = [(f"u{n % 9}", f"i{(n * n) % 31}", f"c{n % 5}", n) for n in range(200)]
SIZES = {"item_embedding_size": 5, "category_embedding_size": 3, "mlp": {"hidden_units": [6]}}
ROWS = np.arange(14)
RELATIVES = {
    "dien": {},
    "bst": {"num_positions": 4, "bst": {"num_blocks": 2, "num_heads": 3, "dropout": 0.0}},
    "tin": {"num_positions": 4},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare_events(tmp_path_factory.mktemp("relatives"), EVENTS)[0]


def build(data: PreparedData, name: str, **changes: Any) -> Any:
    """With weights that differ enough for attention to be uneven."""
    config = make_config(data.folder.parent, model={"name": name, **SIZES, **RELATIVES[name], **changes})
    model = build_model(config.model, data, seed=3)
    random = np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign(weight.numpy() + random.normal(scale=0.5, size=weight.shape))
    return model


def read(data: PreparedData) -> dict[str, np.ndarray]:
    inputs = build_batch(data, data.samples(Split.TRAIN, 100), ROWS, 100)[0]
    assert inputs["history_length"].max() > 4  # more than places with a vector of their own
    assert inputs["history_length"].min() < 4
    return inputs


def embed(model: DeepModel, inputs: dict[str, np.ndarray], row: int) -> tuple[Floats, Floats]:
    """Candidate [E] and behaviours [T, E] of a row."""
    categories = model.item_embedding.item_category_ids.numpy()

    def look_up(ids: np.ndarray) -> Floats:
        tables = model.item_embedding.items.numpy()[ids], model.item_embedding.categories.numpy()[categories[ids]]
        return np.concatenate(tables, axis=1).astype(np.float64)

    history = inputs["history_item_ids"][row, : inputs["history_length"][row]]
    return look_up(inputs["target_item_id"][[row]])[0], look_up(history)


def pool(model: DeepModel, inputs: dict[str, np.ndarray]) -> Floats:
    """[B, E] the model's interest."""
    batch = model.locate(inputs)
    candidate, behaviours = model.embed(batch)
    return model.compute_user_interest(batch, candidate, behaviours, training=False).numpy()


def sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def softmax(x: Floats) -> Floats:
    exponents = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def place(model: Any, q: Floats, k: Floats) -> tuple[Floats, Floats]:
    """With the vectors of their places: 4 of their own, and one of the candidate's."""
    table = model.position_embedding.table.numpy()
    places = [min(len(k) - 1 - each, 3) for each in range(len(k))]
    return q + table[0], k + table[[1 + each for each in places]]


def compute(data: PreparedData, name: str) -> tuple[Any, Any, Floats, Floats, Floats]:
    """A model and a batch; its weights [P] and the candidate's row of each; and the interests [M, E]."""
    model, inputs = build(data, name), read(data)
    weights, rows = (each.numpy() for each in model.compute_activation_weights(inputs))
    return model, inputs, weights, rows, pool(model, inputs)


def test_tin_is_the_papers_formula(data: PreparedData) -> None:
    model, inputs, weights, rows, interest = compute(data, "tin")
    assert isinstance(model, TIN)
    for row in ROWS:
        q, k = place(model, *embed(model, inputs, row))
        alpha = softmax(k @ q / np.sqrt(8))
        assert weights[rows == row] == pytest.approx(alpha, abs=1e-5)
        assert interest[row] == pytest.approx((alpha[:, None] * k * q).sum(axis=0), abs=1e-5)
    assert np.ptp(weights) > 0.1


def walk(gru: Any, x: Floats, attention: Floats | None = None) -> Floats:
    """States [T, U]."""
    w_u, w_r, w_c = np.split(gru.kernel.numpy().astype(np.float64), 3, axis=1)
    u_u, u_r, u_c = np.split(gru.recurrent_kernel.numpy().astype(np.float64), 3, axis=1)
    b_u, b_r, b_c = np.split(gru.bias.numpy().astype(np.float64), 3)
    h, states = np.zeros(x.shape[1]), []
    for t, x_t in enumerate(x):
        update = sigmoid(x_t @ w_u + h @ u_u + b_u) * (1 if attention is None else attention[t])
        reset = sigmoid(x_t @ w_r + h @ u_r + b_r)
        h = (1 - update) * h + update * np.tanh(x_t @ w_c + reset * (h @ u_c) + b_c)
        states.append(h)
    return np.array(states).reshape(len(x), -1)


def test_dien_is_the_papers_formula(data: PreparedData) -> None:
    model, inputs, weights, rows, interest = compute(data, "dien")
    assert isinstance(model, DIEN)
    for row in ROWS:
        q, k = embed(model, inputs, row)
        states = walk(model.extraction, k)
        attention = softmax(states @ model.attention.kernel.numpy() @ q)
        assert weights[rows == row] == pytest.approx(attention, abs=1e-5)
        assert interest[row] == pytest.approx(walk(model.evolution, states, attention)[-1], abs=1e-5)
    assert np.ptp(weights) > 0.1


def test_diens_auxiliary_loss_is_added_to_the_loss_and_to_no_score(data: PreparedData) -> None:
    """By plain loops: the other behaviour is the one half of all behaviours further on, if it is another item."""
    model, without, inputs = build(data, "dien"), build(data, "dien", dien={"auxiliary_weight": 0}), read(data)
    vectors = [embed(model, inputs, row)[1] for row in ROWS]
    ids = np.concatenate(
        [inputs["history_item_ids"][row, : len(each)] for row, each in zip(ROWS, vectors, strict=True)]
    )
    every = np.concatenate(vectors)
    losses, first, skipped = [], 0, 0
    for k in vectors:
        states, of_row = walk(model.extraction, k), []
        for t in range(len(k) - 1):
            following = first + t + 1
            other = (following + len(every) // 2) % len(every)
            skipped += int(ids[other] == ids[following])
            if ids[other] != ids[following]:
                clicked, not_clicked = sigmoid(states[t] @ k[t + 1]), sigmoid(states[t] @ every[other])
                of_row.append(-np.log(clicked) - np.log(1 - not_clicked))
        losses.append(np.mean(of_row) if of_row else 0.0)
        first += len(k)
    assert skipped > 0
    results = {}
    labels = tf.zeros(len(ROWS))
    for name, each in (("with", model), ("without", without)):
        each.compile(loss=LogLoss())
        given = {key: tf.constant(values) for key, values in inputs.items()}
        count = tf.constant(float(len(ROWS)))
        loss, _ = each._loop_over_groups(given, labels, None, count, count)
        results[name] = float(loss)
    assert results["with"] - results["without"] == pytest.approx(np.mean(losses), abs=1e-5)
    assert np.mean(losses) > 0.1
    assert model.score(inputs).numpy() == pytest.approx(without.score(inputs).numpy(), abs=1e-6)


def test_the_other_behaviour_is_never_padding() -> None:
    flat = FlatPositions(tf.constant([0, 0, 2, 2, 2]), tf.constant(3))
    assert find_other_behaviours(flat, tf.constant(5)).numpy().tolist() == [2, 3, 4, 0, 1]
    padded = PaddedPositions(tf.constant([2, 0, 3]), [(3, 3)], "float32")  # valid places: 0, 1, 6, 7, 8
    others = find_other_behaviours(padded, tf.constant(9)).numpy()
    assert others[[0, 1, 6, 7, 8]].tolist() == [6, 7, 8, 0, 1]


def normalize(layer: Any, x: Floats) -> Floats:
    centered = x - x.mean(axis=-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-6)
    return scaled * layer.gamma.numpy() + layer.beta.numpy()


def apply(dense: Any, x: Floats) -> Floats:
    return x @ dense.kernel.numpy() + (dense.bias.numpy() if dense.use_bias else 0)


def transform(block: Any, x: Floats) -> tuple[Floats, Floats]:
    """[T, E], and the mean of the heads' attention [T, T]; 8 numbers are 3 heads of 3."""
    heads, attentions = [], []
    for head in range(3):
        columns = slice(3 * head, 3 * head + 3)
        q, k, v = (apply(each, x)[:, columns] for each in (block.query, block.key, block.value))
        attentions.append(softmax(q @ k.T / np.sqrt(3)))
        heads.append(attentions[-1] @ v)
    s = normalize(block.norms[0], x + apply(block.out, np.concatenate(heads, axis=1)))
    hidden = apply(block.first, s)
    f = apply(block.second, np.where(hidden > 0, hidden, 0.2 * hidden))
    return normalize(block.norms[1], s + f), np.mean(attentions, axis=0)


def test_bst_is_the_papers_formula(data: PreparedData) -> None:
    model, inputs, weights, rows, interest = compute(data, "bst")
    assert isinstance(model, BST)
    for row in ROWS:
        q, k = place(model, *embed(model, inputs, row))
        x = np.concatenate([q[None], k])
        for block in model.blocks:
            x, attention = transform(block, x)
        assert weights[rows == row] == pytest.approx(attention[0, 1:], abs=1e-5)
        assert interest[row] == pytest.approx(x.mean(axis=0), abs=1e-4)
    assert np.ptp(weights) > 0.1


def test_older_behaviours_share_the_last_place() -> None:
    layer = PositionEmbedding(num_positions=2)
    none = tf.zeros([1, 3]), tf.zeros([4, 3])
    layer(*none, from_newest=tf.range(4))
    table = np.arange(9, dtype=np.float32).reshape(3, 3)  # the candidate's, the newest's, all others'
    layer.table.assign(table)
    candidate, behaviours = layer(*none, from_newest=tf.constant([3, 2, 1, 0]))
    assert candidate.numpy().tolist() == table[[0]].tolist()
    assert behaviours.numpy().tolist() == table[[2, 2, 2, 1]].tolist()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(*none, from_newest=tf.constant([3, 2, 1, 0]))[1])
    assert tape.gradient(total, layer.table.value).numpy().tolist() == [[0] * 3, [1] * 3, [3] * 3]


def test_a_gru_walks_each_history_by_itself() -> None:
    """Three rows of 2, 0 and 3 positions; the states are those of each alone, and garbage in padding is nothing."""
    random = np.random.default_rng(2)
    values = random.normal(size=(5, 4)).astype(np.float32)
    gru = GRU()
    flat = gru(values, positions=FlatPositions(tf.constant([0, 0, 2, 2, 2]), tf.constant(3)))
    expected = np.concatenate([walk(gru, values[:2]), walk(gru, values[2:])])
    assert flat.numpy() == pytest.approx(expected, abs=1e-6)
    padded = np.full((9, 4), 1e3, np.float32)
    padded[[0, 1, 6, 7, 8]] = values
    states = gru(padded, positions=PaddedPositions(tf.constant([2, 0, 3]), [(3, 3)], "float32")).numpy()
    assert states[[0, 1, 6, 7, 8]] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", RELATIVES)
def test_candidates_of_one_history_score_as_row_by_row(name: str, data: PreparedData) -> None:
    model, samples = build(data, name), data.samples(Split.TRAIN, 100)
    shared = build_batch(data, samples, ROWS, 100, shared=True)[0]
    assert len(shared["history_length"]) < len(ROWS)
    assert model.score(shared).numpy() == pytest.approx(model.score(read(data)).numpy(), abs=1e-5)


@pytest.mark.parametrize("name", RELATIVES)
def test_weights_are_explained_beside_the_scores_without_each_behaviour(name: str, data: PreparedData) -> None:
    model = build(data, name)
    row = int(np.flatnonzero(data.samples(Split.TRAIN, 100).history_length == 3)[0])
    inputs = build_batch(data, data.samples(Split.TRAIN, 100), np.array([row]), 100)[0]
    explanation = explain_score(model, inputs)
    assert explanation.weights == pytest.approx(model.compute_activation_weights(inputs)[0].numpy())
    history = inputs["history_item_ids"][0, :3]
    for left_out in range(3):
        without = {
            **inputs,
            "history_item_ids": np.delete(history, left_out)[None],
            "history_length": np.array([2], np.int32),
        }
        assert explanation.logits_without[left_out] == pytest.approx(model.score(without).numpy()[0], abs=1e-5)
    assert explanation.predicted_probabilities_without == [None] * 3
    assert explanation.largest_difference is None


LOG = [(f"u{u}", f"i{(u % 4) * 5 + (u * 7 + n * 3) % 5}", f"c{u % 4}", n) for u in range(60) for n in range(8)]


@pytest.mark.parametrize("name", RELATIVES)
def test_an_epoch_learns_what_users_go_back_to(name: str, tmp_path: Path) -> None:
    """Each user stays in one of four categories, so that a candidate of it is the clicked one."""
    data = prepare_events(tmp_path, LOG)[0]
    model = build_model(make_config(tmp_path, model={"name": name, **SIZES}).model, data, seed=3)
    batches = TrainingBatches(
        data, data.samples(Split.TRAIN, 20), batch_size=16, max_history_length=20, unknown_rate=0.0, seed=1
    )
    model.compile(batch_size=16, loss=LogLoss(), optimizer=keras.optimizers.Adam(0.02))
    model.fit(batches.to_dataset(), epochs=1, verbose=0, shuffle=False)
    test = data.samples(Split.TEST, 20)
    logits = compute_scores(model, EvaluationBatches(data, test, batch_size=64, max_history_length=20))
    aucs = compute_user_aucs(test.user_ids, test.labels, logits, None)
    assert summarise_gauc(aucs, "impressions").value > 0.7
