"""Runs to export, without a training: data sets with fields of every kind and odd ids, and models of random weights."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from log_factory import make_config

from din_train.config import Config
from din_train.config.model import PAIRWISE, SEVERAL_SEQUENCES
from din_train.dataset.prepare import prepare_data
from din_train.dataset.store import open_store
from din_train.evaluation.calibration import UNCALIBRATED, Calibration
from din_train.export.artefact import Artefact, describe_expected
from din_train.export.check_saved_model import find_problem, to_array
from din_train.export.expected_scores import TOLERANCE, ScoredRequest
from din_train.export.text_model import TextModel
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
        "carts": {
            "item": "cart",
            "timestamp": "cart_at",
            "fields": {"kind": "cart_kind", "spent": "cart_spent"},
            "padding": "0",
        },
    },
    "item_fields": ["genres", "price", "level", "shop"],
    "user_fields": ["city", "age", "hobbies"],
    "context_fields": ["hour", "weekday", "days_since_last", "tags", "page", "place"],
    "behaviour_fields": ["kind", "spent", "time_gap"],
    "list_fields": {
        "genres": {"max_values": 3},
        "tags": {"pooling": "max", "max_values": 2},
        "hobbies": {"pooling": "sum"},
    },
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
        return (
            random.choice(np.array(values, object), size).tolist() if size is not None else str(random.choice(values))
        )

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
                "u": f"u{user}",
                "i": ITEMS[item],
                "y": row % 2,
                "at": START + 1000 * row + 500,
                "cat": f"c {item % 3}",
                "genres": ["drama|war", "war", "", "comedy|x|drama"][item % 4],
                "price": f"{item + 0.5}",
                "level": f"{item * 1.1}",
                "shop": f"shop {item % 5}",
                "city": f"city {user % 3}",
                "age": f"{20 + user}",
                "hobbies": "chess|go" if user % 2 else "go",
                "tags": choose(["new|hot", "hot", "", "late|new"]),
                "page": f"p{row % 6}",
                "place": f"{row % 3}",
                **sequences,
            }
        )
    return rows


def make_everything_config(folder: Path, data: dict[str, Any], **changes: Any) -> Config:
    """With fields of every kind; `data` and `changes` are merged in."""
    paths = {key: str(folder / LOG[key]) for key in ("train", "test")}
    return make_config(folder, vocabulary={"hash_buckets": HASHED}, data={**LOG, **paths, **data}, **changes)


def prepare_everything(folder: Path, data: dict[str, Any]) -> None:
    """Write the rows, and the data set."""
    for name, seed, count in (("train", 1, 80), ("test", 2, 20)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in make_rows(seed, count)))
    prepare_data(make_everything_config(folder, data), force=False, progress=lambda _: None)


@dataclass(frozen=True)
class ServedRuns:
    """Opens runs without a training: models of random weights.

    several, alone: folders of data sets whose rows have two sequences, and one.
    """

    several: Path
    alone: Path
    data_alone: dict[str, Any]

    def open(self, name: str, calibration: Calibration = UNCALIBRATED, **model: Any) -> OpenedRun:
        """A run of the model of a name, with what it can have of sequences and of fields of behaviours."""
        takes_several = name in SEVERAL_SEQUENCES and "search" not in model
        folder, data = (self.several, {}) if takes_several else (self.alone, self.data_alone)
        fields = [] if name in ("lr", *PAIRWISE) else ["kind", "spent", "time_gap"]
        sizes = dict.fromkeys(("item_embedding_size", "category_embedding_size", "field_embedding_size"), 4)
        units = {"local_activation_unit": {"hidden_units": [8]}, "mlp": {"hidden_units": [8]}}
        keys = {"name": name, "behaviour_fields": fields, **sizes, **units, **model}
        config = make_everything_config(folder, data, model=keys)
        opened = open_store(config.data.prepared)
        built = build_model(config.model, opened, seed=1, fields=config.data)
        random = np.random.default_rng(1)
        for weight in built.trainable_weights:  # an id or a number that is taken for another one moves the score
            size = 1.5 / np.sqrt(weight.shape[0]) if "kernel" in weight.path else 0.4
            weight.assign(random.normal(size=weight.shape) * size)
        checkpoint: Any = None
        return OpenedRun(RunDirectory(folder), "", config, opened, built, checkpoint, calibration)


def compute_outputs(artefact: Artefact, served: TextModel, scored: ScoredRequest) -> dict[str, tf.Tensor]:
    """What the SavedModel would give, without saving it."""
    values = scored.request.encode(artefact.inputs)
    tensors = {}
    for asked in artefact.inputs:
        array = to_array(values[asked.name], asked.datatype)
        is_empty = asked.datatype == "BYTES" and not array.size
        tensors[asked.name] = tf.constant(np.zeros(array.shape, "S1") if is_empty else array)
    outputs: dict[str, tf.Tensor] = served.compute.python_function(**tensors)
    return outputs


def find_problems(
    artefact: Artefact, folder: Path, requests: Sequence[ScoredRequest] | None = None, *, most: int | None = None
) -> list[str]:
    """What the check of an artefact finds, without saving it; at most so many problems."""
    served = TextModel(artefact.model, artefact.vocabularies, folder)
    problems: list[str] = []
    for each in [*artefact.others, *artefact.golden] if requests is None else requests:
        problem, _ = find_problem(describe_expected(each), compute_outputs(artefact, served, each), TOLERANCE)
        problems += [] if problem is None else [f"{each.request.name}: {problem}"]
        if len(problems) == most:
            break
    return problems
