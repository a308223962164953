"""Runs to export, without a training: data sets with fields of every kind and odd ids, and models of random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from log_factory import make_config

from din_train.config import Config
from din_train.dataset.names import read_names
from din_train.dataset.prepare import prepare_data
from din_train.dataset.store import PreparedData, open_store
from din_train.evaluation.calibration import UNCALIBRATED, Calibration
from din_train.export.golden import ScoredRequest, build_golden, build_sweep, score_requests
from din_train.export.request import RequestInput, Vocabulary, list_inputs, read_vocabularies
from din_train.export.served_model import IdModel
from din_train.model.build import build_model
from din_train.run_directory import RunDirectory
from din_train.scoring import OpenedRun

START = 1_600_000_000
ITEMS = ("a", "b b", 'c"c', "d'd", "日本", "f\r", "g ", "007", "7", "\ufeffi", "k\tk", "l\\n")
LOG: dict[str, Any] = {
    "source": "rows",
    "columns": {"user": "u", "item": "i", "label": "y", "timestamp": "at", "category": "cat"},
    "sequences": {
        "clicks": {"item": "hist", "timestamp": "hist_at", "fields": {"kind": "hist_kind", "spent": "hist_spent"}},
        "carts": {"item": "cart", "timestamp": "cart_at", "fields": {"kind": "cart_kind", "spent": "cart_spent"}, "padding": "0"},
    },
    "item_fields": ["genres", "price", "level", "shop"],
    "user_fields": ["city", "age", "hobbies"],
    "context_fields": ["hour", "weekday", "tags", "page", "place"],
    "behaviour_fields": ["kind", "spent", "time_gap"],
    "list_fields": {"genres": {"max_values": 3}, "tags": {"pooling": "max", "max_values": 2}, "hobbies": {"pooling": "sum"}},
    "standardized_fields": ["price"],
    "numeric_fields": ["level", "age", "spent"],
    "num_buckets": 3,
    "max_history_length": 6,
    "events": None,
    "train": "train.jsonl",
    "test": "test.jsonl",
    "protocol": "presampled",
}
HASHED = {"shop": 5, "page": 4}


def make_rows(seed: int, count: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)

    def choose(values: Any, size: int | None = None) -> Any:
        return random.choice(np.array(values, object), size).tolist() if size is not None else str(random.choice(values))

    rows = []
    for row in range(count):
        item, user, sequences = int(random.integers(len(ITEMS))), int(random.integers(9)), {}
        for name in ("hist", "cart"):
            size = int(random.integers(0, 9))
            sequences |= {
                name: choose(ITEMS, size),
                f"{name}_at": [START + 1000 * row - 60 * (size - place) ** 3 for place in range(size)],
                f"{name}_kind": choose(["view", "buy it"], size),
                f"{name}_spent": [f"{each:.2f}" for each in random.gamma(2, 5, size)],
            }
        rows.append(
            {
                **{"u": f"u{user}", "i": ITEMS[item], "y": row % 2, "at": START + 1000 * row + 500},
                **{"cat": f"c {item % 3}", "genres": ["drama|war", "war", "", "comedy|x|drama"][item % 4]},
                **{"price": f"{item + 0.5}", "level": f"{item * 1.1}", "shop": f"shop {item % 5}"},
                **{"city": f"city {user % 3}", "age": f"{20 + user}", "hobbies": "chess|go" if user % 2 else "go"},
                **{"tags": choose(["new|hot", "hot", "", "late|new"]), "page": f"p{row % 6}", "place": f"{row % 3}"},
                **sequences,
            }
        )
    return rows


def prepare_everything(folder: Path, **changes: Any) -> tuple[Config, PreparedData]:
    """A data set with fields of every kind; `changes` are sections of the config."""
    for name, seed, count in (("train", 1, 80), ("test", 2, 20)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in make_rows(seed, count)))
    paths = {key: str(folder / LOG[key]) for key in ("train", "test")}
    changes = {"vocabulary": {"hash_buckets": HASHED}, **changes}
    config = make_config(folder, **{**changes, "data": {**LOG, **paths, **changes.get("data", {})}})
    prepare_data(config, force=False, progress=lambda _: None)
    return config, open_store(config.data.prepared)


def open_random(folder: Path, config: Config, data: PreparedData, calibration: Calibration = UNCALIBRATED) -> OpenedRun:
    """A run of weights so large that an id or a number taken for another one moves the score."""
    model = build_model(config.model, data, seed=1, fields=config.data)
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        size = 2 / np.sqrt(weight.shape[0]) if "kernel" in weight.path else 0.7
        weight.assign(random.normal(size=weight.shape) * size)
    checkpoint: Any = None
    return OpenedRun(RunDirectory(folder), "", config, data, model, checkpoint, calibration)


class Served:
    """What an export builds of a run, without writing it."""

    def __init__(self, opened: OpenedRun, prior_shift: float = 0.0) -> None:
        names = read_names(opened.data)
        self.inputs: tuple[RequestInput, ...] = list_inputs(opened.config, opened.data, names)
        self.vocabularies: dict[str, Vocabulary] = read_vocabularies(opened.config, opened.data, names, self.inputs)
        requests = build_golden(self.inputs, self.vocabularies, opened.config.data.max_history_length)
        requests.append(build_sweep(self.inputs, self.vocabularies))
        self.expected: list[ScoredRequest] = score_requests(
            opened, names, prior_shift, self.inputs, self.vocabularies, requests
        )
        self.model = IdModel(
            opened.model, opened.config, opened.data, self.inputs, opened.calibration, prior_shift
        )
