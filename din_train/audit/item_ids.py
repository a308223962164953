"""What item ids alone say of the labels, and how much of it is fair.

That popular items are likelier positives is fair: an item's identity is an input, and its past clicks are known. Not
fair is what says the label by how ids were given or how rows were made.
"""

import numpy as np
from numpy.typing import NDArray

from din_train.audit.check import Check, judge, note, skip
from din_train.audit.null_deviation import compute_null_deviation
from din_train.audit.shuffled_labels import DEVIATIONS
from din_train.audit.subject import Subject
from din_train.dataset.protocols import Split
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID
from din_train.evaluation.metrics import compute_auc

# Odd against even: one number, so 5 standard deviations are far out.
_DEVIATIONS = 5.0

# A role whose test rows all have one label must be that by more than chance.
_CHANCE = 1e-6

Ints = NDArray[np.int64]


def check_odd_ids(subject: Subject) -> Check:
    """Among items of equal training events, odd ids are as often positives as even ones.

    With p_i and n_i an item's share of the test positives and negatives and d_i = p_i - n_i, the number is
    sum over odd ids of d_i, less its mean where a stratum's ids are odd and even at random; its variance is exact for
    that null (a permutation within strata), items standing for all their rows.
    """
    samples, data = subject.samples, subject.data
    known = samples.target_item_ids >= FIRST_REAL_ID
    size = FIRST_REAL_ID + data.num_items
    positives, negatives = (
        np.bincount(samples.target_item_ids[known & (samples.labels == label)], minlength=size).astype(np.float64)
        for label in (1, 0)
    )
    if not positives.sum() or not negatives.sum():
        return skip("leak: odd ids", "the test split has one class only")
    items = np.arange(FIRST_REAL_ID, size)
    difference = (positives / positives.sum() - negatives / negatives.sum())[items]
    odd = (items % 2 == 1).astype(np.float64)
    _, stratum = np.unique(data.training_events[items], return_inverse=True)
    count = np.bincount(stratum).astype(np.float64)  # [strata]
    odds, total, squares = (np.bincount(stratum, each) for each in (odd, difference, difference**2))
    excess = float(np.sum(odd * difference) - np.sum(odds * total / count))
    spread = squares - total**2 / count
    variance = float(np.sum(odds * (count - odds) / count * spread / np.maximum(count - 1, 1)))
    deviations = abs(excess) / np.sqrt(variance) if variance > 0 else 0.0
    finding = (
        f"{len(items):,} items in {len(count):,} groups of equal training events: odd ids have {excess:+.4f} more of "
        f"the positives than of the negatives, {deviations:.1f} standard deviations (bound {_DEVIATIONS:g})"
    )
    measured = {"excess": excess, "deviations": float(deviations), "bound": _DEVIATIONS}
    return judge("leak: odd ids", deviations <= _DEVIATIONS, finding, items=len(items), **measured)


def check_item_roles(subject: Subject) -> Check:
    """No kind of item is of one label in training and in test: then the kind alone tells the label, and is learned.

    Kinds, by the training rows: unknown (no id of its own), only ever positive, only ever negative.
    """
    training, test = subject.samples_of(Split.TRAIN), subject.samples
    share = float(np.mean(test.labels)) if len(test) else 0.0
    roles = _find_roles(subject)
    measured, wrong = {}, []
    for role, items in roles.items():
        there, here = training.labels[items[training.target_item_ids]], test.labels[items[test.target_item_ids]]
        counts = [int(np.sum(here)), int(len(here) - np.sum(here))]
        measured[role] = {"train_rows": len(there), "test_positives": counts[0], "test_negatives": counts[1]}
        for label in (0, 1):
            pure = len(there) > 0 and len(here) > 0 and np.all(there == label) and np.all(here == label)
            if pure and (share if label else 1 - share) ** len(here) < _CHANCE:
                wrong.append(f"all {len(here):,} test rows of items {role} are {'positives' if label else 'negatives'}")
    if not subject.is_sampled:
        shown = "; ".join(wrong) or "no kind of item has one label only"
        return note("leak: kinds of items", f"{shown}; which items are shown is the log's doing", **measured)
    shown = (
        "; ".join(wrong) + ", as in training: the kind tells the label" if wrong else "no kind of item tells the label"
    )
    kinds = ", ".join(
        f"{role}: {each['test_positives']} to {each['test_negatives']}" for role, each in measured.items()
    )
    finding = f"{shown} (test positives to negatives: {kinds})"
    return judge("leak: kinds of items", not wrong, finding, **measured)


