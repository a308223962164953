"""A stored score knows nothing of where its row stands: among rows of one label, place and score are unrelated.

The stored order itself does tell the label, where negatives are sampled: a positive stands before its negatives.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from din_train.audit.check import Check, judge
from din_train.audit.null_deviation import compute_null_deviation
from din_train.audit.shuffled_labels import DEVIATIONS
from din_train.audit.subject import Rows, Subject, measure_distance
from din_train.dataset.store import Samples
from din_train.evaluation.metrics import compute_gauc

Groups = NDArray[np.int64]
Marks = NDArray[np.int64]


def check_slots(subject: Subject) -> Check:
    """Odd against even places among rows of one label, and the first half of a user's negatives against the second."""
    samples, logits = subject.scored
    measured, bounds = {}, {}
    for what, rows, groups, marks in _list_splits(samples, sampled=subject.is_sampled):
        deviation = compute_null_deviation(groups, marks, logits[rows])
        value = compute_gauc(groups, marks, logits[rows]).value
        if value is None or deviation is None:
            continue
        measured[what], bounds[what] = value - 0.5, DEVIATIONS * deviation
    worst = max(measured, key=lambda what: abs(measured[what]) / max(bounds[what], 1e-12), default=None)
    if worst is None:
        return judge("leak: slots", True, "too few rows to compare places")
    finding = (
        f"{len(samples):,} scores by place ({', '.join(measured)}): AUC of place off 0.5 by "
        f"{abs(measured[worst]):.4f} ({worst}; bound {bounds[worst]:.4f}, {DEVIATIONS:g} standard errors)"
    )
    passed = all(abs(value) <= bounds[what] for what, value in measured.items())
    return judge("leak: slots", passed, finding, rows=len(samples), **measured, bounds=bounds)


def check_equal_rows(subject: Subject) -> Check:
    """Rows with the same inputs have the same stored score, whatever their label."""
    samples, logits = subject.scored
    columns: list[NDArray[np.integer]] = [
        samples.user_ids,
        samples.target_item_ids,
        samples.history_start,
        samples.history_length,
    ]
    columns += list(samples.context.values())
    order = np.lexsort((logits, *columns))
    same = np.all([column[order][1:] == column[order][:-1] for column in columns], axis=0)
    ordered, labels = logits[order], samples.labels[order]
    largest = measure_distance(ordered[1:][same], ordered[:-1][same])
    other_label = int(np.sum(same & (labels[1:] != labels[:-1])))
    finding = (
        f"{int(same.sum()):,} pairs of rows with equal inputs ({other_label:,} of different label): largest difference "
        f"of their scores {largest:.1e} (bound {subject.tolerance:.0e})"
    )
    passed = largest <= subject.tolerance
    return judge("leak: equal rows", passed, finding, pairs=int(same.sum()), largest=largest, bound=subject.tolerance)


def _list_splits(samples: Samples, *, sampled: bool) -> Iterator[tuple[str, Rows, Groups, Marks]]:
    """What is compared: its name, the rows, their groups, and the mark that should mean nothing."""
    for name, label in (("odd positives", 1), ("odd negatives", 0)):
        rows = np.flatnonzero(samples.labels == label)
        yield name, rows, np.zeros(len(rows), np.int64), np.arange(len(rows)) % 2
    if sampled:
        targets = np.cumsum(samples.labels == 1)  # [S] the target that a row belongs to
        rows = np.flatnonzero(samples.labels == 0)
        groups = targets[rows]
        begins = np.searchsorted(groups, groups, side="left")
        ends = np.searchsorted(groups, groups, side="right")
        yield (
            "a target's first negatives",
            rows,
            groups,
            ((np.arange(len(rows)) - begins) * 2 < ends - begins).astype(int),
        )
