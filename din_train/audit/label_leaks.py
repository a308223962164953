"""What item ids, histories or context alone say of the labels, and how much of it is fair.

That popular items are likelier positives is fair: an item's identity is an input, and its past clicks are known. It is
not fair if the way in which ids were given, or negatives drawn, tells the label: if negatives come from another pool
than positives (items nobody clicked, the tail, odd ids), a model learns to tell them by their ids alone.

Within a user the history should say little. If rows see one another's clicks, or rows of one label come with longer
histories than rows of the other, it says all that a model seems to know.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from din_train.audit.audited_run import NO_CAP, NOWHERE, AuditedRun, Check, judge, note, skip
from din_train.dataset.negatives import build_distribution, find_last_excluded
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import Samples
from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID
from din_train.evaluation.metrics import compute_auc, compute_gauc

# Standard deviations of one count: beyond 5 a normal one lies once in 1.7 million times.
_COUNT_DEVIATIONS = 5.0

# Deviations from one half that are still chance: beyond 4 a normal variable lies once in 16,000 times.
_NULL_DEVIATIONS = 4.0

# A property of the history alone may reach at most this share of what the model has above one half.
_MOST_SHARE = 0.5

# If all test rows of a kind of items have one label, the check fails only if chance is less likely than this.
_CHANCE = 1e-6

_RANGES = 10  # of ids, which count up by falling popularity
_MOST_TARGETS = 3_000  # per split, whose negatives are checked


def check_negatives_pool(run: AuditedRun) -> Check:
    """Counts of negatives by ranges of ids, odd ids and the unknown id, against the exact expectation of every draw."""
    name = "leak: negatives' pool"
    if not run.is_sampled:
        return skip(name, "the log has negatives of its own; which items were shown is not din-train's doing")
    splits = [split for split in SPLITS if len(run.samples_of(split))]
    rows = own = unclicked = 0
    deviations: dict[str, float] = {}
    for split in splits:
        counts, off = _compare_with_draw(run, split)
        rows, own, unclicked = rows + counts[0], own + counts[1], unclicked + counts[2]
        deviations |= {f"{ids}, {split.name.lower()}": value for ids, value in off.items()}
    worst = max(deviations, key=lambda ids: deviations[ids])
    finding = (
        f"{rows:,} negatives of {len(splits)} splits: {own:,} are items their user chose, {unclicked:,} items without "
        f"an event (bound 0); by ids the farthest from the {run.config.negatives.distribution} draw is off by "
        f"{deviations[worst]:.1f} standard deviations ({worst}; bound {_COUNT_DEVIATIONS:g})"
    )
    passed = not own and not unclicked and deviations[worst] <= _COUNT_DEVIATIONS
    measured = {"rows": rows, "own": own, "unclicked": unclicked, "deviations": deviations[worst]}
    return judge(name, passed, finding, **measured, bound=_COUNT_DEVIATIONS)


def check_odd_ids(run: AuditedRun) -> Check:
    """Among items of equal training events, odd ids are as often positives as even ones.

    With p_i and n_i an item's share of the test positives and negatives and d_i = p_i - n_i, the number is
    sum over odd ids of d_i, less its mean if a stratum's ids are odd and even at random; its variance is exact for
    that null (a permutation within strata), items standing for all their rows.
    """
    samples, data = run.samples, run.data
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
        f"the positives than of the negatives, {deviations:.1f} standard deviations (bound {_COUNT_DEVIATIONS:g})"
    )
    measured = {"excess": excess, "deviations": float(deviations), "bound": _COUNT_DEVIATIONS}
    return judge("leak: odd ids", deviations <= _COUNT_DEVIATIONS, finding, items=len(items), **measured)


def check_item_kinds(run: AuditedRun) -> Check:
    """No kind of item is of one label in training and in test: then the kind alone tells the label, and is learned.

    Kinds, by the training rows: unknown (no id of its own), only ever positive, only ever negative.
    """
    training, test = run.samples_of(Split.TRAIN), run.samples
    share = float(np.mean(test.labels)) if len(test) else 0.0
    measured, wrong = {}, []
    for kind, items in _find_kinds(run).items():
        there, here = training.labels[items[training.target_item_ids]], test.labels[items[test.target_item_ids]]
        counts = [int(np.sum(here)), int(len(here) - np.sum(here))]
        measured[kind] = {"train_rows": len(there), "test_positives": counts[0], "test_negatives": counts[1]}
        for label in (0, 1):
            pure = len(there) > 0 and len(here) > 0 and np.all(there == label) and np.all(here == label)
            if pure and (share if label else 1 - share) ** len(here) < _CHANCE:
                wrong.append(f"all {len(here):,} test rows of items {kind} are {'positives' if label else 'negatives'}")
    if not run.is_sampled:
        shown = "; ".join(wrong) or "no kind of item has one label only"
        return note("leak: kinds of items", f"{shown}; which items are shown is the log's doing", **measured)
    shown = (
        "; ".join(wrong) + ", as in training: the kind tells the label" if wrong else "no kind of item tells the label"
    )
    kinds = ", ".join(
        f"{kind}: {each['test_positives']} to {each['test_negatives']}" for kind, each in measured.items()
    )
    finding = f"{shown} (test positives to negatives: {kinds})"
    return judge("leak: kinds of items", not wrong, finding, **measured)


def note_popularity(run: AuditedRun) -> Check:
    """The AUC of an item's clicks in training: the fair part of what ids say."""
    clicks = run.data.training_events[run.samples.target_item_ids]
    value = compute_auc(run.samples.labels, clicks.astype(np.float64))
    if value is None:
        return skip("leak: popularity", "the test split has one class only")
    model = run.metrics.auc
    shown = "undefined" if model is None else f"{model:.4f}"
    finding = f"an item's training clicks alone have AUC {value:.4f} on the test rows (fair); the model {shown}"
    return note("leak: popularity", finding, auc=value, model_auc=model)


