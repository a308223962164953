"""Two replicas take the steps of one device on the same global batch: loss, weights and moving statistics."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# Logical devices are chosen before TensorFlow starts, so this is a process of its own; one for all cases.
PROGRAM = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pathlib import Path
from din_train.tensorflow_setup import start_tensorflow, strategy_scope
start_tensorflow("cpu")
import numpy as np
from log_factory import make_config, prepare_events
from din_train.training.training_batches import TrainingBatches
from din_train.model.build import build_model
from din_train.run_directory import RunDirectory
from din_train.dataset.protocols import Split
from din_train.training.regularization import build_regularizer
from din_train.training.trainer import fit_model


def train(folder, optimizer, batch_size, num_events, units, loss="logloss"):
    events = [(f"u{n % 9}", f"i{(n * n) % 97}", f"c{n % 5}", n) for n in range(num_events)]
    data, _ = prepare_events(folder, events)
    samples = data.samples(Split.TRAIN, 100)
    results = []
    for strategy in ("none", "mirrored"):
        config = make_config(
            folder,
            model={
                "name": "din",
                "local_activation_unit": {"hidden_units": [units]},
                "mlp": {"batch_normalization": True, "hidden_units": [units]},
            },
            training={
                "epochs": 2, "batch_size": batch_size, "strategy": strategy, "select_on": "none",
                "optimizer": optimizer, "regularization": {"name": "mini_batch_aware"}, "loss": {"name": loss},
            },
        )
        run = RunDirectory(folder / strategy)
        run.checkpoints.mkdir(parents=True)
        sizes = {"batch_size": batch_size, "max_history_length": 100, "unknown_rate": 0.01, "seed": 1}
        with strategy_scope(strategy):
            model = build_model(config.model, data, seed=1)
            fit_model(
                model, TrainingBatches(data, samples, **sizes), config, run, watched=None, data_fingerprint="x",
                regularizer=build_regularizer(config.training.regularization, model, data, samples, unknown_rate=0.0),
            )
        results.append(([each["loss"] for each in run.read_history()], [weight.numpy() for weight in model.weights]))
    (loss, weights), (mirrored_loss, mirrored_weights) = results
    return {
        "loss": loss,
        "samples": len(samples),
        "loss_difference": float(np.abs(np.subtract(loss, mirrored_loss)).max()),
        "weight_difference": max(float(np.abs(a - b).max()) for a, b in zip(weights, mirrored_weights)),
    }

cases = json.loads(sys.argv[2])
print(json.dumps({name: train(Path(sys.argv[1]) / name, **case) for name, case in cases.items()}))
"""

# Two replicas have a group of 512 rows and the rest of a batch. The first: then a single row, so that a replica has
# none. The second: the sums over replicas have other shapes than those of the first.
CASES: dict[str, dict[str, Any]] = {
    "groups-and-a-replica-without-rows": {
        "optimizer": {"name": "adagrad", "learning_rate": 0.01},
        "batch_size": 601,
        "num_events": 328,
        "units": 6,
    },
    "shares-of-512-and-18": {
        "optimizer": {"name": "sgd", "learning_rate": 0.5, "clip_norm": 0.5},
        "batch_size": 530,
        "num_events": 300,
        "units": 4,
        "loss": "softmax",
    },
}
LEFT_OVER = {"groups-and-a-replica-without-rows": 1, "shares-of-512-and-18": 16}


def test_two_replicas_equal_one_device(tmp_path: Path) -> None:
    for case in CASES:
        (tmp_path / case).mkdir()
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), json.dumps(CASES)],
        check=False,
        capture_output=True,
        text=True,
        env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    for case, result in results.items():
        assert result["samples"] % CASES[case]["batch_size"] == LEFT_OVER[case], case
        assert abs(result["loss"][1] - result["loss"][0]) > 0.005, case  # steps were taken
        assert result["loss_difference"] < 1e-5, case
        assert result["weight_difference"] < 1e-5, case
    assert list(results) == list(LEFT_OVER)
