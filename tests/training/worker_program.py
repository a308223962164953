"""What a worker of `test_workers.py` runs: train every case, and write its losses and weights.

    worker_program.py FOLDER NAME CASE,CASE,...

The number of workers is that of `TF_CONFIG`; without it this process is alone, with the strategy `none`.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from din_train import batches as batches_module
from din_train.config import TrainingConfig
from din_train.tensorflow_setup import start_tensorflow, strategy_scope
from din_train.training.workers import find_workers

# Groups are small, so that a batch has three of them and is trained in no time.
GROUP_ROWS = 64
BATCH_SIZE = 160  # rows of the groups: 64, 64, 32
STEPS = 30

TABLES: dict[str, Any] = {"regularization": {"name": "l2", "strength": 0.01}}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "small": (
        {"name": "base", "mlp": {"hidden_units": [6], "batch_normalization": True, "dropout": 0.3}},
        {
            "optimizer": {"name": "adagrad", "learning_rate": 0.05, "clip_norm": 0.05},
            "regularization": {"name": "mini_batch_aware", "strength": 0.5},
        },
    ),
    # every model
    "din": (
        {
            "name": "din",
            "item_bias": True,
            "local_activation_unit": {"hidden_units": [6], "dropout": 0.2},
            "mlp": {"batch_normalization": True, "hidden_units": [6], "dropout": 0.2},
        },
        {"optimizer": {"name": "adam", "clip_norm": 0.5}, "regularization": {"name": "mini_batch_aware"}},
    ),
    "base": ({"name": "base", "mlp": {"hidden_units": [6]}}, {"optimizer": {"name": "adagrad"}, **TABLES}),
    "lr": ({"name": "lr"}, {"optimizer": {"name": "sgd", "learning_rate": 0.5}}),
    "wide_deep": ({"name": "wide_deep", "mlp": {"hidden_units": [6]}}, {"optimizer": {"name": "adamw"}}),
    "pnn": ({"name": "pnn", "mlp": {"hidden_units": [6]}}, {"loss": {"name": "softmax"}}),
    "deepfm": ({"name": "deepfm", "mlp": {"hidden_units": [6]}}, {"loss": {"name": "logloss", "positive_weight": 3.0}}),
    "dien": ({"name": "dien", "mlp": {"hidden_units": [6]}}, {"loss": {"name": "bpr"}}),
    "bst": ({"name": "bst", "mlp": {"hidden_units": [6]}}, {"optimizer": {"name": "adagrad"}}),
    "tin": ({"name": "tin", "mlp": {"hidden_units": [6]}}, {"optimizer": {"name": "sgd", "clip_norm": 0.1}}),
    # every optimiser, and the third regulariser
    "sgd": ({"name": "din"}, {"optimizer": {"name": "sgd", "learning_rate": 0.5}}),
    "adagrad": ({"name": "din"}, {"optimizer": {"name": "adagrad"}, "regularization": {"name": "dense_l2"}}),
    "adamw": ({"name": "din"}, {"optimizer": {"name": "adamw", "clip_norm": 0.1}}),
    "weights": ({"name": "din", "mlp": {"input_normalization": "batch", "hidden_units": [6]}}, {}),
    "negatives": ({"name": "din", "search": {"keep": 3, "recent": 4}}, {"leave_one_out": 0.3}),
}
SMALL_UNIT = {"hidden_units": [6]}
DATA: dict[str, dict[str, Any]] = {"negatives": {"negatives": {"resample": "epoch", "per_positive": 2}}}
NUM_EVENTS = 400


@contextmanager
def small_groups() -> Iterator[None]:
    """Inside, a group has `GROUP_ROWS` rows."""
    from din_train.model import ranking_model
    from din_train.training import training_batches

    with ExitStack() as stack:
        for module in (batches_module, ranking_model, training_batches):
            stack.enter_context(mock.patch.object(module, "GROUP_ROWS", GROUP_ROWS))
        yield


def train(folder: Path, case: str, strategy: str) -> dict[str, Any]:
    """Losses of the epochs, all variables, and how many collectives a step has."""
    from log_factory import make_config, prepare_events

    from din_train.dataset.protocols import Split
    from din_train.model.replicas import count_collectives
    from din_train.run_directory import RunDirectory
    from din_train.scoring import build_configured_model, build_training_batches
    from din_train.training.regularization import build_regularizer
    from din_train.training.trainer import fit_model

    model_config, training = CASES[case]
    if model_config["name"] in ("din", "dien", "tin") and case != "din":
        model_config = {"mlp": {"hidden_units": [6]}, **model_config}
        if model_config["name"] == "din":
            model_config["local_activation_unit"] = SMALL_UNIT
    weighted = case == "weights"
    folder.mkdir(parents=True, exist_ok=True)
    events = [(f"u{n % 23}", f"i{(n * n) % 97}", f"c{n % 5}", n) for n in range(NUM_EVENTS)]
    options = DATA.get(case, {})
    data, _ = prepare_events(folder, events, **options)
    config = make_config(
        folder,
        model=model_config,
        vocabulary={"unknown_rate": 0.1},
        training={"epochs": 1, "batch_size": BATCH_SIZE, "strategy": strategy, "select_on": "none", **training},
        **options,
    )
    samples = data.samples(Split.TRAIN, config.data.max_history_length)
    if weighted:
        samples = replace(samples, weights=np.linspace(0.1, 3.0, len(samples), dtype=np.float32))
    steps = -(-len(samples) // BATCH_SIZE)
    assert 0 < len(samples) % BATCH_SIZE < GROUP_ROWS, len(samples)  # the last batch has one group
    config = config.model_copy(update={"training": config.training.model_copy(update={"epochs": -(-STEPS // steps)})})
    run = RunDirectory(folder / "run")
    run.checkpoints.mkdir(parents=True)
    with ExitStack() as stack:
        stack.enter_context(strategy_scope(strategy))
        model = build_configured_model(config, data)
        batches = build_training_batches(config, data, samples)
        regularizer = build_regularizer(
            config.training.regularization, model, data, batches.draw(0), unknown_rate=0.0, search=batches.search
        )
        fit_model(model, batches, config, run, watched=None, data_fingerprint="x", regularizer=regularizer)
        names = [re.sub(r"_\d+", "", each.path) for each in model.variables]  # numbers go on from model to model
        values = {f"{place:03} {name}": model.variables[place].numpy() for place, name in enumerate(names)}
        losses = np.array([each["loss"] for each in run.read_history()])
        return {"loss": losses, "collectives": np.array(count_collectives(model)), **values}


def main(folder: Path, name: str, cases: list[str]) -> None:
    """Train the cases one after another, and write `<name>.<case>.npz` each."""
    strategy = "multi_worker" if os.environ.get("TF_CONFIG") else "none"
    workers = find_workers(TrainingConfig(epochs=1, strategy=strategy, worker_timeout=120))
    start_tensorflow("cpu", connect=workers.connect)
    with workers.ending_together():
        for place, case in enumerate(cases):
            with small_groups():
                results = train(folder / name / f"{place}-{case}", case, strategy)
            np.savez(folder / f"{name}.{case}.npz", **results)
        gathered = workers.gather(np.full((workers.index, 2), workers.index, np.int8))
        assert [each.tolist() for each in gathered] == [[[n, n]] * n for n in range(workers.count)]
        assert workers.agree(workers.index == workers.count - 1)
        assert not workers.agree(False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(","))
