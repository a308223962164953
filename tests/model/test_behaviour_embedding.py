"""Behaviour fields widen behaviours and the candidate; padding changes nothing; weighted rows weigh in the loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from log_factory import make_config, write_table
from padded_batches import check_equal_logits

from din_train.batches import build_batch
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.explain.weights import explain_score
from din_train.model.build import build_model
from din_train.model.din import DIN
from din_train.model.losses import LogLoss
from din_train.training.optimizers import LazySGD
from din_train.training.regularization import count_table_rows

FIELDS = ("type", "time_gap")
LOG: dict[str, Any] = {
    "columns": {"user": "user", "item": "item", "timestamp": "time"},
    "behaviour_fields": list(FIELDS),
}
MODEL: dict[str, Any] = {
    "name": "din",
    "behaviour_fields": list(FIELDS),
    "field_embedding_size": 3,
    "item_embedding_size": 4,
    "category_embedding_size": 2,
    "mlp": {"hidden_units": [8]},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("log")
    rows = [
        [f"u{n % 5}", f"i{n * 7 % 13}", 1_400_000_000 + n * n * 60, ["view", "cart", "buy"][n % 3]] for n in range(60)
    ]
    write_table(folder / "log.tsv", ["user", "item", "time", "type"], rows)
    config = make_config(folder, data=LOG)
    prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared)


@pytest.fixture(scope="module")
def model(data: PreparedData) -> DIN:
    built = build_model(make_config(data.folder.parent, data=LOG, model=MODEL).model, data, seed=3)
    assert isinstance(built, DIN)
    return built


def test_rows_stand_beside_the_behaviours_and_a_vector_beside_the_candidate(data: PreparedData, model: DIN) -> None:
    inputs, _ = build_batch(data, data.samples(Split.TEST, 9), np.arange(2), 9, FIELDS)
    batch = model.locate(inputs)
    candidate, (behaviours,) = model.embed(batch)
    assert (candidate.shape[1], behaviours.shape[1]) == (12, 12)  # 4 + 2 + two fields of 3
    assert model.candidate_row is not None
    assert model.behaviour_embedding is not None
    assert candidate.numpy()[:, 6:].tolist() == [model.candidate_row.numpy()[0].tolist()] * 2
    tables = [table.numpy() for table in model.behaviour_embedding.tables]
    first = [inputs[f"history_{name}"][0, 0] for name in FIELDS]
    expected = np.concatenate([table[each] for table, each in zip(tables, first, strict=True)])
    assert behaviours.numpy()[0, 6:].tolist() == expected.tolist()


def test_padding_changes_nothing_and_every_field_counts(data: PreparedData, model: DIN) -> None:
    samples = data.samples(Split.TEST, 9)
    inputs, labels = build_batch(data, samples, np.arange(6), 9, FIELDS)
    before = model.score(inputs).numpy()
    names = ("history_item_ids", "history_type", "history_time_gap")
    wider = {**inputs, **{name: np.pad(inputs[name], [(0, 0), (0, 5)], constant_values=2) for name in names}}
    assert model.score(wider).numpy().tolist() == before.tolist()
    for name in FIELDS:
        changed = {**inputs, f"history_{name}": np.where(inputs[f"history_{name}"] > 0, 4, 0).astype(np.int32)}
        assert not np.array_equal(model.score(changed).numpy(), before)
    padded = build_model(make_config(data.folder.parent, data=LOG, model=MODEL).model, data, seed=3, padded=True)
    for one, other in zip(padded.weights, model.weights, strict=True):
        one.assign(other)
    check_equal_logits(model, padded, (inputs, labels), 9, FIELDS)


def test_the_weights_explain_the_score(data: PreparedData, model: DIN) -> None:
    inputs, _ = build_batch(data, data.samples(Split.TEST, 9), np.arange(1), 9, FIELDS)
    explanation = explain_score(model, inputs)
    assert len(explanation.weights) == int(inputs["history_length"][0])


def test_the_ids_of_behaviour_fields_are_counted(data: PreparedData, model: DIN) -> None:
    samples = data.samples(Split.TRAIN, 9)
    counts = count_table_rows(model, data, samples)
    assert model.behaviour_embedding is not None
    rows = np.arange(len(samples))
    inputs, _ = build_batch(data, samples, rows, 9, FIELDS)
    for table, name in zip(model.behaviour_embedding.tables, FIELDS, strict=True):
        ids = inputs[f"history_{name}"]
        assert counts[table.path].tolist() == np.bincount(ids[ids > 0], minlength=table.shape[0]).tolist()


def test_a_step_takes_the_mean_of_the_weighted_losses(data: PreparedData, tmp_path: Path) -> None:
    config = make_config(tmp_path, model={"name": "lr"})
    model = build_model(config.model, data, seed=3)
    inputs, labels = build_batch(data, data.samples(Split.TRAIN, 9), np.arange(4), 9)
    weights = np.array([0.0, 1.0, 2.0, 5.0], np.float32)
    logits = model(inputs).numpy().astype(np.float64)
    model.compile(optimizer=LazySGD(0.5), loss=LogLoss())
    before = float(model.bias.numpy())
    result = model.train_step((inputs, tf.constant(labels), tf.constant(weights)))
    losses = np.logaddexp(0, logits) - labels * logits
    assert float(result["loss"]) == pytest.approx(np.mean(weights * losses), rel=1e-5)
    gradient = np.mean(weights * (1 / (1 + np.exp(-logits)) - labels))
    assert float(model.bias.numpy()) == pytest.approx(before - 0.5 * gradient, rel=1e-4)
