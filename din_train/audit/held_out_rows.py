"""Training has not seen the test rows."""

import numpy as np
from numpy.typing import NDArray

from din_train.audit.audited_run import NOWHERE, AuditedRun, StoredEvents
from din_train.audit.check import Check, describe_counts, judge, note
from din_train.audit.future import find_cut
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import Samples


def check_test_events(run: AuditedRun) -> Check:
    """No event that is a test target is a target or a behaviour of a training or validation sample."""
    name = "test rows: unseen"
    if run.events.ordinals is None:
        return _check_ready_made(run, name)
    held_out = _mark_test_events(run)
    counts = {}
    for split in (Split.TRAIN, Split.VALIDATION):
        samples, of = run.samples_of(split), split.name.lower()
        targets = run.events.find_targets(samples)
        counts[f"{of} targets"] = int(np.sum(held_out[targets[targets != NOWHERE]]))
        counts[f"behaviours of {of} histories"] = int(np.sum(held_out & _mark_histories(run.events, samples)))
    found = describe_counts(counts, "no other split has one of them", "are ")
    finding = f"{int(held_out.sum()):,} events are the test split's: {found} (bound 0)"
    return judge(name, not any(counts.values()), finding, test_events=int(held_out.sum()), **counts)


def check_disjoint_users(run: AuditedRun) -> Check:
    """Under protocol `user` no user is in two splits; under the others the shared users are counted."""
    name = "test rows: users"
    training, validation, test = (np.unique(run.samples_of(split).user_ids) for split in SPLITS)
    shared = {
        "train": len(np.intersect1d(test, training)),
        "validation": len(np.intersect1d(test, validation)),
        "train and validation": len(np.intersect1d(training, validation)),
    }
    protocol = run.config.data.protocol
    if protocol != "user":
        finding = (
            f"{len(test):,} test users, {shared['train']:,} of them in training too, as protocol '{protocol}' has it"
        )
        return note(name, finding, users=len(test), **shared)
    finding = (
        f"{len(test):,} test users: {shared['train']:,} in training, {shared['validation']:,} in validation, and "
        f"{shared['train and validation']:,} validation users in training (bound 0)"
    )
    return judge(name, not any(shared.values()), finding, users=len(test), **shared)


def _mark_test_events(run: AuditedRun) -> NDArray[np.bool_]:
    """[events]: the test targets; under `user` all of the test users, of clicks under `time` all from the cut on."""
    events, config = run.events, run.config.data
    held_out = np.zeros(len(events.item_ids), np.bool_)
    targets = events.find_targets(run.samples)
    held_out[targets[targets != NOWHERE]] = True
    cut = find_cut(config, Split.TEST)
    if cut is not None and run.is_sampled and events.timestamps is not None:
        held_out |= events.timestamps >= cut  # of impressions the request's moment decides
    if config.protocol == "user":
        held_out |= np.isin(events.user_ids, np.unique(run.samples.user_ids))
    return held_out


def _mark_histories(events: StoredEvents, samples: Samples, after: int = 0) -> NDArray[np.bool_]:
    """[events] whether some sample's history holds the event, after so many others."""
    samples = samples.take(np.flatnonzero(samples.history_length > after))
    steps = np.zeros(len(events.item_ids) + 1, np.int64)
    np.add.at(steps, samples.history_start + after, 1)
    np.add.at(steps, samples.history_ends, -1)
    marked: NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
    return marked


def _check_ready_made(run: AuditedRun, name: str) -> Check:
    """Ready-made rows are not events of a log: no test positive is there again, or in a longer history."""
    events, tests = run.events, _key_positives(run.samples)
    seen, seen_later = np.zeros((2, len(events.item_ids)), np.bool_)
    counts = {}
    for split in (Split.TRAIN, Split.VALIDATION):
        samples = run.samples_of(split)
        counts[f"positives of {split.name.lower()}"] = len(tests & _key_positives(samples))
        seen |= _mark_histories(events, samples)
        seen_later |= _mark_histories(events, samples, after=1)  # in one list with the behaviour before it
    positives = run.samples.take(np.flatnonzero(run.samples.labels == 1))
    inside = positives.history_ends < events.end[positives.user_ids]
    after = positives.history_ends[inside]
    follows = events.item_ids[after] == positives.target_item_ids[inside]
    in_longer = np.where(positives.history_length[inside] > 0, seen_later[after], seen[after])
    counts["behaviours of training or validation histories"] = int(np.sum(follows & in_longer))
    found = describe_counts(counts, "none is in another split", "are ")
    finding = (
        f"{len(positives):,} test positives by user, item and history: {found} (bound 0); ready-made samples have no "
        "places in a log, so an item clicked twice cannot be told from a leak and is not counted"
    )
    return judge(name, not any(counts.values()), finding, positives=len(positives), **counts)


def _key_positives(samples: Samples) -> set[tuple[int, int, int, int]]:
    """Positives as (user, item, the history's end and length)."""
    positive = samples.labels == 1
    columns = (samples.user_ids, samples.target_item_ids, samples.history_ends, samples.history_length)
    return set(zip(*(column[positive].tolist() for column in columns), strict=True))
