"""A model's scores on a split, and their metrics: the only path from a model to a number."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from din_train.config import GaucWeighting, MetricsConfig
from din_train.config.data import TIME_FIELDS
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import UNKNOWN_ID
from din_train.errors import ConfigError, RunError
from din_train.evaluation.bootstrap import compute_interval, draws_users, resample_metrics
from din_train.evaluation.metrics import (
    compute_auc,
    compute_ece,
    compute_gauc_by_history,
    compute_logloss,
    compute_normalised_entropy,
    compute_pcoc,
    compute_user_aucs,
    summarise_gauc,
)
from din_train.evaluation.scores import ScoredRows
from din_train.run_metrics import Metrics

if TYPE_CHECKING:
    from din_train.batches import EvaluationBatches
    from din_train.model.ranking_model import RankingModel

_AT_ONCE = 2  # batches that are scored at the same time

LENGTH_EDGES = (1, 5, 10, 20, 50)
POPULARITY_EDGES = (1, 5, 10, 20, 50, 100, 1000)

# Of a context field's values, the most frequent are slices of their own.
_MOST_VALUES = 30

Rows = NDArray[np.bool_]
Slices = Mapping[str, Sequence[tuple[str, Rows]]]


def compute_scores(
    model: "RankingModel",
    batches: "EvaluationBatches",
    join: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda logits: logits,
) -> NDArray[np.float32]:
    """[S] logits in stored order.

    Args:
        join: the logits of this worker's share of the rows -> those of all workers.

    Raises:
        RunError: if a score is not a number: the training has diverged.
    """
    parts = _score_side_by_side(model, batches)
    logits = join(np.concatenate([np.empty(0, np.float32), *parts]))
    if not np.isfinite(logits).all():
        raise RunError(
            f"scores: {int((~np.isfinite(logits)).sum()):,} of {len(logits):,} are not finite numbers, the training "
            "has diverged; lower training.optimizer.learning_rate"
        )
    return logits


def _score_side_by_side(model: "RankingModel", batches: "EvaluationBatches") -> list[NDArray[np.float32]]:
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
    aucs = compute_user_aucs(rows.groups, rows.label, rows.logit, rows.weight)
    gauc = summarise_gauc(aucs, config.gauc_weighting)
    return Metrics(
        auc=compute_auc(rows.label, rows.logit, rows.weight),
        gauc=gauc.value,
        logloss=compute_logloss(rows.label, rows.click_log_odds, rows.weight),
        normalised_entropy=compute_normalised_entropy(rows.label, rows.click_log_odds, rows.weight),
        pcoc=compute_pcoc(rows.label, rows.click_log_odds, rows.weight),
        ece=compute_ece(rows.label, rows.click_log_odds, rows.weight),
        num_samples=len(rows),
        num_positives=int(np.sum(rows.label, dtype=np.int64)),
        num_users=aucs.num_users if rows.group is None else len(np.unique(rows.user_id)),
        gauc_users=gauc.users,
        gauc_users_skipped=gauc.skipped,
    )


def compute_candidate_gauc(samples: Samples, rows: ScoredRows, weighting: GaucWeighting) -> float | None:
    """GAUC over a user's rows with one history and equal time fields, which differ in the candidate alone."""
    times = [ids for name, ids in samples.context.items() if name in TIME_FIELDS]
    groups: list[NDArray[np.integer]] = [rows.user_id, rows.history_end, *times]
    return compute_gauc_by_history(groups, rows.label, rows.logit, weighting, rows.weight).value


def find_groups(data: PreparedData, samples: Samples, group: str) -> NDArray[np.int64] | None:
    """[S] whose rows GAUC ranks against each other, by `metrics.group`; None: the user's.

    Rows of one request are those that were shown together; a positive and its sampled negatives are one. Rows of one
    value of a context field are a group, whatever their user.

    Raises:
        ConfigError: if the data set does not say what its requests are.
    """
    if group == "user":
        return None
    if group != "request":
        return samples.context[group].astype(np.int64)
    if samples.requests is not None:
        return samples.user_ids * (int(samples.requests.max(initial=0)) + 1) + samples.requests
    if data.manifest.negatives == "sampled":
        return np.array(samples.events, np.int64)
    raise ConfigError(
        f"metrics.group: received 'request', but {data.folder} has no requests; use user, or one of data.context_fields"
    )


