"""A run's model, and its scores on a split: what `fit` ends with and `eval` does again."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from din_train.config import Config
from din_train.errors import ConfigError
from din_train.samples.split import Split
from din_train.samples.store import PreparedData, Samples
from din_train.tensorflow_setup import uses_xla

if TYPE_CHECKING:
    from din_train.batches import EvaluationBatches
    from din_train.model.ranking_model import RankingModel
    from din_train.training.checkpoint import Checkpoint

Metrics = dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """A split's metrics, as `metrics.json` has them, and the [S] labels and logits they come from."""

    metrics: Metrics
    labels: NDArray[np.int8]
    logits: NDArray[np.float32]


def score_split(
    model: "RankingModel", config: Config, data: PreparedData, split: Split, checkpoint: "Checkpoint"
) -> Scored:
    """The split's scores and metrics, with what they stand on."""
    from din_train.evaluation.evaluate import compute_metrics, compute_scores

    samples, batches = build_evaluation_batches(config, data, split)
    logits = compute_scores(model, batches)
    metrics = {
        "model": config.model.name,
        "protocol": config.data.protocol,
        "split": split.name.lower(),
        "selected_on": config.training.select_on,
        **asdict(compute_metrics(samples, logits)),
        "gauc_weighting": "impressions",
        "negatives": (
            config.negatives.model_dump(mode="json") if data.manifest["negatives"] == "sampled" else "in the log"
        ),
        "seed": config.seed,
        "best_epoch": checkpoint.epoch,
        "refit": checkpoint.refit,
        "parameters": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        "data_fingerprint": data.fingerprint,
    }
    return Scored(metrics, samples.labels, logits)


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
