"""Rows of several sequences: each is pooled by itself, by a unit of its own in DIN, beside the history's interest."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import make_config, read_raw_ids
from padded_batches import check_equal_logits

from din_train.batches import build_batch
from din_train.config import Config
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples, open_store
from din_train.errors import ConfigError
from din_train.explain.examples import choose_examples
from din_train.explain.explain import find_pair_row
from din_train.explain.weights import explain_score
from din_train.model.build import build_model
from din_train.model.deep_model import DeepModel
from din_train.model.din import DIN
from din_train.training.regularization import count_table_rows
from din_train.training.training_batches import TrainingBatches

START = 1_400_000_000
FIELDS = ("type", "time_gap")
SIZES = {"item_embedding_size": 4, "category_embedding_size": 4, "mlp": {"hidden_units": [8]}}
DATA: dict[str, Any] = {
    "source": "rows",
    "events": None,
    "columns": {"user": "u", "item": "i", "label": "y", "timestamp": "at"},
    "sequences": {
        "clicks": {"item": "h", "timestamp": "t", "fields": {"type": "k"}},
        "carts": {"item": "carts", "fields": {"type": "ck"}},
        "orders": {"item": "orders"},
    },
    "behaviour_fields": list(FIELDS),
}


def row(user: str, item: str, label: int, clicks: str, carts: str, orders: str) -> dict[str, Any]:
    return {
        "u": user,
        "i": item,
        "y": label,
        "at": START + 9_000,
        "h": list(clicks),
        "carts": list(carts),
        "t": [START + 100 * place for place in range(len(clicks))],
        "k": ["view" if x < "c" else "buy" for x in clicks],
        "ck": ["buy"] * len(carts),
        "orders": list(orders),
    }


ROWS = [
    row("u", "x", 1, "abcab", "cd", "a"), row("u", "y", 0, "abcab", "cd", "a"), row("u", "z", 1, "abc", "", "ab"),
    row("v", "x", 0, "", "dcab", ""), row("v", "y", 1, "ba", "d", "c"), row("w", "z", 0, "dddd", "a", "bbb"),
]  # fmt: skip


def configure(folder: Path, **model: Any) -> Config:
    data = {**DATA, **{name: str(folder / f"{name}.jsonl") for name in ("train", "test")}}
    return make_config(folder, data=data, model={"name": "base", **SIZES, **model})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("rows")
    for name, rows in {"train": [*ROWS, row("u", "x", 1, "abcab", "cd", "a")], "test": ROWS}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    config = configure(folder)
    prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared)


def build(data: PreparedData, *, padded: bool = False, **model: Any) -> Any:
    """With rows of items that differ."""
    built = build_model(configure(data.folder.parent, **model).model, data, seed=3, padded=padded)
    for table in (built.item_embedding.items, built.item_embedding.categories):
        table.assign(np.random.default_rng(5).normal(size=table.shape))
    return built


def batch(data: PreparedData, rows: list[int], longest: int = 9, fields: tuple[str, ...] = ()) -> dict[str, Any]:
    return build_batch(data, data.samples(Split.TEST, longest), np.array(rows), longest, fields)[0]


def test_a_batch_has_the_newest_of_each_sequence(data: PreparedData) -> None:
    inputs = batch(data, list(range(6)), longest=3, fields=FIELDS)
    items = {0: ".", **read_raw_ids(data, "items", "item_id", "item")}

    def read(name: str) -> list[str]:
        return ["".join(items[each] for each in row).rstrip(".") for row in inputs[f"{name}_item_ids"]]

    assert read("history") == ["cab", "cab", "abc", "", "ba", "ddd"]
    assert read("carts") == ["cd", "cd", "", "cab", "d", "a"]
    assert read("orders") == ["a", "a", "ab", "", "c", "bbb"]
    assert list(data.sequences) == ["carts", "orders"]  # in the order of the config
    assert inputs["carts_length"].tolist() == [2, 2, 0, 3, 1, 1]
    assert inputs["carts_item_ids"].dtype == inputs["carts_length"].dtype == np.int32
    view, buy = inputs["history_type"][0, 1], inputs["history_type"][0, 0]  # of a, of c
    assert view != buy
    assert inputs["carts_type"][0].tolist() == [buy, buy, 0]
    assert inputs["orders_type"][0].tolist() == [1, 0, 0]  # a sequence without the field: unknown
    assert inputs["history_time_gap"][0].min() > 1
    assert inputs["carts_time_gap"][0].tolist() == [1, 1, 0]  # without times


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_each_sequence_is_pooled_by_itself(data: PreparedData, pooling: str) -> None:
    model = build(data, pooling=pooling, user_candidate_product=True)
    assert isinstance(model, DeepModel)
    inputs = batch(data, list(range(6)))
    located = model.locate(inputs)
    candidate, behaviours = model.embed(located)
    found = model.compute_user_interest(located, candidate, behaviours, training=False).numpy()
    ids = {raw: key for key, raw in read_raw_ids(data, "items", "item_id", "item").items()}
    rows = model.item_embedding.items.numpy()
    category = model.item_embedding.categories.numpy()[1]  # these items have none

    def pool(items: list[str]) -> np.ndarray:
        vectors = [np.append(rows[ids[each]], category) for each in items]
        return np.sum(vectors, axis=0) / (len(items) if pooling == "mean" else 1) if items else np.zeros(8)

    expected = [np.concatenate([pool(each["h"]), pool(each["carts"]), pool(each["orders"])]) for each in ROWS]
    assert found == pytest.approx(np.array(expected), abs=1e-5)
    product = model.build_mlp_inputs(located, found, candidate)[2].numpy()
    assert product == pytest.approx(np.array(expected) * np.tile(candidate.numpy(), [1, 3]), abs=1e-5)


@pytest.mark.parametrize("model", [{"name": "base"}, {"name": "pnn"}, {"name": "din", "behaviour_fields": FIELDS}])
def test_padding_and_empty_sequences(data: PreparedData, model: dict[str, Any]) -> None:
    built = build(data, field_embedding_size=4, **model)
    fields = built.behaviour_fields
    inputs = batch(data, list(range(6)), fields=fields)
    before = built.score(inputs).numpy()
    lists = [name for name, values in inputs.items() if name.startswith(("carts", "orders")) and values.ndim == 2]
    assert len(lists) == 2 * (1 + len(fields))
    wider = {**inputs, **{name: np.pad(inputs[name], [(0, 0), (0, 5)], constant_values=2) for name in lists}}
    assert built.score(wider).numpy().tolist() == before.tolist()
    alone = np.concatenate([built.score(batch(data, [place], fields=fields)).numpy() for place in range(6)])
    assert before == pytest.approx(alone, abs=1e-5)
    for name in ("carts", "orders"):
        emptied = built.score({**inputs, f"{name}_length": np.zeros(6, np.int32)}).numpy()
        was_empty = inputs[f"{name}_length"] == 0
        assert was_empty.any()
        assert emptied[was_empty] == pytest.approx(before[was_empty], abs=1e-6)
        assert (np.abs(emptied - before)[~was_empty] > 1e-6).all()


@pytest.mark.parametrize("model", [{"name": "base"}, {"name": "pnn"}, {"name": "din", "behaviour_fields": FIELDS}])
def test_neighbours_share_equal_sequences(data: PreparedData, model: dict[str, Any]) -> None:
    built = build(data, field_embedding_size=4, **model)
    samples, fields = data.samples(Split.TEST, 9), built.behaviour_fields
    rows = np.array([0, 0, 1, 2, 2, 5])
    inputs, _ = build_batch(data, samples, rows, 9, fields, shared=True)
    alone, _ = build_batch(data, samples, rows, 9, fields)
    assert inputs["history_row"].tolist() == [0, 0, 0, 1, 1, 2]
    assert inputs["carts_length"].tolist() == [2, 0, 1]
    assert built.score(inputs).numpy() == pytest.approx(built.score(alone).numpy(), abs=1e-5)


def test_each_further_sequence_has_a_unit_of_its_own(data: PreparedData) -> None:
    model = build(data, name="din")
    assert isinstance(model, DIN)
    inputs = batch(data, [0])
    located = model.locate(inputs)
    candidate, behaviours = model.embed(located)

    def pool() -> list[np.ndarray]:
        return np.split(model.compute_user_interest(located, candidate, behaviours, training=False).numpy()[0], 3)

    before = pool()
    carts, orders = model.sequence_units
    assert not np.array_equal(carts.kernel.numpy(), orders.kernel.numpy())
    weights = carts(candidate, behaviours[1], positions=located.others[0].positions).numpy()
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    assert before[1] == pytest.approx(weights @ behaviours[1].numpy(), abs=1e-5)
    carts.kernel.assign(-3 * carts.kernel.numpy())
    after = pool()
    assert [np.array_equal(one, other) for one, other in zip(before, after, strict=True)] == [True, False, True]
    names = {weight.path for weight in model.trainable_weights}
    assert len(names) == len(model.trainable_weights)


def test_padded_batches_give_the_same(data: PreparedData) -> None:
    model = {"name": "din", "behaviour_fields": FIELDS}
    flat, padded = build(data, **model), build(data, padded=True, **model)
    samples = data.samples(Split.TEST, 9)
    check_equal_logits(flat, padded, build_batch(data, samples, np.arange(6), 9, FIELDS), 9, FIELDS)


def test_ids_of_all_sequences_are_hidden_and_counted(data: PreparedData) -> None:
    samples = data.samples(Split.TRAIN, 9)

    def count_hidden(rate: float) -> dict[str, int]:
        options: dict[str, Any] = {"batch_size": 64, "max_history_length": 9, "seed": 1}
        ((inputs, _),) = TrainingBatches(data, samples, unknown_rate=rate, **options)
        return {name: int(np.sum(inputs[f"{name}_item_ids"] < 0)) for name in ("history", *data.sequences)}

    assert set(count_hidden(0).values()) == {0}
    assert min(count_hidden(0.8).values()) > 0
    model = build(data, name="din", behaviour_fields=FIELDS)
    counts = count_table_rows(model, data, samples)
    lengths = sum(int(length.sum()) for _, length in samples.all_sequences.values())
    assert counts[model.item_embedding.items.path].sum() == len(samples) + lengths
    for table in model.behaviour_embedding.tables:
        assert counts[table.path].sum() == lengths


def test_taken_and_joined_rows_keep_their_sequences(data: PreparedData) -> None:
    samples = data.samples(Split.TEST, 9)
    joined = Samples.join([samples.take(np.array([3, 0])), samples])
    assert joined.sequences["carts"][1].tolist() == [4, 2, 2, 2, 0, 4, 1, 1]
    assert joined.sequences["carts"][0][:2].tolist() == samples.sequences["carts"][0][[3, 0]].tolist()


@pytest.mark.parametrize("fields", [(), FIELDS])
def test_the_weights_of_each_sequence_explain_the_score(data: PreparedData, fields: tuple[str, ...]) -> None:
    model = build(data, name="din", user_candidate_product=True, behaviour_fields=fields)
    inputs = build_batch(data, data.samples(Split.TEST, 9), np.array([3]), 9, fields)[0]  # no clicks, four carts
    history, carts, orders = (explain_score(model, inputs, place) for place in range(3))
    assert [len(each.weights) for each in (history, carts, orders)] == [0, 4, 0]
    inputs = build_batch(data, data.samples(Split.TEST, 9), np.array([0]), 9, fields)[0]
    history, carts, orders = (explain_score(model, inputs, place) for place in range(3))
    assert [len(each.weights) for each in (history, carts, orders)] == [5, 2, 1]
    located = model.locate(inputs)
    candidate, behaviours = model.embed(located)
    of_carts = model.sequence_units[0](candidate, behaviours[1], positions=located.others[0].positions)
    assert carts.weights == pytest.approx(of_carts.numpy(), abs=1e-6)
    assert np.ptp(history.logits_without) > 1e-4
    assert np.ptp(carts.logits_without) > 1e-4
    without = {**inputs, "orders_length": np.zeros(1, np.int32)}
    assert orders.logits_without == pytest.approx(model.score(without).numpy(), abs=1e-6)


def test_an_example_weighs_all_sequences(data: PreparedData) -> None:
    model = build(data, name="din")
    samples = data.samples(Split.TEST, 9)
    logits = np.zeros(len(samples), np.float32)
    examples = {
        each["user"]: each for each in choose_examples(model, data, samples, logits, seed=1, max_history_length=9)
    }
    example = examples["u"]
    sequences = {"history": example["behaviours"], **example["sequences"]}
    shown = {name: "".join(each["item"] for each in behaviours) for name, behaviours in sequences.items()}
    assert shown == {"history": "abcab", "carts": "cd", "orders": "a"}
    assert example["sampled"]["item"] == "y"
    assert sum(each["weight_sampled"] for each in sequences["carts"]) == pytest.approx(1, abs=1e-6)
    samples.sequences["carts"][1][1] = 1  # the other row has another cart
    (again,) = [
        each
        for each in choose_examples(model, data, samples, logits, seed=1, max_history_length=9)
        if each["user"] == "u"
    ]
    assert again["sampled"] is None


def test_a_pair_that_no_row_has_is_not_explained(data: PreparedData) -> None:
    tables = {name: read_raw_ids(data, f"{name}s", f"{name}_id", name) for name in ("user", "item")}
    users, items = ({raw: key for key, raw in table.items()} for table in tables.values())
    row = find_pair_row(data, users["u"], items["x"], 9)
    assert "; the score also takes the row's carts (2), orders (1)" in row.history
    with pytest.raises(ConfigError, match="the model also takes carts, orders, which only rows have"):
        find_pair_row(data, users["w"], items["x"], 9)


def test_config_problems(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'carts' beside the history, which 'lr' does not take; only din, base, pnn"):
        configure(tmp_path, name="lr")
    with pytest.raises(ValueError, match="whose column 'carts_length' is a taken name"):
        make_config(tmp_path, data={**DATA, "train": "a", "test": "b", "context_fields": ["carts_length"]})


def test_another_order_of_sequences_is_another_data_set(data: PreparedData, tmp_path: Path) -> None:
    names, reasons = [], []
    for order in (["carts", "orders"], ["orders", "carts"], ["orders", "carts"]):
        config = configure(data.folder.parent)
        sequences = {name: DATA["sequences"][name] for name in ("clicks", *order)}
        changed = {**DATA, "train": str(config.data.train), "test": str(config.data.test), "sequences": sequences}
        config = make_config(tmp_path, data=changed)
        reasons.append(prepare_data(config, force=False, progress=lambda _: None).reason)
        names.append(list(open_store(config.data.prepared).sequences))
    assert reasons == ["there was none", "data.sequences has changed", None]
    assert names == [["carts", "orders"], ["orders", "carts"], ["orders", "carts"]]