def compute_intervals(rows: ScoredRows, config: MetricsConfig) -> dict[str, Any] | None:
    """AUC's and GAUC's bootstrap intervals as metrics.json has them; None if `metrics.resamples` is 0."""
    if not config.resamples:
        return None
    (resampled,) = resample_metrics(
        rows.user_id, rows.label, [rows.logit], config, weights=rows.weight, groups=rows.group
    )
    intervals = {name: compute_interval(getattr(resampled, name), config.confidence) for name in ("auc", "gauc")}
    return {
        "unit": "user" if draws_users(rows.user_id, rows.group) else config.group,
        "confidence": config.confidence,
        "resamples": config.resamples,
        **{name: each and list(each) for name, each in intervals.items()},
    }


def compute_slice_metrics(rows: ScoredRows, slices: Slices, config: MetricsConfig) -> dict[str, list[dict[str, Any]]]:
    """Dimension -> the metrics of each of its slices, with its name, as metrics.json has them."""
    return {
        dimension: [{"name": name, **vars(compute_metrics(rows.take(chosen), config))} for name, chosen in parts]
        for dimension, parts in slices.items()
    }


def find_slices(
    data: PreparedData, samples: Samples, context_values: Mapping[str, Sequence[str | None]]
) -> dict[str, list[tuple[str, Rows]]]:
    """Dimension -> its slices in order, each a name and [S] which rows are in it; empty ones are left out.

    Args:
        context_values: of each context field, what its ids stand for.
    """
    popularity = data.training_events[find_targets(samples)]  # [S]
    slices = {
        "history_length": list(_cut(samples.history_length, LENGTH_EDGES)),
        "target_popularity": list(_cut(popularity, POPULARITY_EDGES)),
        "target_item": [("new", popularity == 0), ("known", popularity > 0)],
        **{
            name: list(_cut_values(ids, context_values[name]))
            for name, ids in samples.context.items()
            if ids.ndim == 1  # a row of several values is in no one slice
        },
    }
    return {key: [(name, rows) for name, rows in parts if rows.any()] for key, parts in slices.items()}


def find_targets(samples: Samples) -> NDArray[np.int32]:
    """[S] the item that a row is about: the positive of its impression, so that positive and negatives stay together.

    An impression is a run of rows with the same user and the same history. If an impression does not have
    exactly one positive, each of its rows is about its own item.
    """
    num_rows = len(samples)
    if not num_rows:
        return samples.target_item_ids
    same = np.ones(num_rows - 1, np.bool_)
    for column in (samples.user_ids, samples.history_start, samples.history_length):
        same &= column[1:] == column[:-1]
    impression = np.concatenate([[0], np.cumsum(~same)])  # [S]
    positive_rows = np.flatnonzero(samples.labels == 1)
    positives = np.bincount(impression[positive_rows], minlength=int(impression[-1]) + 1)
    item = np.zeros(len(positives), np.int32)
    item[impression[positive_rows]] = samples.target_item_ids[positive_rows]
    return np.where(positives[impression] == 1, item[impression], samples.target_item_ids)


def _cut(values: NDArray[Any], edges: Sequence[int]) -> Iterator[tuple[str, Rows]]:
    """Whole numbers from 0, cut below each edge."""
    place = np.searchsorted(edges, values, side="right")
    bounds = (0, *edges)
    for number, low in enumerate(bounds):
        last = number == len(edges)
        high = None if last else bounds[number + 1] - 1
        yield f"{low}+" if last else str(low) if high == low else f"{low}-{high}", place == number


def _cut_values(ids: NDArray[np.int32], values: Sequence[str | None]) -> Iterator[tuple[str, Rows]]:
    counts = np.bincount(ids, minlength=len(values))
    shown = np.sort(np.argsort(-counts, kind="stable")[:_MOST_VALUES])
    for value_id in shown:
        yield values[value_id] or ("unknown" if value_id == UNKNOWN_ID else "none"), ids == value_id
    yield "other", ~np.isin(ids, shown)
