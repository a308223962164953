"""A few seconds of a config's own training, in a process of its own, and how much of it a whole run is.

    python -m din_train.plan.probe CONFIG

is that measurement: it trains the first rows of a shuffled order for two short epochs, and prints a JSON line with the
figures of the second.
"""

import contextlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field

from din_train.config import Config, load_config
from din_train.dataset.manifest import Manifest
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.dataset.training_rows import changes_between_epochs, draw_epoch, replaces_negatives
from din_train.errors import RunError
from din_train.plan.machine import read_peak_memory

SCORING_COST = 0.4  # time of a scored row against one trained on
START_SECONDS = 12.0  # of a process: TensorFlow, tracing, the report
_STEPS = {"many": 300, "few": 60}  # per epoch: with batches below 256 rows, and with others


@dataclass(frozen=True)
class Probe:
    """samples_per_second: training, batches included. parameters: trainable numbers. peak_bytes: of the process."""

    samples_per_second: Annotated[float, Field(gt=0, lt=1e12)]
    parameters: Annotated[int, Field(ge=0, lt=2**63)]
    peak_bytes: Annotated[int, Field(ge=0, lt=2**63)]


def count_work(config: Config, manifest: Manifest) -> float:
    """Rows that a run trains on in all epochs that the config allows, a refit too; scored ones count as their cost."""
    training, scored = config.training, manifest.samples
    rows = {split: _count_rows(config, manifest, split) for split in scored}
    watched = 0 if config.data.protocol == "paper" else scored["validation"]
    watched = scored["test"] if training.select_on == "test" else watched
    work = training.epochs * (rows["train"] + SCORING_COST * watched) + SCORING_COST * scored["test"]
    if training.refit:
        work += training.epochs * (rows["train"] + rows["validation"])
    return float(work)


def _count_rows(config: Config, manifest: Manifest, split: str) -> float:
    """How many rows of a split are trained on."""
    rows = manifest.samples[split]
    if not replaces_negatives(manifest, config):
        return rows
    return rows * (manifest.positives_share[split] or 0.0) * (1 + config.negatives.per_positive)


def run_probe(config_file: Path) -> Probe:
    """Measure in a process of its own, so that its memory is a run's.

    Raises:
        RunError: if it fails, with the last line it printed.
    """
    command = [sys.executable, "-m", "din_train.plan.probe", str(config_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RunError(f"{config_file}: the probe for the plan's times failed: {last}")
    return Probe(**orjson.loads(done.stdout.splitlines()[-1]))


def measure_training(config_file: Path) -> Probe:
    """The measurement itself."""
    import numpy as np

    from din_train.tensorflow_setup import start_tensorflow

    config = load_config(config_file, ["training.epochs=2", "training.select_on=none", "training.refit=false"])
    start_tensorflow(config.training.device)
    from din_train.run_directory import RunDirectory
    from din_train.scoring import build_configured_model, build_training_batches
    from din_train.training.regularization import build_regularizer
    from din_train.training.trainer import fit_model

    data = open_store(config.data.prepared, temp_folder=config.data.temp_folder)
    samples = data.samples(Split.TRAIN, config.data.max_history_length)
    if changes_between_epochs(config):
        samples = draw_epoch(data, config, samples, 0)
        still = {"negatives": {"resample": "never"}, "training": {"leave_one_out": 0.0}}  # for the rows that are taken
        sections = {name: getattr(config, name).model_copy(update=keys) for name, keys in still.items()}
        config = config.model_copy(update=sections)
    batch_size = config.training.batch_size
    rows = batch_size * _STEPS["many" if batch_size < 256 else "few"]
    lists = samples.find_lists()  # which stay whole, since their rows share a history
    places = np.random.default_rng(0).permutation(int(lists.max(initial=-1)) + 1)
    samples = samples.take(np.argsort(places[lists], kind="stable")[:rows])
    batches = build_training_batches(config, data, samples)
    model = build_configured_model(config, data)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.checkpoints.mkdir()
        regularizer = build_regularizer(
            config.training.regularization,
            model,
            data,
            samples,
            unknown_rate=config.vocabulary.unknown_rate,
            search=batches.search,
        )
        fit_model(model, batches, config, run, watched=None, data_fingerprint=data.fingerprint, regularizer=regularizer)
        second = run.read_history()[1]
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return Probe(second["samples_per_second"], parameters, read_peak_memory())


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        figures = measure_training(Path(sys.argv[1]))
    print(orjson.dumps(figures).decode(), flush=True)
