"""AUC, GAUC, logloss, normalised entropy and calibration: exact, vectorised, pure NumPy.

If a metric is undefined (no sample, or one class only), it is None, never NaN.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from din_train.config import GaucWeighting

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

ECE_BINS = 20

# What the numbers mean. The words change if the meaning does, and runs are compared only if their words are equal.
DEFINITIONS = (
    "auc: all rows, a tie one half",
    "gauc: mean of the users' AUC over users with both classes, a tie one half",
    "gauc_by_history: the same over groups of a user's rows with one history and equal time fields",
    "logloss: nats",
    "normalised_entropy: logloss over the entropy of the rows' own share of positives",
    "pcoc: sum of probabilities over positives",
    f"ece: {ECE_BINS} bins of equally many rows, equal probabilities together",
)


def hash_definition(weighting: GaucWeighting, group: str = "user", *, weighted: bool = False) -> str:
    """A short hash of `DEFINITIONS`, GAUC's weights and groups, and whether rows have weights."""
    changed = [*([] if group == "user" else [f"gauc by {group}"]), *(["rows have weights"] if weighted else [])]
    return hashlib.sha256("\n".join((*DEFINITIONS, weighting, *changed)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class UserAucs:
    """AUC of each user, or other group of rows, with both classes.

    users: [G] their places among the distinct ids, ascending. auc: [G]. impressions, positives: [G] rows of the user,
    or the sums of their weights. num_users: all of them, those with one class included.
    """

    users: NDArray[np.int64]
    auc: NDArray[np.float64]
    impressions: NDArray[np.float64]
    positives: NDArray[np.float64]
    num_users: int

    def weights(self, weighting: GaucWeighting) -> NDArray[np.float64]:
        """[G] of GAUC's mean: a user's impressions (the paper's), positives, or 1."""
        match weighting:
            case "impressions":
                return self.impressions
            case "positives":
                return self.positives
            case "uniform":
                return np.ones_like(self.auc)


@dataclass(frozen=True)
class Gauc:
    """GAUC and the users it stands on.

    value: None if no user has both classes.
    users: users with both classes, which it averages over. skipped: users with one class, left out.
    """

    value: float | None
    users: int
    skipped: int


def compute_auc(labels: Integers, scores: Floats, weights: Floats | None = None) -> float | None:
    """Area under the ROC curve: the probability that a positive outranks a negative, a tie counting one half.

    Args:
        labels: [S] of 0 and 1. scores: [S], any monotone score. weights: [S]; a pair counts by the product of both.

    Returns:
        None if there is no positive or no negative.
    """
    return summarise_gauc(compute_user_aucs(np.zeros(len(labels), np.int8), labels, scores, weights)).value


def compute_gauc(
    user_ids: Integers,
    labels: Integers,
    scores: Floats,
    weighting: GaucWeighting = "impressions",
    weights: Floats | None = None,
) -> Gauc:
    """sum_u weight_u * AUC_u / sum_u weight_u over users with both classes.

    With impressions as the weights it is the paper's "AUC" (section 6.1.2, equation 6).

    Args:
        user_ids: [S]. labels: [S] of 0 and 1. scores: [S], any monotone score. weights: [S] of the rows.
    """
    return summarise_gauc(compute_user_aucs(user_ids, labels, scores, weights), weighting)


def summarise_gauc(aucs: UserAucs, weighting: GaucWeighting = "impressions") -> Gauc:
    """The weighted mean of the users' AUC."""
    users = len(aucs.auc)
    weights = aucs.weights(weighting)
    value = float(np.sum(weights * aucs.auc) / np.sum(weights)) if users else None
    return Gauc(value, users, aucs.num_users - users)


def compute_user_aucs(user_ids: Integers, labels: Integers, scores: Floats, weights: Floats | None = None) -> UserAucs:
    """Each user's AUC.

    It is the Mann-Whitney statistic: (rank sum of the positives - P (P + 1) / 2) / (P N), ranks within the user, ties
    sharing their mean rank. Sums of ranks are whole halves, so they are exact in float64. With weights a pair of a
    positive and a negative counts by the product of both.

    Args:
        user_ids: [S]. labels: [S] of 0 and 1. scores: [S], any monotone score. weights: [S]; None: 1 each.
    """
    if not len(labels):
        nothing = np.empty(0, np.float64)
        return UserAucs(np.empty(0, np.int64), nothing, nothing, nothing, 0)
    order = np.lexsort((scores, user_ids))
    user, score = user_ids[order], scores[order]
    new_user = np.append(True, user[1:] != user[:-1])
    new_tie = new_user | np.append(True, score[1:] != score[:-1])
    del user, score
    is_positive = labels[order] == 1
    if weights is not None:
        return _compute_weighted_aucs(new_user, new_tie, is_positive, weights[order].astype(np.float64))
    del order

    first_of_user = np.flatnonzero(new_user)
    impressions = np.diff(np.append(first_of_user, len(labels))).astype(np.float64)  # [users]
    tie_start = np.flatnonzero(new_tie)
    tie_end = np.append(tie_start[1:], len(labels)) - 1
    user_row = (np.cumsum(new_user) - 1)[is_positive]  # [P]
    tie_row = (np.cumsum(new_tie) - 1)[is_positive]  # [P]
    rank = (tie_start[tie_row] + tie_end[tie_row]) / 2 - first_of_user[user_row] + 1  # [P] mean rank from 1

    positives = np.bincount(user_row, minlength=len(impressions)).astype(np.float64)
    rank_sum = np.bincount(user_row, weights=rank, minlength=len(impressions))
    both = np.flatnonzero((positives > 0) & (positives < impressions))
    p, n = positives[both], impressions[both] - positives[both]
    auc = (rank_sum[both] - p * (p + 1) / 2) / (p * n)
    return UserAucs(both, auc, impressions[both], p, len(impressions))


def _compute_weighted_aucs(
    new_user: NDArray[np.bool_], new_tie: NDArray[np.bool_], is_positive: NDArray[np.bool_], weights: Floats
) -> UserAucs:
    """Of [S] rows by user, then by score: where a user begins, where another score does, labels, and weights."""
    first_of_user, tie_start = np.flatnonzero(new_user), np.flatnonzero(new_tie)
    before = np.concatenate([[0.0], np.cumsum(np.where(is_positive, 0.0, weights))])  # negatives' weight before a row
    user_row, tie_row = (np.cumsum(new) - 1 for new in (new_user, new_tie))
    lower, up_to = before[tie_start][tie_row], before[np.append(tie_start[1:], len(weights))][tie_row]
    outranked = (lower + up_to) / 2 - before[first_of_user][user_row]
    sums = [weights, np.where(is_positive, weights, 0.0), np.where(is_positive, weights * outranked, 0.0)]
    total, positive, won = np.stack([np.bincount(user_row, each, len(first_of_user)) for each in sums])
    negative = np.diff(before[np.append(first_of_user, len(weights))])
    both = np.flatnonzero((positive > 0) & (negative > 0))
    auc = won[both] / (positive[both] * negative[both])
    return UserAucs(both, auc, total[both], positive[both], len(first_of_user))


def compute_gauc_by_history(
    columns: Sequence[Integers],
    labels: Integers,
    scores: Floats,
    weighting: GaucWeighting = "impressions",
    weights: Floats | None = None,
) -> Gauc:
    """GAUC over rows that differ in nothing but the candidate.

    A user's rows may have different histories, each made of the labels of earlier rows. Then a property of the history,
    such as its length, tells labels of one row from those of another. Within a group it is constant.

    Args:
        columns: [S] each, what the rows of a group have in common: user, history, and what else follows from the time.
    """
    order = np.lexsort(columns[::-1])
    new = np.zeros(len(labels), np.bool_)
    for column in columns:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    groups = np.empty(len(labels), np.int64)
    groups[order] = np.cumsum(new)
    return summarise_gauc(compute_user_aucs(groups, labels, scores, weights), weighting)


def _has_rows(labels: Integers, weights: Floats | None) -> bool:
    return bool(len(labels)) if weights is None else bool(np.any(weights > 0))


def compute_logloss(labels: Integers, logits: Floats, weights: Floats | None = None) -> float | None:
    """Mean negative log-likelihood of the labels in nats, from logits, so never infinite; None for no rows."""
    if not _has_rows(labels, weights):
        return None
    exact = logits.astype(np.float64)
    return float(np.average(np.logaddexp(0.0, exact) - labels * exact, weights=_exact(weights)))


def _exact(weights: Floats | None) -> NDArray[np.float64] | None:
    return None if weights is None else weights.astype(np.float64)


def compute_normalised_entropy(labels: Integers, logits: Floats, weights: Floats | None = None) -> float | None:
    """Logloss / entropy of the share of positives (He et al., 2014, section 3): 1 for a constant at that share.

    Unlike logloss it does not fall by itself when negatives are added. None if there is one class only.
    """
    logloss = compute_logloss(labels, logits, weights)
    share = float(np.average(labels, weights=_exact(weights))) if _has_rows(labels, weights) else 0.0
    if logloss is None or not 0.0 < share < 1.0:
        return None
    return logloss / -(share * float(np.log(share)) + (1 - share) * float(np.log(1 - share)))


def compute_click_probabilities(logits: Floats) -> NDArray[np.float64]:
    """[S] sigmoid of the logits."""
    probabilities: NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
    return probabilities


def compute_pcoc(labels: Integers, logits: Floats, weights: Floats | None = None) -> float | None:
    """Predicted clicks over clicks: sum of probabilities / number of positives; 1 is right, None without positives."""
    if weights is not None:
        exact = weights.astype(np.float64)
        clicks = float(exact @ labels)
        return float(exact @ compute_click_probabilities(logits)) / clicks if clicks else None
    positives = int(np.sum(labels, dtype=np.int64))
    return float(np.sum(compute_click_probabilities(logits)) / positives) if positives else None


@dataclass(frozen=True)
class CalibrationBins:
    """Of each bin, lowest probabilities first: mean_probability [b], share [b] of positives, rows [b].

    With weights the first two are weighted, and rows are the sums of the weights.
    """

    mean_probability: NDArray[np.float64]
    share: NDArray[np.float64]
    rows: NDArray[np.int64] | NDArray[np.float64]


def compute_calibration_bins(labels: Integers, probabilities: Floats, weights: Floats | None = None) -> CalibrationBins:
    """`ECE_BINS` bins of equally many rows, so that none is nearly empty; rows of equal probability are in one bin.

    Args:
        labels: [S] of 0 and 1. probabilities: [S]. weights: [S] of the rows; None: 1 each.
    """
    if not len(labels):
        nothing = np.empty(0, np.float64)
        return CalibrationBins(nothing, nothing, np.empty(0, np.int64))
    edges = np.quantile(probabilities, np.linspace(0, 1, ECE_BINS + 1)[1:-1], method="inverted_cdf")
    bins = np.searchsorted(edges, probabilities, side="left")
    rows = np.bincount(bins) if weights is None else np.bincount(bins, weights=weights.astype(np.float64))
    full = rows > 0
    rows = rows[full]
    counted = [each if weights is None else each * weights.astype(np.float64) for each in (probabilities, labels)]
    means, shares = (np.bincount(bins, weights=each)[full] / rows for each in counted)
    return CalibrationBins(means, shares, rows)


def compute_ece(labels: Integers, logits: Floats, weights: Floats | None = None) -> float | None:
    """Expected calibration error: sum_b rows_b / rows * |share of positives in b - mean probability in b|.

    Over bins of equally many rows (Nguyen and O'Connor, 2015; bins of equal width would be Guo et al., 2017). None
    for no rows.
    """
    if not _has_rows(labels, weights):
        return None
    bins = compute_calibration_bins(labels, compute_click_probabilities(logits), weights)
    return float(np.sum(bins.rows * np.abs(bins.share - bins.mean_probability)) / np.sum(bins.rows))


def compute_rela_impr(value: float | None, base: float | None) -> float | None:
    """RelaImpr = ((value - 0.5) / (base - 0.5) - 1) x 100 %, for AUC or GAUC (paper section 6.1.2, equation 7).

    None if either is undefined, or the base is 0.5.
    """
    if value is None or base is None or base == 0.5:
        return None
    return ((value - 0.5) / (base - 0.5) - 1.0) * 100.0
