"""A warm start: before any step the scores of old ids are yesterday's bit by bit, whatever ids they have today.

Faults are planted in what carries rows, slots and the unknown row; each must show in what these tests look at.
"""

from contextlib import chdir
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner
from log_factory import make_config, write_log, write_table

from din_train.batches import build_batch
from din_train.cli import cli
from din_train.config import OptimizerConfig
from din_train.dataset.names import build_id_finder, read_names
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.dataset.vocabulary import PAD_ID, RawIds
from din_train.errors import RunError
from din_train.fit import fit
from din_train.model.build import build_model
from din_train.model.embedding import GivenVectors
from din_train.model.losses import build_loss
from din_train.model.ranking_model import RankingModel
from din_train.scoring import open_run
from din_train.training import warm_start
from din_train.training.optimizers import build_optimizer
from din_train.training.training_batches import TrainingBatches
from din_train.training.unmoved_rows import UnmovedRows, fill_unmoved
from din_train.training.warm_start import EarlierModel, EarlierOptimizer, find_carried_rows, match_ids

DAY, START = 86_400, 1_400_000_000
HEADER = ["user", "item", "category", "time", "brand", "price", "size", "shop", "age", "device"]
FIELDS: dict[str, Any] = {
    "item_fields": ["brand", "price", "size", "shop"],
    "user_fields": ["age"],
    "context_fields": ["device"],
    "numeric_fields": ["price"],
    "standardized_fields": ["size"],
    "num_buckets": 3,
}
SIZES = {"item_embedding_size": 3, "category_embedding_size": 3, "field_embedding_size": 3, "item_bias": True,
         "min_item_count": 4, "mlp": {"hidden_units": [4]}, "local_activation_unit": {"hidden_units": [4]}}  # fmt: skip


def list_rows(days: range, items: range, pace: int) -> list[list[Any]]:
    """Twelve users, of whom each meets an item a day."""
    rows: list[list[Any]] = []
    for day in days:
        for user in range(12):
            item = items.start + (day * pace + user * 3) % len(items)
            fields = [
                f"b{item % 4}",
                item % 7,
                1 + item % 5,
                f"s{item % 9}",
                20 + user % 3,
                f"d{(user + day // 6) % 4}",
            ]
            rows.append([f"u{user}", f"i{item}", f"c{item % 3}", START + day * DAY + user, *fields])
    return rows


def prepare(folder: Path, name: str, rows: list[list[Any]], **vocabulary: Any) -> PreparedData:
    write_table(folder / f"{name}.tsv", HEADER, rows)
    data = {**FIELDS, "events": str(folder / f"{name}.tsv"), "prepared": str(folder / name)}
    config = make_config(folder, data=data, vocabulary={"hash_buckets": {"shop": 8}, **vocabulary})
    prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared)


Days = tuple[PreparedData, PreparedData]


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    """Yesterday's data set of i0 to i19, and today's of i4 to i29: the others have expired, so that ids moved."""
    folder = tmp_path_factory.mktemp("days")
    old, new = list_rows(range(9), range(20), 7), list_rows(range(20, 28), range(4, 30), 5)
    yesterday = prepare(folder, "yesterday", old)
    return yesterday, prepare(folder, "today", [*old, *new], base=str(folder / "yesterday"), expire_after=10)


def build(data: PreparedData, name: str, seed: int, optimizer: str = "adam", **settings: Any) -> RankingModel:
    """With weights, moving statistics and slots that differ everywhere."""
    config = make_config(Path(), data={**FIELDS}, model={"name": name, **SIZES, **settings})
    model = build_model(config.model, data, seed=seed, fields=config.data)
    model.compile(optimizer=build_optimizer(OptimizerConfig(name=optimizer)), loss=build_loss("logloss", 1.0))
    model.optimizer.build(model.trainable_variables)
    return model