def note_popularity(subject: Subject) -> Check:
    """The AUC of an item's clicks in training: the fair part of what ids say."""
    clicks = subject.data.training_events[subject.samples.target_item_ids]
    value = compute_auc(subject.samples.labels, clicks.astype(np.float64))
    if value is None:
        return skip("leak: popularity", "the test split has one class only")
    model = subject.metrics.get("auc")
    finding = f"an item's training clicks alone have AUC {value:.4f} on the test rows (fair); the model {_show(model)}"
    return note("leak: popularity", finding, auc=value, model_auc=model)


def note_repeated_items(subject: Subject) -> Check:
    """The AUC of "the item is in the history": sampled negatives never are unless unknown, positives may be."""
    samples = subject.samples.take(subject.rows)
    events, end = subject.places.item_ids, samples.history_start + samples.history_length
    inside = np.array(
        [
            item in events[start:stop]
            for item, start, stop in zip(samples.target_item_ids, samples.history_start, end, strict=True)
        ],
        np.bool_,
    )
    value = compute_auc(samples.labels, inside.astype(np.float64))
    if value is None:
        return skip("leak: repeated items", "these rows have one class only")
    positive = samples.labels == 1
    shares = [float(np.mean(inside[each])) for each in (positive, ~positive)]
    finding = (
        f"{shares[0]:.2%} of the positives and {shares[1]:.2%} of the negatives are in their history: that has AUC "
        f"{value:.4f}"
    )
    if subject.is_sampled:
        finding += "; negatives of known items never are by negatives.exclude, so repeats score higher here than in use"
    return note("leak: repeated items", finding, auc=value, positives=shares[0], negatives=shares[1])


def note_row_properties(subject: Subject) -> Check:
    """The AUC of history length and of each context field alone, learned on half of the users, asked on the others."""
    samples = subject.samples
    columns = {"history length": samples.history_length, **samples.context}
    half = np.random.default_rng(subject.seed).random(int(samples.user_ids.max(initial=0)) + 1) < 0.5
    learned, asked = np.flatnonzero(half[samples.user_ids]), np.flatnonzero(~half[samples.user_ids])
    shown, measured = [], {}
    for name, column in columns.items():
        size = int(column.max(initial=0)) + 1
        seen = np.bincount(column[learned], minlength=size)
        clicked = np.bincount(column[learned], samples.labels[learned], minlength=size)
        share = float(np.mean(samples.labels[learned])) if len(learned) else 0.0
        score = ((clicked + share) / (seen + 1))[column[asked]]
        value = compute_auc(samples.labels[asked], score)
        deviation = compute_null_deviation(np.zeros(len(asked), np.int8), samples.labels[asked], score)
        if value is None or deviation is None:
            continue
        measured[name] = {"auc": value, "chance": DEVIATIONS * deviation}
        shown.append(f"{name} {value:.4f} (chance: within {DEVIATIONS * deviation:.4f} of 0.5)")
    if not shown:
        return skip("leak: row properties", "one class only")
    return note("leak: row properties", f"AUC of each alone: {'; '.join(shown)}", **measured)


def _find_roles(subject: Subject) -> dict[str, NDArray[np.bool_]]:
    """Role -> [num_items + 2] which item ids have it."""
    training = subject.samples_of(Split.TRAIN)
    size = FIRST_REAL_ID + subject.data.num_items
    as_positive, as_negative = (
        np.bincount(training.target_item_ids[training.labels == label], minlength=size) > 0 for label in (1, 0)
    )
    known = np.arange(size) != UNKNOWN_ID
    return {
        "unknown": ~known,
        "only positive in training": known & as_positive & ~as_negative,
        "only negative in training": known & as_negative & ~as_positive,
    }


def _show(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
