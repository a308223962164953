"""A model's scores on a split, and what they are worth. The only path from a model to a number."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.batches import EvaluationBatches
from din_train.config import MetricsConfig
from din_train.errors import RunError
from din_train.evaluation.bootstrap import compute_interval, resample_metrics
from din_train.evaluation.metrics import (
    compute_auc,
    compute_ece,
    compute_logloss,
    compute_normalised_entropy,
    compute_pcoc,
    compute_user_aucs,
    summarise_gauc,
)
from din_train.evaluation.scores import ScoredRows
from din_train.evaluation.slices import Slices
from din_train.model.ranking_model import RankingModel

_AT_ONCE = 2  # batches that are scored at the same time


@dataclass(frozen=True)
class Metrics:
    """Metrics of some rows, and the rows and users they stand on; None where undefined."""

    auc: float | None
    gauc: float | None
    logloss: float | None
    normalised_entropy: float | None
    pcoc: float | None
    ece: float | None
    num_samples: int
    num_positives: int
    num_users: int
    gauc_users: int
    gauc_users_skipped: int


def compute_scores(model: RankingModel, batches: EvaluationBatches) -> NDArray[np.float32]:
    """[S] logits in stored order.

    Raises:
        RunError: if a score is not a number: the training has diverged.
    """
    parts = _score_side_by_side(model, batches)
    logits = np.concatenate([np.empty(0, np.float32), *parts])
    if not np.isfinite(logits).all():
        raise RunError(
            f"scores: {int((~np.isfinite(logits)).sum()):,} of {len(logits):,} are not finite numbers, the training "
            "has diverged; lower training.optimizer.learning_rate"
        )
    return logits


def _score_side_by_side(model: RankingModel, batches: EvaluationBatches) -> list[NDArray[np.float32]]:
    """Scores of each batch: two batches at a time keep two cores busier than the operations of one do."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="scoring") as pool:
        ahead: deque[Future[NDArray[np.float32]]] = deque()
        scores = []
        for inputs, _ in batches:
            ahead.append(pool.submit(lambda inputs: model.score(inputs).numpy(), inputs))
            if len(ahead) > _AT_ONCE:
                scores.append(ahead.popleft().result())
        return [*scores, *(each.result() for each in ahead)]


def compute_metrics(rows: ScoredRows, config: MetricsConfig) -> Metrics:
    """All metrics of the rows."""
    user_aucs = compute_user_aucs(rows.user_id, rows.label, rows.logit)
    gauc = summarise_gauc(user_aucs, config.gauc_weighting)
    return Metrics(
        auc=compute_auc(rows.label, rows.logit),
        gauc=gauc.value,
        logloss=compute_logloss(rows.label, rows.logit),
        normalised_entropy=compute_normalised_entropy(rows.label, rows.logit),
        pcoc=compute_pcoc(rows.label, rows.logit),
        ece=compute_ece(rows.label, rows.logit),
        num_samples=len(rows),
        num_positives=int(np.sum(rows.label, dtype=np.int64)),
        num_users=user_aucs.num_users,
        gauc_users=gauc.users,
        gauc_users_skipped=gauc.skipped,
    )


def compute_intervals(rows: ScoredRows, config: MetricsConfig) -> dict[str, Any] | None:
    """AUC's and GAUC's bootstrap intervals as metrics.json has them; None where none are asked for."""
    if not config.resamples:
        return None
    (resampled,) = resample_metrics(rows.user_id, rows.label, [rows.logit], config)
    intervals = {name: compute_interval(getattr(resampled, name), config.confidence) for name in ("auc", "gauc")}
    return {
        "unit": "user",
        "confidence": config.confidence,
        "resamples": config.resamples,
        **{name: each and [each.low, each.high] for name, each in intervals.items()},
    }


def compute_slice_metrics(rows: ScoredRows, slices: Slices, config: MetricsConfig) -> dict[str, list[dict[str, Any]]]:
    """Dimension -> the metrics of each of its slices, with its name, as metrics.json has them."""
    return {
        dimension: [{"name": name, **asdict(compute_metrics(rows.take(chosen), config))} for name, chosen in parts]
        for dimension, parts in slices.items()
    }
