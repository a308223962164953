"""Where labels say nothing, AUC and GAUC say one half, and scores do not know the labels."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from din_train.audit.check import Check, judge, skip
from din_train.audit.null_deviation import compute_null_deviation
from din_train.audit.subject import Subject
from din_train.evaluation.metrics import compute_auc, compute_gauc

SHUFFLES = 10

# Deviations from one half that are still chance: beyond 4 a normal variable lies once in 16,000 times.
DEVIATIONS = 4.0

Labels = NDArray[np.int8]


def check_scores_ignore_labels(subject: Subject) -> Check:
    """Rows whose labels were shuffled get the bits they had before."""
    samples = subject.samples.take(subject.probe)
    shuffled = replace(samples, labels=np.random.default_rng(subject.seed).permutation(samples.labels))
    flipped = replace(samples, labels=(1 - samples.labels).astype(np.int8))
    base = subject.score_as_eval_does(samples)
    differing = sum(int(np.sum(subject.score_as_eval_does(each) != base)) for each in (shuffled, flipped))
    finding = (
        f"{len(samples):,} rows scored with shuffled and with flipped labels: {differing:,} scores differ (bound 0)"
    )
    return judge("labels: scores ignore them", differing == 0, finding, rows=len(samples), differing=differing)


def check_equal_scores(subject: Subject) -> Check:
    """A model that says the same of every row has AUC and GAUC of one half, whatever the order of the rows."""
    samples = subject.samples.take(subject.rows)
    constant = np.zeros(len(samples), np.float32)
    values = {
        "auc": compute_auc(samples.labels, constant),
        "gauc": compute_gauc(samples.user_ids, samples.labels, constant).value,
    }
    shown = ", ".join(f"{name.upper()} {'undefined' if value is None else value}" for name, value in values.items())
    finding = f"equal scores for {subject.describe_rows()}: {shown} (must be 0.5)"
    return judge("labels: equal scores", all(value in (None, 0.5) for value in values.values()), finding, **values)


def check_shuffled_overall(subject: Subject) -> Check:
    """AUC with labels shuffled over all rows."""
    rows = subject.samples.take(subject.rows)
    return _check(subject, "labels: shuffled overall", "AUC", np.zeros(len(rows), np.int8), _shuffle_overall)


def check_shuffled_within_users(subject: Subject) -> Check:
    """GAUC with labels shuffled within each user."""
    users = subject.samples.user_ids[subject.rows]
    return _check(subject, "labels: shuffled within users", "GAUC", users, _shuffle_within)


def _check(
    subject: Subject,
    name: str,
    metric: str,
    groups: NDArray[np.integer],
    shuffle: Callable[[NDArray[np.integer], Labels, np.random.Generator], Labels],
) -> Check:
    """The mean over shuffles, against its own standard deviation."""
    samples = subject.samples.take(subject.rows)
    random = np.random.default_rng(subject.seed)
    values, variances = [], []
    for _ in range(SHUFFLES):
        labels = shuffle(groups, samples.labels, random)
        value = (
            compute_gauc(groups, labels, subject.logits).value
            if metric == "GAUC"
            else compute_auc(labels, subject.logits)
        )
        deviation = compute_null_deviation(groups, labels, subject.logits)
        if value is None or deviation is None:
            return skip(name, f"{metric} is undefined on these rows: one class only")
        values.append(value)
        variances.append(deviation**2)
    mean, deviation = float(np.mean(values)), float(np.sqrt(np.sum(variances))) / SHUFFLES
    bound = DEVIATIONS * deviation
    finding = (
        f"{subject.describe_rows()}, {SHUFFLES} shuffles: mean {metric} {mean:.4f} (must be within "
        f"{bound:.4f} of 0.5, {DEVIATIONS:g} standard errors)"
    )
    return judge(name, abs(mean - 0.5) <= bound, finding, mean=mean, standard_error=deviation, bound=bound)


def _shuffle_overall(groups: NDArray[np.integer], labels: Labels, random: np.random.Generator) -> Labels:
    del groups
    return random.permutation(labels)


def _shuffle_within(groups: NDArray[np.integer], labels: Labels, random: np.random.Generator) -> Labels:
    """Labels of a group's rows in another order."""
    order = np.lexsort((random.random(len(labels)), groups))
    shuffled = np.empty_like(labels)
    shuffled[np.argsort(groups, kind="stable")] = labels[order]
    return shuffled
