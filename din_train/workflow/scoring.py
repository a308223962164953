"""A run's model, and its scores on a split: what `fit` ends with and `eval` does again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from din_train.config import Config
from din_train.errors import ConfigError, DataError
from din_train.evaluation.metrics import hash_definition
from din_train.run_directory import RunDirectory, open_run_directory
from din_train.samples.names import hash_rows, read_names
from din_train.samples.refit import join_for_refit
from din_train.samples.split import Split
from din_train.samples.store import PreparedData, Samples, open_store
from din_train.tensorflow_setup import start_tensorflow, uses_xla

if TYPE_CHECKING:
    from din_train.batches import EvaluationBatches
    from din_train.evaluation.scores import ScoredRows
    from din_train.model.ranking_model import RankingModel
    from din_train.training.checkpoint import Checkpoint

Metrics = dict[str, Any]


# What may differ from the training's config when a run is opened again: where the data are, how scores become numbers,
# how many rows of new data may be bad.
_CHANGEABLE = (
    "data.prepared", "data.max_bad_share", "metrics.", "training.device", "training.evaluation_batch_size"
)  # fmt: skip


@dataclass(frozen=True)
class OpenedRun:
    """A run with its best weights loaded, and the data set it was trained on."""

    run: RunDirectory
    config: Config
    data: PreparedData
    model: "RankingModel"
    checkpoint: "Checkpoint"


@dataclass(frozen=True)
class Scored:
    """A split's metrics, as `metrics.json` has them, and the rows they come from."""

    metrics: Metrics
    rows: "ScoredRows"


def open_run(run_dir: Path, overrides: Sequence[str] = ()) -> OpenedRun:
    """A run as `fit` left it, from its files alone.

    Args:
        overrides: `key=value` of `_CHANGEABLE` keys.

    Raises:
        ConfigError: if there is no run, or another key is to change.
        DataError: if its prepared data set is not there, or is another.
        RunError: if it has no weights, or they are damaged.
    """
    for each in overrides:
        if not each.startswith(_CHANGEABLE):
            raise ConfigError(
                f"--set {each}: would change what was trained; a run that is opened again takes "
                f"{', '.join(key + '*' if key.endswith('.') else key for key in _CHANGEABLE)}"
            )
    run, config = open_run_directory(run_dir, overrides)
    start_tensorflow(config.training.device, deterministic=config.training.deterministic)
    from din_train.training.checkpoint import load_weights, read_checkpoint

    checkpoint = read_checkpoint(run.checkpoints)
    data = open_store(config.data.prepared)
    if data.fingerprint != checkpoint.data_fingerprint:
        raise DataError(
            f"{config.data.prepared}: not the data set this run was trained on; run `din-train prepare --force "
            f"--config {run.config_file}` to make that one again from the logs"
        )
    model = build_configured_model(config, data)
    load_weights(run.checkpoints, model)
    return OpenedRun(run, config, data, model, checkpoint)


def score_split(
    model: "RankingModel", config: Config, data: PreparedData, split: Split, checkpoint: "Checkpoint"
) -> Scored:
    """The split's scores and metrics, with what they stand on."""
    from din_train.evaluation.evaluate import (
        compute_intervals,
        compute_metrics,
        compute_scores,
        compute_slice_metrics,
    )
    from din_train.evaluation.scores import ScoredRows
    from din_train.evaluation.slices import find_slices

    samples, batches = build_evaluation_batches(config, data, split)
    rows = ScoredRows.of(samples, compute_scores(model, batches))
    names = read_names(data.folder)
    slices = find_slices(data, samples, {name: names.values(name) for name in data.context_fields})
    metrics = {
        "model": config.model.name,
        "protocol": config.data.protocol,
        "split": split.name.lower(),
        "selected_on": config.training.select_on,
        **asdict(compute_metrics(rows, config.metrics)),
        "gauc_weighting": config.metrics.gauc_weighting,
        "intervals": compute_intervals(rows, config.metrics),
        "negatives": (
            config.negatives.model_dump(mode="json") if data.manifest["negatives"] == "sampled" else "in the log"
        ),
        "seed": config.seed,
        "best_epoch": checkpoint.epoch,
        "refit": checkpoint.refit,
        "parameters": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        "data_fingerprint": data.fingerprint,
        "rows_sha256": hash_rows(data, samples),
        "metric_definition": hash_definition(config.metrics.gauc_weighting),
        "slices": compute_slice_metrics(rows, slices, config.metrics),
    }
    return Scored(metrics, rows)


def build_configured_model(config: Config, data: PreparedData) -> "RankingModel":
    """The configured model in the form that its training wants."""
    from din_train.model.build import build_model

    return build_model(
        config.model,
        data,
        seed=config.seed,
        precision=config.training.precision,
        padded=uses_xla(config.training),
    )


def read_training_samples(config: Config, data: PreparedData, *, refit: bool) -> Samples:
    """The rows that a model is trained on; of a refit also the validation rows."""
    training = data.samples(Split.TRAIN, config.data.max_history_length)
    if not refit:
        return training
    validation = data.samples(Split.VALIDATION, config.data.max_history_length)
    sampled = data.manifest["negatives"] == "sampled"
    return join_for_refit(training, validation, per_positive=config.negatives.per_positive if sampled else None)


def build_evaluation_batches(config: Config, data: PreparedData, split: Split) -> "tuple[Samples, EvaluationBatches]":
    """A split's rows, and the batches to score them in.

    Raises:
        ConfigError: where the split is empty.
    """
    from din_train.batches import EvaluationBatches

    samples = data.samples(split, config.data.max_history_length)
    if not len(samples):
        raise ConfigError(
            f"split '{split.name.lower()}': protocol '{config.data.protocol}' gives it no sample in "
            f"{config.data.prepared}; choose another split or protocol"
        )
    batches = EvaluationBatches(
        data,
        samples,
        batch_size=config.training.evaluation_batch_size,
        max_history_length=config.data.max_history_length,
    )
    return samples, batches