def shake(model: RankingModel) -> None:
    random = np.random.default_rng(3)
    given = {id(each) for each in warm_start._list_given(model)}
    for weight in [*model.weights, *model.optimizer.variables[2:]]:
        if id(weight) not in given:
            weight.assign(random.uniform(0.1, 1.0, weight.shape))
    model.optimizer.iterations.assign(77)


def translate(days: Days) -> tuple[dict[str, Any], dict[str, Any]]:
    """Yesterday's training rows whose items are there today as well, in yesterday's ids and in today's."""
    there, here = (read_names(data) for data in days)
    samples = days[0].samples(Split.TRAIN, 2)
    inputs, _ = build_batch(days[0], samples, np.arange(len(samples)), 2)
    inputs = {name: each for name, each in inputs.items() if name != "history_row"}  # each row has its own history

    def to_today(ids: Any, raw: str) -> Any:
        found = RawIds(getattr(here, raw).to_pylist()).find(getattr(there, raw).take(pa.array(ids.ravel())))
        return np.where(ids == PAD_ID, PAD_ID, found.reshape(ids.shape))

    today = dict(inputs)
    for key, raw in (("target_item_id", "items"), ("history_item_ids", "items"), ("user_id", "users")):
        today[key] = to_today(np.asarray(inputs[key]), raw)
    texts = [there.values("device")[each] for each in inputs["device"]]
    today["device"] = build_id_finder(days[1], here, "device").find(pa.array(texts, pa.string()))
    kept = (today["target_item_id"] > 1) & (today["history_item_ids"] != 1).all(axis=1)
    assert 20 < kept.sum() < len(kept)
    one, two = ({key: np.asarray(each)[kept] for key, each in part.items()} for part in (inputs, today))
    return one, two


def carry(days: Days, earlier: RankingModel, model: RankingModel, new_rows: Any = "mean") -> EarlierModel:
    optimizer = EarlierOptimizer([each.numpy() for each in earlier.optimizer.variables], 0.001)
    found = EarlierModel.of("runs/old", earlier, model, match_ids(*days), optimizer)
    found.carry_weights(model, days[1], new_rows)
    found.carry_optimizer(model)
    return found