def note_repeated_items(run: AuditedRun) -> Check:
    """The AUC of "the item is in the history": sampled negatives never are unless unknown, positives may be."""
    samples, items = run.samples.take(run.rows), run.events.item_ids
    rows = zip(samples.target_item_ids, samples.history_start, samples.history_ends, strict=True)
    inside = np.array([target in items[start:end] for target, start, end in rows], np.bool_)
    value = compute_auc(samples.labels, inside.astype(np.float64))
    if value is None:
        return skip("leak: repeated items", "these rows have one class only")
    positives, negatives = (float(np.mean(inside[samples.labels == label])) for label in (1, 0))
    finding = (
        f"{positives:.2%} of the positives and {negatives:.2%} of the negatives are in their history: that has AUC"
    )
    finding += f" {value:.4f}"
    if run.is_sampled:
        finding += "; negatives of known items never are by negatives.exclude, so repeats score higher here than in use"
    return note("leak: repeated items", finding, auc=value, positives=positives, negatives=negatives)


def _compare_with_draw(run: AuditedRun, split: Split) -> tuple[tuple[int, int, int], dict[str, float]]:
    """The negatives of a few of the split's targets, drawn at random, beside what the config makes one expect.

    Returns:
        How many were looked at, are items that their user chose, and are items without an event; and for each group of
        ids how many standard deviations its count is off.
    """
    data, events = run.data, run.events
    samples = data.samples(split, NO_CAP)
    positives = np.flatnonzero(samples.labels == 1)
    random = np.random.default_rng(run.seed)
    targets = np.sort(random.choice(positives, min(_MOST_TARGETS, len(positives)), replace=False))
    ends = np.append(positives, len(samples))[np.searchsorted(positives, targets) + 1]  # a target's negatives follow it
    users = samples.user_ids[targets]
    if events.ordinals is None:
        lists = _list_chosen_of_rows(run, samples, targets)
    else:
        first, count = events.first[users], events.end[users] - events.first[users]
        excluded = find_last_excluded(run.config.negatives, events.find_rows(samples.take(targets)) - first, count)
        ranges = zip(first, first + excluded + 1, strict=True)
        lists = (events.item_ids[start:until] for start, until in ranges)
    chances = _compute_chances(run)  # [ids]
    total, groups = chances.sum(), _group_ids(len(chances))
    inside = np.stack(list(groups.values()))  # [K, ids]
    whole = inside @ chances  # [K]
    expected, variance, found = (np.zeros(len(groups)) for _ in range(3))
    clicked = _find_positives(run)[1]
    has_event = np.bincount(np.append(events.item_ids, clicked), minlength=len(chances)) > 0
    rows = own = unclicked = 0
    for target, end, chosen in zip(targets, ends, lists, strict=True):
        items = samples.target_item_ids[target + 1 : end]
        chosen = np.unique(chosen)
        chosen = chosen[chosen >= FIRST_REAL_ID]  # an unknown negative may be another unknown item than the user's
        rows += len(items)
        own += int(np.isin(items, chosen).sum())
        unclicked += int((~has_event[items]).sum())
        left = total - chances[chosen].sum()
        share = (whole - inside[:, chosen] @ chances[chosen]) / left if left else np.zeros(len(groups))
        expected += len(items) * share
        variance += len(items) * share * (1 - share)
        found += inside[:, items].sum(axis=1)
    off = np.abs(found - expected) / np.sqrt(np.maximum(variance, 1.0))
    return (rows, own, unclicked), dict(zip(groups, off.tolist(), strict=True))


