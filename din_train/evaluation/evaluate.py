"""A model's scores on a split, and what they are worth. The only path from a model to a number."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from din_train.batches import EvaluationBatches
from din_train.errors import RunError
from din_train.evaluation.metrics import compute_auc, compute_gauc, compute_logloss
from din_train.model.ranking_model import RankingModel
from din_train.samples.store import Samples

_AT_ONCE = 2  # batches that are scored at the same time


@dataclass(frozen=True)
class Metrics:
    """Metrics of one split and the rows and users they stand on; None where undefined."""

    auc: float | None
    gauc: float | None
    logloss: float | None
    num_samples: int
    num_positives: int
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


def compute_metrics(samples: Samples, logits: NDArray[np.float32]) -> Metrics:
    """AUC, GAUC and logloss of a split's rows."""
    gauc = compute_gauc(samples.user_ids, samples.labels, logits)
    return Metrics(
        auc=compute_auc(samples.labels, logits),
        gauc=gauc.value,
        logloss=compute_logloss(samples.labels, logits),
        num_samples=len(samples),
        num_positives=int(samples.labels.sum()),
        gauc_users=gauc.users,
        gauc_users_skipped=gauc.skipped,
    )