@pytest.mark.parametrize("name", ["din", pytest.param("wide_deep", marks=pytest.mark.slow)])
def test_scores_of_old_ids_are_yesterdays_bit_by_bit(days: Days, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier, model = build(days[0], name, 1), build(days[1], name, 2)
    shake(earlier)
    before, now = translate(days)
    assert not np.array_equal(now["target_item_id"], before["target_item_id"])
    expected = earlier(before).numpy()
    carry(days, earlier, model)
    assert np.array_equal(model(now).numpy(), expected)

    # planted: rows by position in place of raw id
    monkeypatch.setattr(warm_start, "find_codes", lambda values, among: np.arange(len(values)) % len(among))
    carry(days, earlier, model)
    assert not np.array_equal(model(now).numpy(), expected)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_slots_go_with_their_rows(days: Days, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier, model = (build(data, "base", 1, optimizer) for data in days)
    fresh = [each.numpy() for each in model.optimizer.variables]
    shake(earlier)
    there, here = (read_names(data).items.to_pylist() for data in days)
    old = [(there.index(name), place) for place, name in enumerate(here) if name in there and place > 1]
    new = [place for place, name in enumerate(here) if name not in there]
    shared = earlier.item_embedding.item_row_ids.numpy()  # of i16 and i19, which have three training events
    assert len(old) > 5
    assert len(new) > 5

    def is_right() -> bool:
        """Compare by raw id: every variable of the optimiser, in its place."""
        right = int(model.optimizer.iterations) == 77
        tables = {each.path for each in (model.item_embedding.items, model.item_bias)}
        slots = len(model.trainable_variables)
        for place, (was, now) in enumerate(
            zip(earlier.optimizer.variables[2:], model.optimizer.variables[2:], strict=True)
        ):
            trained = model.trainable_variables[place // 2 if optimizer == "adam" else place]
            assert place < slots * (2 if optimizer == "adam" else 1)
            was, now = was.numpy(), now.numpy()
            if trained.path in tables:
                right &= all(np.array_equal(now[mine], was[shared[its]]) for its, mine in old)
                right &= np.array_equal(now[new], fresh[2 + place][new])
            elif was.shape == now.shape and "field" not in trained.name and trained.name != "categories":
                right &= np.array_equal(was, now)
        return bool(right)

    assert not is_right()
    carry(days, earlier, model)
    assert is_right()

    def shift(carry_rows: Any, rows: Any, values: Any, source: Any) -> Any:
        return carry_rows(rows, np.roll(values, 1, axis=0), source)

    monkeypatch.setattr(warm_start, "carry_rows", partial(shift, warm_start.carry_rows))
    carry(days, earlier, model)
    assert not is_right()


def test_what_new_rows_begin_as(days: Days) -> None:
    earlier = build(days[0], "base", 1, min_item_count=0)
    shake(earlier)
    there, here = (read_names(data).items.to_pylist() for data in days)
    rows = earlier.item_embedding.items.numpy()
    new = [place for place, name in enumerate(here) if name not in there]
    categories = days[1].item_category_ids
    gone = rows[[place for place, name in enumerate(there) if place > 1 and name not in here]]
    assert len(gone) > 3
    for new_rows in ("unknown", "mean", "random"):
        model = build(days[1], "base", 2, min_item_count=0)
        before = model.item_embedding.items.numpy()
        carry(days, earlier, model, new_rows)
        table = model.item_embedding.items.numpy()
        assert np.array_equal(table[:2], rows[:2])
        for place in new:
            known = [i for i, name in enumerate(here) if i > 1 and name in there and categories[i] == categories[place]]
            mean = rows[[there.index(here[i]) for i in known]].mean(axis=0)
            expected = {"unknown": rows[1], "mean": mean, "random": before[place]}[new_rows]
            np.testing.assert_allclose(table[place], expected, rtol=1e-6)
            # an expired item's row is nobody's, whoever has its id now
            assert not (np.abs(gone - table[place]) < 1e-6).all(axis=1).any()


def test_a_new_items_trained_vector_begins_as_given() -> None:
    layer = GivenVectors(shape=(4, 2), units=1, trained=True, vectors=np.full((4, 2), 7.0, np.float32))
    model: Any = keras.Sequential([layer])
    was = [np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((2, 1), np.float32)]
    earlier = EarlierModel("runs/old", was, {0: np.array([0, 1, 2, -1])}, frozenset(), None)
    data: Any = SimpleNamespace(item_category_ids=np.zeros(4, np.int32))
    earlier.carry_weights(model, data, "mean")
    assert layer.vectors.numpy().tolist() == [[0, 1], [2, 3], [4, 5], [7, 7]]


def test_carried_rows_stay_when_no_training_row_looks_them_up(days: Days) -> None:
    earlier, model = (build(data, "base", 1, min_item_count=0) for data in days)
    shake(earlier)
    carry(days, earlier, model, "random")
    data = days[1]
    base = data.manifest.base
    assert base is not None
    before = model.item_embedding.items.numpy()
    samples = data.samples(Split.TRAIN, 5)
    few = samples.take(np.flatnonzero(samples.user_ids == samples.user_ids[0]))
    batches = TrainingBatches(data, few, batch_size=64, max_history_length=5, unknown_rate=0.0, seed=1)
    carried = find_carried_rows(model, data)
    UnmovedRows(data, batches, unknown_rate=0.0, carried=carried).fill(model, 0)
    after = model.item_embedding.items.numpy()
    of_base = 2 + base["ids"]["item"]
    assert np.array_equal(after[:of_base], before[:of_base])
    assert not np.array_equal(after[of_base:], before[of_base:])
    fill_unmoved(model, data, carried)
    assert np.array_equal(model.item_embedding.items.numpy()[1], before[1])

    planted = {path: each.copy() for path, each in carried.items()}
    planted[model.item_embedding.items.path][1] = False  # the base's unknown row taken for one of noise
    fill_unmoved(model, data, planted)
    assert not np.array_equal(model.item_embedding.items.numpy()[1], before[1])
    UnmovedRows(data, batches, unknown_rate=0.0).fill(model, 0)  # planted: as in a cold start
    assert not np.array_equal(model.item_embedding.items.numpy()[2:of_base], before[2:of_base])


def test_models_and_optimisers_that_do_not_fit(days: Days) -> None:
    model = build(days[1], "base", 1)
    with pytest.raises(RunError, match=r"runs/old has \d+ weights, this model \d+; a warm start needs the same model"):
        carry(days, build(days[0], "pnn", 1, item_bias=False), model)
    with pytest.raises(RunError, match="runs/old has weight kernel of shape"):
        carry(days, build(days[0], "base", 1, mlp={"hidden_units": [5]}), model)
    with pytest.raises(RunError, match="runs/old was trained with another optimiser"):
        carry(days, build(days[0], "base", 1, "adagrad"), model)


def test_fit_begins_with_yesterdays_weights(tmp_path: Path) -> None:
    """With a rate so small that no step moves a weight, today's run has yesterday's rows, by raw id."""
    events = [(f"u{n % 12}", f"i{n * 7 % 23}", f"c{n % 3}", n) for n in range(180)]
    later = [(f"u{n % 14}", f"i{n * 5 % 31}", f"c{n % 4}", 180 + n) for n in range(120)]
    settings = {"model": {"name": "lr"}, "training": {"epochs": 1, "batch_size": 64}}
    with chdir(tmp_path):
        write_log(Path("log.tsv"), events)
        fit(make_config(Path(), name="old", **settings))
        write_log(Path("log.tsv"), events + later)
        Path("today.yaml").write_text(yaml.safe_dump({
            "name": "new", **settings,
            "data": {"source": "table", "events": "log.tsv", "prepared": "today", "since_base": True,
                     "columns": {"user": "user", "item": "item", "category": "category", "timestamp": "time"}},
        }))  # fmt: skip
        command = ["fit", "--config", "today.yaml", "--warm-start", "runs/old"]
        refused = CliRunner().invoke(cli, [*command, "--set", "training.optimizer.name=sgd"])
        assert refused.exit_code == 2
        assert refused.output.startswith(
            "error: training.warm_start.run: runs/old does not fit: training.optimizer.name adam there, sgd here; a "
            "warm start needs the same model: bring the keys back, set training.warm_start.optimizer to reset, or train"
        )
        done = CliRunner().invoke(cli, [*command, "--set", "training.optimizer.learning_rate=1.0e-30"])
        assert done.exit_code == 0, done.output
        assert "warm start from runs/old, epoch 1: 23 of 31 items are known" in done.output
        old, new = open_run(Path("runs/old")), open_run(Path("runs/new"))
        there, here = (read_names(each.data).items.to_pylist() for each in (old, new))
        with (
            np.load("runs/new/checkpoints/state-1-0.npz") as state,
            np.load("runs/old/checkpoints/state-1-0.npz") as was,
        ):
            assert state["optimizer-0"] == was["optimizer-0"] + -(-new.data.manifest.samples["train"] // 64)
    assert new.config.vocabulary.base == Path("prepared")
    assert new.config.training.warm_start is not None
    assert new.config.training.warm_start.run == Path("runs/old")
    assert here[: len(there)] == there
    for part in ("candidate", "behaviours"):
        was, now = (getattr(each.model.linear, part).items.numpy() for each in (old, new))
        np.testing.assert_allclose(now[: len(was)], was, rtol=0, atol=1e-20)
        assert np.abs(was).min(where=was != 0, initial=1) > 1e-20