def _find_positives(run: AuditedRun) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Users and items of the positives of all splits, sorted by user."""
    splits = [run.samples_of(split) for split in SPLITS]
    users = np.concatenate([each.user_ids[each.labels == 1] for each in splits])
    items = np.concatenate([each.target_item_ids[each.labels == 1] for each in splits])
    order = np.argsort(users, kind="stable")
    return users[order], items[order]


def _list_chosen_of_rows(run: AuditedRun, samples: Samples, targets: NDArray[np.int64]) -> Iterator[NDArray[np.int32]]:
    """The items that may be no negative of each target, a ready-made row: of the user, or of its history and itself."""
    events, (users, items) = run.events, _find_positives(run)
    for target in targets:
        user = samples.user_ids[target]
        if run.config.negatives.exclude == "history":
            start, end = samples.history_start[target], samples.history_ends[target]
            yield np.append(events.item_ids[start:end], samples.target_item_ids[target])
            continue
        of_user = slice(*np.searchsorted(users, [user, user + 1]))
        yield np.append(events.item_ids[events.first[user] : events.end[user]], items[of_user])


def _compute_chances(run: AuditedRun) -> NDArray[np.float64]:
    """[ids] an id's weight in the configured draw."""
    data = run.data
    distribution = build_distribution(
        run.config.negatives, data.training_events[FIRST_REAL_ID:], data.manifest.unknown_items
    )
    chances = np.zeros(FIRST_REAL_ID + data.num_items)
    chances[FIRST_REAL_ID:] = 1 if distribution.weights is None else distribution.weights
    chances[UNKNOWN_ID] = distribution.unknown
    return chances


def _group_ids(num_ids: int) -> dict[str, NDArray[np.bool_]]:
    """Group -> [ids] which ids are in it: ranges, the odd ones, and the unknown one."""
    ids = np.arange(num_ids)
    edges = np.linspace(FIRST_REAL_ID, num_ids, _RANGES + 1).astype(int).tolist()
    ranges = {f"ids {low} to {high - 1}": (ids >= low) & (ids < high) for low, high in pairwise(edges)}
    return {**ranges, "odd ids": (ids >= FIRST_REAL_ID) & (ids % 2 == 1), "unknown": ids == UNKNOWN_ID}


def _find_kinds(run: AuditedRun) -> dict[str, NDArray[np.bool_]]:
    """Kind -> [num_items + 2] which item ids are of it."""
    training = run.samples_of(Split.TRAIN)
    size = FIRST_REAL_ID + run.data.num_items
    as_positive, as_negative = (
        np.bincount(training.target_item_ids[training.labels == label], minlength=size) > 0 for label in (1, 0)
    )
    known = np.arange(size) != UNKNOWN_ID
    return {
        "unknown": ~known,
        "only positive in training": known & as_positive & ~as_negative,
        "only negative in training": known & as_negative & ~as_positive,
    }


def check_history_alone(run: AuditedRun) -> Check:
    """GAUC of the history's length and age alone; mostly a note, because users may click more on some days."""
    name = "leak: history alone"
    samples = run.data.samples(Split.TEST, NO_CAP)
    properties = {"length": samples.history_length.astype(np.float64)}
    gaps = _find_gaps(run, samples)
    if gaps is not None:
        properties["time since its newest event"] = gaps
    model = run.metrics.gauc
    above = max(0.0, (model or 0.5) - 0.5)
    shown, measured, too_much = [], {}, []
    for what, values in properties.items():
        gauc = compute_gauc(samples.user_ids, samples.labels, values).value
        error = compute_null_deviation(samples.user_ids, samples.labels, values)
        if gauc is None or error is None:
            continue
        measured[what] = {"gauc": gauc, "standard_error": error}
        shown.append(f"{what} {gauc:.4f} (standard error {error:.4f})")
        if abs(gauc - 0.5) > max(_NULL_DEVIATIONS * error, _MOST_SHARE * above):
            too_much.append(what)
    if not shown:
        return skip(name, "no user has test rows of both classes")
    finding = (
        f"{len(samples):,} test rows, GAUC of each alone: {'; '.join(shown)}; the model "
        f"{'undefined' if model is None else f'{model:.4f}'} (bound: half of what the model has above 0.5, or "
        f"{_NULL_DEVIATIONS:g} standard errors)"
    )
    if not too_much:
        return note(name, finding, **measured)
    advice = "" if run.config.data.protocol != "user" else "; under protocol 'user' read GAUC by history"
    return judge(name, False, f"{finding}: {', '.join(too_much)} is beyond it{advice}", **measured)


