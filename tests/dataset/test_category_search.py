"""What the search finds is what a plain loop finds, whatever the history, its gap and the number that is kept."""

from typing import Any

import numpy as np
import pytest
from log_factory import make_config, prepare_events

from din_train.batches import EvaluationBatches, build_batch
from din_train.config import Config
from din_train.dataset.category_search import CategorySearch
from din_train.dataset.histories import count_visits
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples
from din_train.evaluation.evaluate import compute_scores
from din_train.explain.weights import explain_score
from din_train.model.build import build_model
from din_train.model.din import DIN
from din_train.training.training_batches import TrainingBatches
from din_train.training.unmoved_rows import find_moved

ITEMS = [(n * n + n // 7) % 97 for n in range(300)]
EVENTS = [(f"u{n % 7}", f"i{item}", f"c{item % 4}" if item % 9 else "", n) for n, item in enumerate(ITEMS)]
SEARCH = {"keep": 3, "recent": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare_events(tmp_path_factory.mktemp("search"), EVENTS)[0]


def find_plainly(data: PreparedData, samples: Samples, row: int, keep: int) -> list[int]:
    category = data.item_category_ids[samples.target_item_ids[row]]
    found = []
    for event in range(samples.history_start[row], samples.history_ends[row]):
        shifted = samples.skipped is not None and 0 <= samples.skipped[row] <= event
        found.append(int(event + shifted))
    return [each for each in found if category > 1 and data.item_category_ids[data.event_item_ids[each]] == category][
        -keep:
    ]


@pytest.mark.parametrize("keep", [1, 3, 1000])
@pytest.mark.parametrize("longest", [5, 1000])
@pytest.mark.parametrize("gaps", [False, True])
def test_what_is_found_is_what_a_loop_finds(data: PreparedData, keep: int, longest: int, gaps: bool) -> None:
    samples = data.samples(Split.TRAIN, longest)
    if gaps:  # some before the history, some in it, at either end, some behind it, and none at all
        random = np.random.default_rng(3)
        skipped = samples.history_start + random.integers(-2, samples.history_length.max() + 2, len(samples))
        skipped[random.random(len(samples)) < 0.2] = -1
        samples = Samples(**{**vars(samples), "skipped": np.where(samples.history_length > 0, skipped, -1)})
        samples = samples.take(np.flatnonzero(samples.history_ends < len(data.event_item_ids)))
    rows = np.random.default_rng(1).permutation(len(samples))
    events, length = CategorySearch(data, keep, recent=5).find(samples, rows)
    ends = np.cumsum(length)
    found = [events[end - size : end].tolist() for end, size in zip(ends, length, strict=True)]
    assert found == [find_plainly(data, samples, row, keep) for row in rows]
    assert 0 < length.max() <= keep
    assert length.min() == 0


@pytest.mark.parametrize("gaps", [False, True])
def test_what_is_looked_up_is_counted(data: PreparedData, gaps: bool) -> None:
    """Of a history the newest events, which a gap may precede, and what is found; nothing else of it."""
    samples, search = data.samples(Split.TRAIN, 1000), CategorySearch(data, 3, 4)
    samples = samples.take(np.flatnonzero(samples.history_ends < len(data.event_item_ids)))
    if gaps:
        skipped = samples.history_start + np.random.default_rng(3).integers(0, samples.history_length + 1)
        samples = Samples(**{**vars(samples), "skipped": skipped})
    expected = np.zeros(len(data.event_item_ids), np.int64)
    for row in range(len(samples)):
        events = np.arange(samples.history_start[row], samples.history_ends[row] + gaps)
        expected[np.setdiff1d(events, samples.skipped[row] if gaps else [])[-4:]] += 1
        expected[find_plainly(data, samples, row, 3)] += 1
    assert search.count_visits(samples).tolist() == expected.tolist()
    assert (count_visits(len(expected), samples) > expected).any()


def test_rows_that_only_old_behaviours_have_are_filled(data: PreparedData) -> None:
    """They are in histories, but neither among the newest nor of a candidate's category."""
    samples, search = data.samples(Split.TEST, 1000), CategorySearch(data, 1, 1)
    samples, model = samples.take(np.array([0])), build(data)
    looked_up = {*samples.target_item_ids, data.event_item_ids[samples.history_ends[0] - 1]}
    looked_up |= {data.event_item_ids[event] for event in find_plainly(data, samples, 0, 1)}
    moved = find_moved(model, data, samples, unknown_rate=0.0, search=search)[model.item_embedding.items.path]
    assert np.flatnonzero(moved).tolist() == sorted(looked_up)


def test_a_batch_has_the_newest_and_what_is_found(data: PreparedData) -> None:
    samples, search = data.samples(Split.TRAIN, 1000), CategorySearch(data, 3, 4)
    rows = np.arange(len(samples))
    inputs = build_batch(data, samples, rows, 1000, shared=True, search=search)[0]
    assert len(inputs["history_length"]) < len(inputs["searched_length"]) == len(rows)
    for row in rows:
        history = inputs["history_row"][row]
        events = slice(samples.history_ends[row] - inputs["history_length"][history], samples.history_ends[row])
        recent = inputs["history_item_ids"][history, : inputs["history_length"][history]]
        assert len(recent) == min(4, samples.history_length[row])
        assert recent.tolist() == data.event_item_ids[events].tolist()
        found = inputs["searched_item_ids"][row, : inputs["searched_length"][row]].tolist()
        assert found == data.event_item_ids[find_plainly(data, samples, row, 3)].tolist()


def configure(data: PreparedData, **model: Any) -> Config:
    sizes = {"item_embedding_size": 4, "category_embedding_size": 4, "mlp": {"hidden_units": [6]}}
    return make_config(data.folder.parent, model={"name": "din", "search": SEARCH, **sizes, **model})


def build(data: PreparedData, *, padded: bool = False) -> DIN:
    model = build_model(configure(data).model, data, seed=3, padded=padded)
    assert isinstance(model, DIN)
    table = model.item_embedding.items
    table.assign(np.random.default_rng(5).normal(size=table.shape))
    return model


def test_scores_depend_on_both_and_on_no_company(data: PreparedData) -> None:
    model, samples, search = build(data), data.samples(Split.TEST, 1000), CategorySearch(data, 3, 4)
    shared = compute_scores(model, EvaluationBatches(data, samples, batch_size=9, max_history_length=50, search=search))
    inputs = build_batch(data, samples, np.arange(len(samples)), 50, search=search)[0]
    assert model.score(inputs).numpy() == pytest.approx(shared, abs=1e-5)
    for name in ("history", "searched"):
        emptied = {**inputs, f"{name}_length": np.zeros(len(samples), np.int32)}
        changed = np.abs(model.score(emptied).numpy() - shared) > 1e-6
        assert changed.tolist() == (inputs[f"{name}_length"] > 0).tolist()
    one = {key: values[:1] for key, values in inputs.items()}
    for place, name in enumerate(("history", "searched")):
        explanation = explain_score(model, one, place)  # which checks its weights against the scores
        assert len(explanation.weights) == one[f"{name}_length"][0] > 1


def test_training_sees_what_scoring_sees(data: PreparedData) -> None:
    samples, search = data.samples(Split.TRAIN, 1000).take(np.arange(200)), CategorySearch(data, 3, 4)
    options: dict[str, Any] = {"batch_size": 1000, "max_history_length": 50, "unknown_rate": 0.0, "seed": 1}
    ((inputs, labels),) = TrainingBatches(data, samples, search=search, **options)
    scored = build_batch(data, samples, np.arange(len(samples)), 50, search=search)[0]

    def show(batch: dict[str, np.ndarray]) -> list[tuple[object, ...]]:
        history = batch["history_row"]
        columns = batch["target_item_id"], batch["user_id"], batch["history_item_ids"][history][:, :4]
        return sorted(
            (*(each[row].tolist() for each in columns), batch["searched_item_ids"][row].tolist())
            for row in range(len(history))
        )

    assert show(inputs) == show(scored)
    model, padded = build(data), build(data, padded=True)
    ((blocks, _),) = TrainingBatches(data, samples, search=search, padded=True, **options)
    assert sorted(padded(blocks, training=True).numpy()) == pytest.approx(
        sorted(model(inputs, training=True).numpy()), abs=1e-4
    )
    assert len(labels) == len(samples)


def test_what_does_not_search_is_refused(data: PreparedData) -> None:
    with pytest.raises(ValueError, match="not used by 'base', only by 'din'; remove it"):
        configure(data, name="base")
