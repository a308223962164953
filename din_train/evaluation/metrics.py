"""AUC, GAUC and logloss: exact, vectorised, pure NumPy.

Where a metric is undefined (no sample, or one class only) it is None, never NaN.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


@dataclass(frozen=True)
class Gauc:
    """GAUC and the users it stands on.

    value: None if no user has both classes.
    users: users with both classes, which it averages over. skipped: users with one class, left out.
    """

    value: float | None
    users: int
    skipped: int


def compute_auc(labels: Integers, scores: Floats) -> float | None:
    """Area under the ROC curve: the probability that a positive outranks a negative, a tie counting one half.

    Args:
        labels: [S] of 0 and 1. scores: [S], any monotone score.

    Returns:
        None where there is no positive or no negative.
    """
    return compute_gauc(np.zeros(len(labels), np.int64), labels, scores).value


def compute_gauc(user_ids: Integers, labels: Integers, scores: Floats) -> Gauc:
    """sum_u impressions_u * AUC_u / sum_u impressions_u over users with both classes (paper section 6.1.2, eq. 6).

    A user's AUC is the Mann-Whitney statistic: (rank sum of the positives - P (P + 1) / 2) / (P N), ranks within
    the user, ties sharing their mean rank. Sums of ranks are whole halves, so they are exact in float64.

    Args:
        user_ids: [S]. labels: [S] of 0 and 1. scores: [S], any monotone score.
    """
    if not len(labels):
        return Gauc(None, 0, 0)
    order = np.lexsort((scores, user_ids))
    user, label, score = user_ids[order], labels[order].astype(np.float64), scores[order]

    new_user = np.append(True, user[1:] != user[:-1])
    new_tie = new_user | np.append(True, score[1:] != score[:-1])
    user_row = np.cumsum(new_user) - 1  # [S]
    tie_start = np.flatnonzero(new_tie)
    tie_row = np.cumsum(new_tie) - 1  # [S]
    tie_end = np.append(tie_start[1:], len(label)) - 1
    first_of_user = np.flatnonzero(new_user)
    rank = (tie_start + tie_end)[tie_row] / 2 - first_of_user[user_row] + 1  # [S] mean rank from 1

    impressions = np.bincount(user_row).astype(np.float64)
    positives = np.bincount(user_row, weights=label)
    negatives = impressions - positives
    rank_sum = np.bincount(user_row, weights=rank * label)
    both = (positives > 0) & (negatives > 0)
    if not both.any():
        return Gauc(None, 0, len(both))
    p, n = positives[both], negatives[both]
    auc = (rank_sum[both] - p * (p + 1) / 2) / (p * n)
    value = float(np.sum(impressions[both] * auc) / np.sum(impressions[both]))
    return Gauc(value, int(both.sum()), int((~both).sum()))


def compute_logloss(labels: Integers, logits: Floats) -> float | None:
    """Mean negative log-likelihood of the labels in nats, from logits, so never infinite; None where empty."""
    if not len(labels):
        return None
    exact = logits.astype(np.float64)
    return float(np.mean(np.logaddexp(0.0, exact) - labels * exact))


def compute_rela_impr(value: float | None, base: float | None) -> float | None:
    """RelaImpr = ((value - 0.5) / (base - 0.5) - 1) x 100 %, for AUC or GAUC (paper section 6.1.2, equation 7).

    None where either is undefined, or the base is chance itself.
    """
    if value is None or base is None or base == 0.5:
        return None
    return ((value - 0.5) / (base - 0.5) - 1.0) * 100.0