def note_row_properties(run: AuditedRun) -> Check:
    """The AUC of history length and of each context field alone, learned on half of the users, measured on the rest."""
    samples = run.samples
    columns = {"history length": samples.history_length}
    for name, ids in samples.context.items():  # several values together are one property
        columns[name] = ids if ids.ndim == 1 else np.unique(ids, axis=0, return_inverse=True)[1].astype(np.int32)
    half = np.random.default_rng(run.seed).random(int(samples.user_ids.max(initial=0)) + 1) < 0.5
    learned, asked = np.flatnonzero(half[samples.user_ids]), np.flatnonzero(~half[samples.user_ids])
    share = float(np.mean(samples.labels[learned])) if len(learned) else 0.0
    shown, measured = [], {}
    for name, column in columns.items():
        size = int(column.max(initial=0)) + 1
        seen = np.bincount(column[learned], minlength=size)
        clicked = np.bincount(column[learned], samples.labels[learned], minlength=size)
        score = ((clicked + share) / (seen + 1))[column[asked]]
        value = compute_auc(samples.labels[asked], score)
        deviation = compute_null_deviation(np.zeros(len(asked), np.int8), samples.labels[asked], score)
        if value is None or deviation is None:
            continue
        measured[name] = {"auc": value, "chance": _NULL_DEVIATIONS * deviation}
        shown.append(f"{name} {value:.4f} (chance: within {_NULL_DEVIATIONS * deviation:.4f} of 0.5)")
    if not shown:
        return skip("leak: row properties", "one class only")
    return note("leak: row properties", f"AUC of each alone: {'; '.join(shown)}", **measured)


def _find_gaps(run: AuditedRun, samples: Samples) -> NDArray[np.float64] | None:
    """[S] time since the history's newest event, infinite if the history is empty; None for a log without times."""
    times = run.events.timestamps
    if times is None or not len(times):
        return None
    own = run.data.sample_columns(Split.TEST).get("timestamp")
    if own is None:
        rows = run.events.find_rows(samples)
        if (rows == NOWHERE).any():
            return None
        own = times[rows]
    newest = times[np.maximum(samples.history_ends - 1, 0)]
    gaps: NDArray[np.float64] = np.where(samples.history_length > 0, own - newest, np.inf)
    return gaps


def compute_null_deviation(
    group_ids: NDArray[np.integer], labels: NDArray[np.integer], scores: NDArray[np.generic]
) -> float | None:
    """Standard deviation of sum_g n_g AUC_g / sum_g n_g over groups with both classes.

    It is that under the null: labels are shuffled within each group.

    Args:
        group_ids: [S], users for GAUC; all the same for AUC. labels: [S] of 0 and 1. scores: [S].

    Returns:
        None if no group has both classes.
    """
    if not len(labels):
        return None
    order = np.lexsort((scores, group_ids))
    group, score, label = group_ids[order], scores[order], labels[order].astype(np.float64)
    new_group = np.append(True, group[1:] != group[:-1])
    new_tie = new_group | np.append(True, score[1:] != score[:-1])
    group_row = np.cumsum(new_group) - 1  # [S]
    n = np.bincount(group_row).astype(np.float64)  # [G]
    positives = np.bincount(group_row, weights=label)
    tied = np.diff(np.append(np.flatnonzero(new_tie), len(label))).astype(np.float64)  # [ties] rows
    lost = np.bincount(group_row[new_tie], weights=tied**3 - tied, minlength=len(n))
    both = (positives > 0) & (positives < n)
    if not both.any():
        return None
    n, p, lost = n[both], positives[both], lost[both]
    variance = (n**3 - n - lost) / (12 * n * (n - 1) * p * (n - p))
    return float(np.sqrt(np.sum(n**2 * variance)) / np.sum(n))
