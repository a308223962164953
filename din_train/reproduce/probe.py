"""How fast this machine trains DIN on a prepared data set: a few seconds of training, from which the plan's times come.

    python -m din_train.reproduce.probe CONFIG

trains the first rows of a shuffled order for two short epochs, and prints a JSON line with the figures of the second.
"""

import contextlib
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field

from din_train.config import load_config
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.errors import RunError
from din_train.reproduce.cells import Count

STEPS = {"many": 300, "few": 60}  # of an epoch: batches below 256 rows, and others


@dataclass(frozen=True)
class Probe:
    """samples_per_second: training, batches included. parameters: trainable numbers. peak_bytes: of the process."""

    samples_per_second: Annotated[float, Field(gt=0, lt=1e12)]
    parameters: Count
    peak_bytes: Count


def run_probe(config_file: Path) -> Probe:
    """Measure in a process of its own, so that the plan's process never starts TensorFlow.

    Raises:
        RunError: if it fails, with the last line it said.
    """
    command = [sys.executable, "-m", "din_train.reproduce.probe", str(config_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RunError(f"{config_file}: the probe for the plan's times failed: {last}")
    return Probe(**orjson.loads(done.stdout.splitlines()[-1]))


def measure(config_file: Path) -> Probe:
    """The measurement itself."""
    import numpy as np

    from din_train.tensorflow_setup import start_tensorflow

    fixed = ("training.epochs=2", "training.select_on=none", "training.refit=false", "negatives.resample=never")
    config = load_config(config_file, fixed)
    start_tensorflow(config.training.device)
    from din_train.run_directory import RunDirectory
    from din_train.scoring import build_configured_model, build_training_batches
    from din_train.training.regularization import build_regularizer
    from din_train.training.trainer import fit_model

    data = open_store(config.data.prepared)
    samples = data.samples(Split.TRAIN, config.data.max_history_length)
    batch_size = config.training.batch_size
    rows = batch_size * STEPS["many" if batch_size < 256 else "few"]
    samples = samples.take(np.random.default_rng(0).permutation(len(samples))[:rows])
    batches = build_training_batches(config, data, samples)
    model = build_configured_model(config, data)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.checkpoints.mkdir()
        regularizer = build_regularizer(
            config.training.regularization, model, data, samples, unknown_rate=config.vocabulary.unknown_rate
        )
        fit_model(model, batches, config, run, watched=None, data_fingerprint=data.fingerprint, regularizer=regularizer)
        second = run.read_history()[1]
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Probe(second["samples_per_second"], parameters, peak)


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        figures = measure(Path(sys.argv[1]))
    print(orjson.dumps(asdict(figures)).decode(), flush=True)
