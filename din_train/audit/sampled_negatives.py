"""Sampled negatives are what the config says: never the user's own items, and from the whole of the items.

Negatives from a smaller or other pool than the positives' (items nobody clicked, the tail, odd ids) can be told by
their ids alone, and a model learns to.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from din_train.audit.check import Check, judge, skip
from din_train.audit.subject import NO_CAP, Subject
from din_train.dataset.negatives import build_distribution, find_last_excluded
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID

_RANGES = 10  # of ids; they count up by falling popularity
_MOST_TARGETS = 3_000  # a split

# Deviations from the expected count: there are a dozen counts a split, and beyond 5 a normal one lies once in 1.7
# million times.
_DEVIATIONS = 5.0

Bins = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Drawn:
    """A split's negatives beside what the config makes one expect.

    rows: looked at. own: that are items their user chose. unclicked: whose item has no event.
    largest: the largest deviation of a bin's count from its expectation, in standard deviations; bin: which.
    """

    rows: int
    own: int
    unclicked: int
    largest: float
    bin: str


def check_negatives_pool(subject: Subject) -> Check:
    """Counts of negatives by ranges of ids, odd ids and the unknown id, against the exact expectation of every draw."""
    name = "leak: negatives' pool"
    if not subject.is_sampled:
        return skip(name, "the log has negatives of its own; which items were shown is not din-train's doing")
    drawn = {split: _compare(subject, split) for split in SPLITS if len(subject.samples_of(split))}
    rows, own = sum(each.rows for each in drawn.values()), sum(each.own for each in drawn.values())
    unclicked = sum(each.unclicked for each in drawn.values())
    split = max(drawn, key=lambda each: drawn[each].largest)
    worst = drawn[split]
    finding = (
        f"{rows:,} negatives of {len(drawn)} splits: {own:,} are items their user chose, {unclicked:,} items without "
        f"an event (bound 0); by ids the farthest from the {subject.config.negatives.distribution} draw is off by "
        f"{worst.largest:.1f} standard deviations ({worst.bin}, {split.name.lower()}; bound {_DEVIATIONS:g})"
    )
    passed = not own and not unclicked and worst.largest <= _DEVIATIONS
    return judge(
        name, passed, finding, rows=rows, own=own, unclicked=unclicked, deviations=worst.largest, bound=_DEVIATIONS
    )


def check_negatives_differ_only_in_item(subject: Subject) -> Check:
    """A negative has its positive's user, history and context: nothing but the item can tell them apart."""
    name = "leak: negatives' inputs"
    if not subject.is_sampled:
        return skip(name, "the log has negatives of its own, each with its own time")
    counts: dict[str, int] = {}
    total = 0
    for split in SPLITS:
        samples = subject.samples_of(split)
        total += int(np.sum(samples.labels == 0))
        positive = samples.labels == 1
        of = np.maximum.accumulate(np.where(positive, np.arange(len(positive)), -1))  # [S] row of the row's target
        counts["without a positive before them"] = counts.get("without a positive before them", 0) + int(np.sum(of < 0))
        rows = np.flatnonzero(of >= 0)
        columns: dict[str, NDArray[np.integer]] = {
            "user": samples.user_ids,
            "history": samples.history_start,
            "history length": samples.history_length,
            **samples.context,
        }
        for what, column in columns.items():
            differing = int(np.sum(column[rows] != column[of[rows]]))
            counts[f"of another {what}"] = counts.get(f"of another {what}", 0) + differing
    wrong = {what: count for what, count in counts.items() if count}
    found = ", ".join(f"{count:,} {what}" for what, count in wrong.items()) or "all inputs but the item are equal"
    finding = f"{total:,} negatives of all splits beside their positives: {found} (bound 0)"
    return judge(name, not wrong, finding, negatives=total, **counts)


def _compare(subject: Subject, split: Split) -> Drawn:
    """Of a split's targets, a few drawn at random, in their order."""
    data, negatives, places = subject.data, subject.config.negatives, subject.places
    samples = data.samples(split, NO_CAP)
    targets = np.flatnonzero(samples.labels == 1)
    if len(targets) > _MOST_TARGETS:
        random = np.random.default_rng(subject.seed)
        targets = np.sort(random.choice(targets, _MOST_TARGETS, replace=False))
    users = samples.user_ids[targets]
    positions = places.find_events(samples.take(targets)) - places.first[users]
    excluded = find_last_excluded(negatives, positions, places.end[users] - places.first[users])
    ends = np.append(np.flatnonzero(samples.labels == 1), len(samples))
    ends = ends[np.searchsorted(ends, targets, side="right")]  # [targets] the row after the target's negatives
    distribution = build_distribution(negatives, data.training_events[FIRST_REAL_ID:], data.unknown_items)
    whole = np.ones(FIRST_REAL_ID + data.num_items)  # [ids] weights
    if distribution.weights is not None:
        whole[FIRST_REAL_ID:] = distribution.weights
    whole[:FIRST_REAL_ID] = 0
    whole[UNKNOWN_ID] = distribution.unknown
    bins = _make_bins(len(whole))
    by_bin = {what: float(whole[each].sum()) for what, each in bins.items()}
    expected, variance, found = (dict.fromkeys(bins, 0.0) for _ in range(3))
    has_event = np.bincount(places.item_ids, minlength=len(whole)) > 0
    rows = own = unclicked = 0
    for target, end, last_excluded in zip(targets.tolist(), ends.tolist(), excluded.tolist(), strict=True):
        items = samples.target_item_ids[target + 1 : end]
        user = int(samples.user_ids[target])
        first = int(places.first[user])
        chosen = np.unique(places.item_ids[first : first + last_excluded + 1])
        chosen = chosen[chosen >= FIRST_REAL_ID]  # an unknown negative may be an unknown item of the user's: not told
        own += int(np.isin(items, chosen).sum())
        unclicked += int((~has_event[items]).sum())
        rows += len(items)
        left = whole.sum() - whole[chosen].sum()
        for what, inside in bins.items():
            share = (by_bin[what] - whole[chosen[inside[chosen]]].sum()) / left if left else 0.0
            expected[what] += len(items) * share
            variance[what] += len(items) * share * (1 - share)
            found[what] += float(inside[items].sum())
    deviations = {what: abs(found[what] - expected[what]) / np.sqrt(max(variance[what], 1.0)) for what in bins}
    worst = max(deviations, key=lambda what: deviations[what])
    return Drawn(rows, own, unclicked, float(deviations[worst]), worst)


def _make_bins(num_ids: int) -> Bins:
    """[num_ids] masks: ranges of ids, the odd ones, and the unknown one."""
    ids = np.arange(num_ids)
    edges = np.linspace(FIRST_REAL_ID, num_ids, _RANGES + 1).astype(int)
    ranges = {f"ids {low} to {high - 1}": (ids >= low) & (ids < high) for low, high in pairwise(edges.tolist())}
    return {**ranges, "odd ids": (ids >= FIRST_REAL_ID) & (ids % 2 == 1), "unknown": ids == UNKNOWN_ID}
