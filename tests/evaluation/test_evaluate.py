"""The one path from a model to a score: it sees the stored histories, and neither labels, neighbours nor batches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import make_config, prepare_events, read_events

from din_train.batches import EvaluationBatches
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples
from din_train.evaluation.evaluate import compute_scores
from din_train.model.build import build_model
from din_train.model.ranking_model import RankingModel

EVENTS = [(f"u{n % 9}", f"i{(n * n) % 31}", f"c{n % 5}", n) for n in range(200)]
LONGEST = 12  # shorter than the longest histories
NORMALISED = {
    "name": "din",
    "local_activation_unit": {"hidden_units": [6], "batch_normalization": True, "dropout": 0.3},
    "mlp": {"hidden_units": [8], "input_normalization": "batch", "batch_normalization": True, "dropout": 0.3},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare_events(tmp_path_factory.mktemp("log"), EVENTS)[0]


@pytest.fixture(params=[NORMALISED, {"name": "wide_deep"}], ids=lambda values: values["name"])
def model(request: pytest.FixtureRequest, data: PreparedData, tmp_path: Path) -> RankingModel:
    """With weights and statistics that are not the initial ones."""
    built = build_model(make_config(tmp_path, model=request.param).model, data, seed=3)
    for inputs, _ in batch(data, data.samples(Split.TRAIN, LONGEST), 50):
        built(inputs, training=True)
    for weight in built.trainable_weights:
        weight.assign(weight.numpy() + 0.1 * np.random.default_rng(1).normal(size=weight.shape))
    return built


def batch(data: PreparedData, samples: Samples, size: int) -> EvaluationBatches:
    return EvaluationBatches(data, samples, batch_size=size, max_history_length=LONGEST)


def test_labels_change_no_bit_of_a_score(model: RankingModel, data: PreparedData) -> None:
    samples = data.samples(Split.TEST, LONGEST)
    expected = compute_scores(model, batch(data, samples, 7))
    assert np.ptp(expected) > 1e-2
    shuffled = np.random.default_rng(1).permutation(samples.labels)
    assert shuffled.tolist() != samples.labels.tolist()
    for labels in (samples.labels, shuffled, (1 - samples.labels).astype(np.int8)):
        scores = compute_scores(model, batch(data, replace(samples, labels=labels), 7))
        assert scores.tolist() == expected.tolist()


def test_positives_and_negatives_may_be_scored_apart(model: RankingModel, data: PreparedData) -> None:
    """The authors' withdrawn numbers came from a second normalisation layer for negatives."""
    samples = data.samples(Split.TEST, LONGEST)
    expected = compute_scores(model, batch(data, samples, 1000))
    for label in (0, 1):
        rows = np.flatnonzero(samples.labels == label)
        assert compute_scores(model, batch(data, samples.take(rows), 5)) == pytest.approx(expected[rows], abs=3e-6)


def test_the_graph_that_scores_computes_what_the_model_does(model: RankingModel, data: PreparedData) -> None:
    for inputs, _ in batch(data, data.samples(Split.TEST, LONGEST), 50):
        tensors: Any = model(inputs, training=False)
        assert model.score(inputs).numpy() == pytest.approx(tensors.numpy(), abs=3e-6)


def test_a_batch_holds_the_newest_stored_events_of_each_row(data: PreparedData) -> None:
    """Against the files, one row at a time."""
    items, whole, row = read_events(data)["item_id"], data.samples(Split.TRAIN, 1_000), 0
    assert whole.history_length.max() > LONGEST
    for inputs, labels in batch(data, data.samples(Split.TRAIN, LONGEST), 16):
        for place, history in enumerate(inputs["history_row"].tolist()):
            start, end = int(whole.history_start[row]), int(whole.history_ends[row])
            length = inputs["history_length"][history]
            assert inputs["history_item_ids"][history, :length].tolist() == items[start:end][-LONGEST:]
            assert inputs["target_item_id"][place] == whole.target_item_ids[row]
            assert (inputs["user_id"][place], labels[place]) == (whole.user_ids[row], whole.labels[row])
            row += 1
    assert row == len(whole)
