"""What a run has stored is what is computed now: its scores, its test rows, and the numbers of metrics.json."""

import math
from dataclasses import fields
from typing import Any

import numpy as np

from din_train.audit.audited_run import AuditedRun, Check, judge, measure_distance, skip
from din_train.dataset.names import hash_rows
from din_train.evaluation.display import name_groups
from din_train.evaluation.evaluate import compute_candidate_gauc, compute_metrics, find_groups
from din_train.evaluation.metrics import compute_gauc
from din_train.evaluation.scores import ScoredRows

# How far float sums in another order may lie apart.
_CLOSE = 1e-9

_COUNTED_USERS = 500  # users whose AUC is counted pair by pair


def check_stored_scores(run: AuditedRun) -> Check:
    """`scores.test.parquet` has the test rows, and the scores that scoring them now gives."""
    name, stored, samples = "parity: stored scores", run.stored, run.samples
    if stored is None:
        return skip(name, "the run has no scores.test.parquet; `din-train eval` writes it")
    if len(stored) != len(samples):
        finding = f"scores.test.parquet has {len(stored):,} rows, the test split {len(samples):,}"
        return judge(name, False, finding, stored_rows=len(stored), rows=len(samples))
    was, bound = stored.logit[run.rows], run.stored_tolerance
    groups = find_groups(run.data, samples, run.metrics.gauc_group)
    expected = ScoredRows.of(samples, stored.logit, groups, run.calibration)
    columns = [(getattr(stored, each.name), getattr(expected, each.name)) for each in fields(ScoredRows)]
    others = sum(
        int(np.sum(np.abs(one - other) > (_CLOSE if one.dtype == np.float64 else 0)))
        if one is not None and other is not None
        else len(samples) * (one is not other)
        for one, other in columns
    )
    largest, same = measure_distance(was, run.logits), float(np.mean(was == run.logits))
    finding = (
        f"{run.describe_rows()} scored again: largest difference {largest:.1e} (bound {bound:.0e}), "
        f"{same:.2%} to the bit; {others:,} values of the rows themselves differ (bound 0)"
    )
    passed = largest <= bound and not others
    return judge(name, passed, finding, largest=largest, same_bits=same, bound=bound, differing=others)


def check_metrics(run: AuditedRun) -> Check:
    """The stored scores and the data set's labels give metrics.json; a few users' AUC is counted pair by pair."""
    name = "metrics: recomputed"
    groups = find_groups(run.data, run.samples, run.metrics.gauc_group)
    if run.stored is not None and len(run.stored) == len(run.samples):
        rows = ScoredRows.of(run.samples, run.stored.logit, groups, run.calibration)
    elif len(run.rows) == len(run.samples):
        rows = ScoredRows.of(run.samples, run.logits, groups, run.calibration)
    else:
        finding = "no scores of all rows: scores.test.parquet is missing, and the run has more rows than are audited"
        return judge(name, False, finding + "; write it with `din-train eval`, or audit with more rows")
    weighting = run.metrics.gauc_weighting
    recomputed = dict(vars(compute_metrics(rows, run.config.metrics.model_copy(update={"gauc_weighting": weighting}))))
    if run.metrics.has_gauc_by_history:
        recomputed["gauc_by_history"] = compute_candidate_gauc(run.samples, rows, weighting)
    wrong = [key for key, value in recomputed.items() if not _is_close(getattr(run.metrics, key), value)]
    shown = ", ".join(f"{key} {getattr(run.metrics, key)} there, {recomputed[key]} here" for key in wrong)
    drawn = np.random.default_rng(run.seed).permutation(np.unique(rows.groups))[:_COUNTED_USERS]
    some = rows.take(np.isin(rows.groups, drawn))
    counted = _count_mean_auc(some)
    ranked = compute_gauc(some.groups, some.label, some.logit, "uniform", some.weight).value
    finding = (
        f"{len(rows):,} rows, GAUC by {weighting}: "
        f"{shown or f'{len(recomputed)} numbers of metrics.json come out of the stored scores'}; mean AUC of "
        f"{len(drawn):,} {name_groups(run.metrics)} {ranked}, counted pair by pair {counted} (bound {_CLOSE:.0e})"
    )
    passed = not wrong and _is_close(ranked, counted)
    return judge(name, passed, finding, rows=len(rows), bound=_CLOSE, **recomputed)


def check_same_rows(run: AuditedRun) -> Check:
    """The test rows are those that metrics.json was made from."""
    found, expected = hash_rows(run.data, run.samples), run.metrics.rows_sha256
    finding = f"{len(run.samples):,} rows hash to {found[:12]}, in metrics.json it is {expected[:12]}"
    return judge("test rows: the same", found == expected, finding, found=found, expected=expected)


def _count_mean_auc(rows: ScoredRows) -> float | None:
    """The mean over users (or groups) of the share of pairs in which the positive has the higher score, a tie one half.

    With weights a pair counts by the product of both.
    """
    aucs = []
    for group in np.unique(rows.groups):
        mine = rows.take(rows.groups == group)
        weights = np.ones(len(mine)) if mine.weight is None else mine.weight.astype(np.float64)
        positive = mine.label == 1
        pairs = weights[positive, None] * weights[~positive]
        if pairs.sum() > 0:
            one, other = mine.logit[positive, None], mine.logit[~positive]
            aucs.append(float(np.sum(pairs * ((one > other) + 0.5 * (one == other))) / pairs.sum()))
    return math.fsum(aucs) / len(aucs) if aucs else None


def _is_close(one: Any, other: Any) -> bool:
    """Whether two numbers are equal but for rounding, or both undefined."""
    return one is other if one is None or other is None else abs(float(one) - float(other)) <= _CLOSE
