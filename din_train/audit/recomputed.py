"""The numbers of metrics.json by another, slow path: plain Python over users, and scikit-learn."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from din_train.audit.check import Check, judge
from din_train.audit.subject import Subject, choose_rows
from din_train.config import GaucWeighting
from din_train.config.data import TIME_FIELDS
from din_train.dataset.store import Samples
from din_train.evaluation.metrics import compute_gauc

# What float sums in another order may come to.
_CLOSE = 1e-9
_BY_SCIKIT_LEARN = 500  # users whose AUC scikit-learn gives
_MOST_ROWS = 2_000_000  # in plain Python

_WEIGHTS: Mapping[str, Callable[[int, int], float]] = {
    "impressions": lambda rows, positives: rows,  # noqa: ARG005
    "positives": lambda rows, positives: positives,  # noqa: ARG005
    "uniform": lambda rows, positives: 1,  # noqa: ARG005
}


def check_metrics(subject: Subject) -> Check:
    """All rows' stored scores and the data set's own labels, against metrics.json."""
    name = "metrics: recomputed"
    samples, logits = subject.scored
    if len(samples) != len(subject.samples):
        finding = "no scores of all rows: scores.test.parquet is missing, and the run has more rows than are audited"
        return judge(name, False, finding + "; write it with `din-train eval`, or audit with more rows")
    weighting: GaucWeighting = subject.metrics.get("gauc_weighting", "impressions")
    chosen = choose_rows(samples.user_ids, _MOST_ROWS, subject.seed)
    recomputed = _recompute(samples, logits)
    if len(chosen) == len(samples):
        recomputed.update(_walk_users(samples.user_ids.tolist(), samples, logits, weighting))
    else:  # the slow path on some users, the fast one on all
        some = samples.take(chosen)
        slow = _walk_users(some.user_ids.tolist(), some, logits[chosen], weighting)["gauc"]
        fast = compute_gauc(some.user_ids, some.labels, logits[chosen], weighting).value
        recomputed["gauc"] = compute_gauc(samples.user_ids, samples.labels, logits, weighting).value
        if not _is_close(slow, fast):
            recomputed["gauc"] = slow  # to be reported
    if "gauc_by_history" in subject.metrics:
        times = [ids.tolist() for name, ids in samples.context.items() if name in TIME_FIELDS]
        groups = list(zip(samples.user_ids.tolist(), samples.history_ends.tolist(), *times, strict=True))
        recomputed["gauc_by_history"] = _walk_users(groups, samples, logits, weighting)["gauc"]
    distances = {key: _measure(subject.metrics.get(key), value) for key, value in recomputed.items()}
    wrong = [key for key, distance in distances.items() if distance > _CLOSE]
    shown = ", ".join(f"{key} {subject.metrics.get(key)} there, {recomputed[key]} here" for key in wrong)
    how = f"{len(samples):,} rows, {len(chosen):,} of them in plain Python over users, GAUC by {weighting}"
    finding = f"{how}: {shown or f'{len(recomputed)} numbers of metrics.json come out the same'} (bound {_CLOSE:.0e})"
    return judge(name, not wrong, finding, rows=len(samples), bound=_CLOSE, **recomputed)


def check_user_aucs(subject: Subject) -> Check:
    """Some users' GAUC, each user's AUC by scikit-learn."""
    samples = subject.samples.take(subject.rows)
    users = np.unique(samples.user_ids)
    some = np.random.default_rng(subject.seed).permutation(users)[:_BY_SCIKIT_LEARN]
    chosen = np.flatnonzero(np.isin(samples.user_ids, some))
    user_ids, labels, logits = samples.user_ids[chosen], samples.labels[chosen], subject.logits[chosen]
    total = weight = 0.0
    for user in some.tolist():
        mine = user_ids == user
        if 0 < int(labels[mine].sum()) < int(mine.sum()):
            total += int(mine.sum()) * float(roc_auc_score(labels[mine], logits[mine]))
            weight += int(mine.sum())
    slow = total / weight if weight else None
    fast = compute_gauc(user_ids, labels, logits).value
    distance = _measure(fast, slow)
    finding = (
        f"{len(some):,} users, each one's AUC by scikit-learn: GAUC {_show(slow)}, by din-train {_show(fast)} "
        f"(bound {_CLOSE:.0e})"
    )
    return judge("metrics: users' AUC", distance <= _CLOSE, finding, users=len(some), slow=slow, fast=fast)


def _recompute(samples: Samples, logits: Any) -> dict[str, Any]:
    """What does not go by users."""
    labels = samples.labels
    positives = int(np.count_nonzero(labels))
    both = 0 < positives < len(labels)
    exact = [1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)) for x in map(float, logits)]
    return {
        "num_samples": len(labels),
        "num_positives": positives,
        "auc": float(roc_auc_score(labels, logits)) if both else None,
        "logloss": _compute_logloss(labels, logits, exact),
        "pcoc": math.fsum(exact) / positives if positives else None,
    }


def _compute_logloss(labels: Any, logits: Any, probabilities: Sequence[float]) -> float | None:
    """By scikit-learn, or from logits where a probability is so near to 0 or 1 that it would be cut off."""
    if not len(labels):
        return None
    if max(abs(float(np.max(logits))), abs(float(np.min(logits)))) < 15:
        return float(log_loss(labels, probabilities, labels=[0, 1]))
    terms = (
        math.log1p(math.exp(-abs(x))) + max(x, 0.0) - y * x for x, y in zip(map(float, logits), labels, strict=True)
    )
    return math.fsum(terms) / len(labels)


def _walk_users(groups: Sequence[Hashable], samples: Samples, logits: Any, weighting: str) -> dict[str, Any]:
    """GAUC a user, or another group of rows, at a time: every positive is put beside every negative, a tie one half.

    Args:
        groups: [S] each row's.
    """
    users: dict[Hashable, tuple[list[float], list[float]]] = {}
    for user, label, logit in zip(groups, samples.labels.tolist(), logits.tolist(), strict=True):
        users.setdefault(user, ([], []))[label].append(logit)
    terms, weights, skipped = [], [], 0
    for negatives, positives in users.values():
        if not negatives or not positives:
            skipped += 1
            continue
        negatives.sort()
        won = sum((bisect_left(negatives, each) + bisect_right(negatives, each)) / 2 for each in positives)
        weight = _WEIGHTS[weighting](len(negatives) + len(positives), len(positives))
        terms.append(weight * won / (len(positives) * len(negatives)))
        weights.append(weight)
    value = math.fsum(terms) / math.fsum(weights) if weights else None
    return {"gauc": value, "gauc_users": len(weights), "gauc_users_skipped": skipped}


def _measure(there: Any, here: Any) -> float:
    """How far two numbers lie apart; 0 where both are undefined, without end where one is."""
    if there is None or here is None:
        return 0.0 if there is here else math.inf
    return abs(float(there) - float(here))


def _is_close(one: float | None, other: float | None) -> bool:
    return _measure(one, other) <= _CLOSE


def _show(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.9f}"
