"""Intervals for AUC and GAUC: users, not rows, are drawn again, because a user's rows are not independent.

If GAUC is over groups of rows that several users share, groups are drawn again.

Percentile intervals of the bootstrap (Efron and Tibshirani, 1993): every resample draws as many users as there are,
with replacement, each with all of its rows. Resamples follow from a fixed seed and the number of users, so two runs
scored on the same rows are resampled alike, and the difference between them has an interval of its own (paired).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from din_train.config import GaucWeighting, MetricsConfig
from din_train.evaluation.metrics import Floats, Integers, UserAucs, compute_user_aucs

_SEED = 1


@dataclass(frozen=True)
class Resampled:
    """[R] AUC and GAUC of each resample; NaN if a resample lacks a user, or rows, of both classes."""

    auc: NDArray[np.float64]
    gauc: NDArray[np.float64]


def compute_interval(values: NDArray[np.float64], confidence: float) -> tuple[float, float] | None:
    """Low and high between which a share `confidence` of the resamples lies; None if no resample has a value."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def resample_metrics(
    user_ids: Integers,
    labels: Integers,
    scores: Sequence[Floats],
    metrics: MetricsConfig,
    *,
    weights: Floats | None = None,
    groups: Integers | None = None,
) -> list[Resampled]:
    """AUC and GAUC of `metrics.resamples` resamples, for one or several scores of the same rows, resampled alike.

    Args:
        user_ids: [S]. labels: [S] of 0 and 1. scores: of each, [S]. weights: [S] of the rows; None: 1 each.
        groups: [S] whose rows GAUC ranks against each other; None: the user's.
    """
    if not len(labels):
        return [Resampled(np.empty(0), np.empty(0)) for _ in scores]
    drawn = groups if groups is not None and not draws_users(user_ids, groups) else user_ids
    units, unit_rows = np.unique(drawn, return_inverse=True)
    group_rows = unit_rows if groups is None else np.unique(groups, return_inverse=True)[1]
    units_of_groups = unit_rows[np.unique(group_rows, return_index=True)[1]]
    overall = [_Pairs.of(unit_rows, labels, each, weights) for each in scores]
    aucs = [compute_user_aucs(group_rows, labels, each, weights) for each in scores]
    gaucs = [_Users.of(each, units_of_groups, metrics.gauc_weighting) for each in aucs]
    values = np.empty((metrics.resamples, len(scores), 2))
    for place, counts in enumerate(_draw_counts(len(units), metrics.resamples)):
        for column, (pairs, gauc) in enumerate(zip(overall, gaucs, strict=True)):
            values[place, column] = pairs.compute_auc(counts), gauc.compute_gauc(counts)
    return [Resampled(values[:, column, 0], values[:, column, 1]) for column in range(len(scores))]


def draws_users(user_ids: Integers, groups: Integers | None) -> bool:
    """Whether users are drawn again: if each group of rows is of one user."""
    if groups is None:
        return True
    order = np.argsort(groups, kind="stable")
    ordered, users = groups[order], user_ids[order]
    return not np.any((ordered[1:] == ordered[:-1]) & (users[1:] != users[:-1]))


def _draw_counts(num_users: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """[U] how often each user is in a resample."""
    random = np.random.default_rng([_SEED, num_users])
    for _ in range(resamples):
        drawn = random.integers(0, num_users, num_users, dtype=np.int64)
        yield np.bincount(drawn, minlength=num_users).astype(np.float64)


@dataclass(frozen=True)
class _Users:
    """GAUC as a function of how often each user (or other unit that is drawn) is there."""

    users: NDArray[np.int64]  # [G] whose each group is
    weights: NDArray[np.float64]  # [G]
    weighted: NDArray[np.float64]  # [G] weight * AUC

    @classmethod
    def of(cls, aucs: UserAucs, users_of_groups: NDArray[np.int64], weighting: GaucWeighting) -> "_Users":
        weights = aucs.weights(weighting)
        return cls(users_of_groups[aucs.users], weights, weights * aucs.auc)

    def compute_gauc(self, counts: NDArray[np.float64]) -> float:
        drawn = counts[self.users]
        total = float(drawn @ self.weights)
        return float(drawn @ self.weighted) / total if total else float("nan")


@dataclass(frozen=True)
class _Pairs:
    """AUC as a function of how often each user is there: sorted once, then sums.

    positives: [P] users of the positive rows. negatives: [N] users of the negative rows, by ascending score.
    below, up_to: [P] negatives with a lower score, and with a lower or equal one. positive_weights, negative_weights:
    [P], [N] of the rows; None: 1 each.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    below: NDArray[np.int64]
    up_to: NDArray[np.int64]
    positive_weights: Floats | None
    negative_weights: Floats | None

    @classmethod
    def of(cls, user_rows: NDArray[np.int64], labels: Integers, scores: Floats, weights: Floats | None) -> "_Pairs":
        is_positive = labels == 1
        negative_scores = scores[~is_positive]
        order = np.argsort(negative_scores, kind="stable")
        ascending = negative_scores[order]
        positive_scores = scores[is_positive]
        by_score = np.argsort(positive_scores, kind="stable")  # so that neighbours read neighbouring memory
        return cls(
            positives=user_rows[is_positive][by_score],
            negatives=user_rows[~is_positive][order],
            below=np.searchsorted(ascending, positive_scores[by_score], side="left"),
            up_to=np.searchsorted(ascending, positive_scores[by_score], side="right"),
            positive_weights=None if weights is None else weights[is_positive][by_score].astype(np.float64),
            negative_weights=None if weights is None else weights[~is_positive][order].astype(np.float64),
        )

    def compute_auc(self, counts: NDArray[np.float64]) -> float:
        weight, negative = counts[self.positives], counts[self.negatives]
        if self.positive_weights is not None and self.negative_weights is not None:
            weight, negative = weight * self.positive_weights, negative * self.negative_weights
        running = np.concatenate([[0.0], np.cumsum(negative)])
        pairs = float(weight.sum()) * float(running[-1])
        return float(weight @ (running[self.below] + running[self.up_to])) / (2 * pairs) if pairs else float("nan")
