"""What an earlier run says of another data set's rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from log_factory import make_config, write_table

from din_train.batches import build_batch
from din_train.config import Config
from din_train.dataset.names import build_id_finder, read_names
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.dataset.vocabulary import PAD_ID, RawIds
from din_train.earlier_run import open_earlier_model
from din_train.earlier_scores import score_on
from din_train.errors import DataError
from din_train.evaluation.scores import read_scores
from din_train.run_directory import RunDirectory, create_run_directory
from din_train.scoring import build_configured_model, evaluate, open_run, score_samples
from din_train.training import warm_start
from din_train.training.checkpoint import write_checkpoint

START, DAY = 1_400_000_000, 86_400
HEADER = ["user", "item", "category", "time", "brand", "price", "size", "shop", "device"]
FIELDS = {
    "item_fields": ["brand", "price", "size", "shop"],
    "context_fields": ["device"],
    "numeric_fields": ["price"],
    "standardized_fields": ["size"],
    "num_buckets": 3,
}
# Each row has one history, so that a row alone can be scored.
SETTINGS: dict[str, Any] = {
    "negatives": {"per_positive": 1, "evaluation_per_positive": 3},
    "model": {"item_embedding_size": 3, "category_embedding_size": 3, "field_embedding_size": 3,
              "mlp": {"hidden_units": [4]}, "local_activation_unit": {"hidden_units": [4]}},
    "training": {"batch_size": 32},
    "metrics": {"resamples": 50},
}  # fmt: skip


def list_rows(days: range) -> list[list[Any]]:
    """Twelve users meet an item a day; the items of later days are other ones, one after another."""
    rows: list[list[Any]] = []
    for day in days:
        for user in range(12):
            item = day // 2 + (day * 7 + user * 3) % 16
            values = [f"b{item % 4}", item % 7 + day, 1 + item % 5 + day, f"s{item % 9}", f"d{(user + day // 6) % 4}"]
            rows.append([f"u{user}", f"i{item}", f"c{item % 3}", START + day * DAY + user, *values])
    return rows


def configure(folder: Path, name: str, **vocabulary: Any) -> Config:
    data = {**FIELDS, "events": str(folder / f"{name}.tsv"), "prepared": str(folder / name), "max_history_length": 9}
    return make_config(folder, name=name, data=data, vocabulary={"hash_buckets": {"shop": 8}, **vocabulary}, **SETTINGS)


def prepare(config: Config) -> PreparedData:
    prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared)


def score_by_raw_id(run: Path, data: PreparedData) -> tuple[np.ndarray, np.ndarray]:
    """The run's own model on rows whose ids are looked up in the run's data set; which rows it knows all ids of."""
    opened = open_run(run)
    there, here = read_names(opened.data), read_names(data)
    samples = data.samples(Split.TEST, 9)
    inputs, _ = build_batch(data, samples, np.arange(len(samples)), 9)
    inputs = {name: np.asarray(each) for name, each in inputs.items()}

    def to_there(ids: np.ndarray, raw: str) -> np.ndarray:
        known = RawIds(getattr(there, raw).to_pylist()).find(getattr(here, raw).take(pa.array(ids.ravel())))
        return np.where(ids == PAD_ID, PAD_ID, known.reshape(ids.shape))

    for key, raw in (("target_item_id", "items"), ("history_item_ids", "items"), ("user_id", "users")):
        inputs[key] = to_there(inputs[key], raw)
    texts = [here.values("device")[each] for each in inputs["device"]]
    inputs["device"] = build_id_finder(opened.data, there, "device").find(pa.array(texts, pa.string()))
    rows = inputs.get("history_row", np.arange(len(samples)))
    known = (inputs["target_item_id"] > 1) & (inputs["history_item_ids"] != 1).all(axis=1)[rows]
    return opened.model.score(inputs).numpy(), known


def write_run(run: RunDirectory, config: Config, data: PreparedData) -> None:
    """A run whose weights, moving statistics included, differ everywhere."""
    create_run_directory(run.path, config, overwrite=False)
    model, random = build_configured_model(config, data), np.random.default_rng(3)
    given = {id(each) for each in warm_start._list_given(model)}
    for weight in model.weights:
        if id(weight) not in given:
            weight.assign(random.uniform(0.1, 1.0, weight.shape))
    write_checkpoint(run.checkpoints, model, epoch=1, data_fingerprint=data.fingerprint)


def test_an_earlier_run_on_another_data_set(tmp_path: Path) -> None:
    write_table(tmp_path / "old.tsv", HEADER, list_rows(range(10)))
    write_table(tmp_path / "new.tsv", HEADER, list_rows(range(14)))
    run, old = RunDirectory(tmp_path / "runs/old"), configure(tmp_path, "old")
    write_run(run, old, prepare(old))

    # on its own data set: what `eval` says, bit for bit
    expected = evaluate(run.path, split="test", as_json=True)
    metrics, rows = score_on(run.path, open_store(old.data.prepared), Split.TEST)
    assert metrics == expected
    assert rows.logit.tobytes() == read_scores(run.scores_file("test")).logit.tobytes()

    # on a later one: a warm start's before its first step
    new = configure(tmp_path, "new", base=str(tmp_path / "old"))
    begin = {"run": str(run.path), "new_rows": "unknown", "optimizer": "reset"}
    values = new.model_dump(mode="json", exclude_none=True, exclude={"preset"})
    warm = Config.model_validate({**values, "training": {**values["training"], "warm_start": begin}})
    later = prepare(new)
    metrics, rows = score_on(run.path, later, Split.TEST)
    model = build_configured_model(warm, later)
    earlier = open_earlier_model(warm, model, later)
    assert earlier is not None
    earlier.carry_weights(model, later, "unknown")
    logits = score_samples(model, warm, later, later.samples(Split.TEST, 9))
    assert rows.logit.tobytes() == logits.tobytes()
    assert metrics.data_fingerprint == later.fingerprint != expected.data_fingerprint

    # and of rows without new ids: those of the run's model, with the run's ids
    logits, known = score_by_raw_id(run.path, later)
    assert 0 < known.sum() < len(known)
    np.testing.assert_allclose(rows.logit[known], logits[known], rtol=1e-6)
    assert np.ptp(rows.logit[known]) > 0.1

    # a data set in which a number would mean something else
    with pytest.raises(DataError, match=r"the buckets of 'price' have other edges; prepare it with the run's config"):
        score_on(run.path, prepare(configure(tmp_path, "new")), Split.TEST)
