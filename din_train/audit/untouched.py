"""Training has not seen the test rows."""

import numpy as np
from numpy.typing import NDArray

from din_train.audit.check import Check, judge, note, skip
from din_train.audit.places import (
    NOWHERE,
    find_cut,
    find_stray_targets,
    find_target_places,
    mark_histories,
)
from din_train.audit.subject import Subject
from din_train.dataset.names import hash_rows
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import Samples
from din_train.dataset.training_rows import join_for_refit


def check_same_rows(subject: Subject) -> Check:
    """The test rows are those that metrics.json was made from."""
    name, expected = "test rows: the same", subject.metrics.get("rows_sha256")
    if expected is None:
        return skip(name, "metrics.json has no hash of its rows; `fit` of an earlier din-train wrote it")
    found = hash_rows(subject.data, subject.samples)
    finding = f"{len(subject.samples):,} rows hash to {found[:12]}, in metrics.json it is {str(expected)[:12]}"
    return judge(name, found == expected, finding, found=found, expected=expected)


def check_test_events(subject: Subject) -> Check:
    """No event that is a test target is a target or a behaviour of a training or validation sample."""
    name = "test rows: unseen"
    if subject.config.data.protocol == "presampled":
        return _check_presampled(subject, name)
    held_out = _mark_test_events(subject)
    counts = {}
    for split in (Split.TRAIN, Split.VALIDATION):
        samples = subject.samples_of(split)
        targets = find_target_places(subject.places, samples)
        stray = find_stray_targets(subject.places, samples, targets)
        targets = np.concatenate([targets[targets != NOWHERE], stray])
        of = split.name.lower()
        counts[f"{of} targets"] = int(np.sum(held_out[targets]))
        counts[f"behaviours of {of} histories"] = int(np.sum(held_out & mark_histories(subject.places, samples)))
    wrong = {what: count for what, count in counts.items() if count}
    found = ", ".join(f"{count:,} are {what}" for what, count in wrong.items()) or "no other split has one of them"
    finding = f"{int(held_out.sum()):,} events are the test split's: {found} (bound 0)"
    return judge(name, not wrong, finding, test_events=int(held_out.sum()), **counts)


def check_trained_rows(subject: Subject) -> Check:
    """The history tells how many samples an epoch had: those of training, and in a refit of validation too."""
    name = "test rows: rows trained on"
    training = subject.samples_of(Split.TRAIN)
    expected = {"selection": len(training), "refit": 0}
    if subject.refit:
        kept = subject.config.negatives.per_positive if subject.is_sampled else None
        expected["refit"] = len(join_for_refit(training, subject.samples_of(Split.VALIDATION), per_positive=kept))
    counts: dict[str, set[int]] = {}
    for epoch in subject.history:
        phase = str(epoch.get("phase", "selection"))
        counts.setdefault(phase, set()).add(round(epoch["samples_per_second"] * epoch["seconds"]))
    if not counts:
        return skip(name, "history.jsonl has no epoch")
    wrong = {phase: sorted(each) for phase, each in counts.items() if each != {expected[phase]}}
    shown = "; ".join(
        f"{phase}: {', '.join(f'{count:,}' for count in sorted(each))} samples an epoch, {expected[phase]:,} expected"
        for phase, each in counts.items()
    )
    missing = subject.refit and "refit" not in counts
    return judge(name, not wrong and not missing, shown, **{phase: sorted(each) for phase, each in counts.items()})


def check_disjoint_users(subject: Subject) -> Check:
    """Under protocol `user` no user is in two splits; elsewhere the shared users are counted."""
    name = "test rows: users"
    users = {split: np.unique(subject.samples_of(split).user_ids) for split in SPLITS}
    test = users[Split.TEST]
    shared = {
        "train": len(np.intersect1d(test, users[Split.TRAIN])),
        "validation": len(np.intersect1d(test, users[Split.VALIDATION])),
        "train and validation": len(np.intersect1d(users[Split.TRAIN], users[Split.VALIDATION])),
    }
    protocol = subject.config.data.protocol
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


def _mark_test_events(subject: Subject) -> NDArray[np.bool_]:
    """[events]: the test targets; under `user` all of the test users, of clicks under `time` all from the cut on."""
    places, config = subject.places, subject.config.data
    held_out = np.zeros(len(places.item_ids), np.bool_)
    targets = find_target_places(places, subject.samples)
    held_out[targets[targets != NOWHERE]] = True
    cut = find_cut(config, Split.TEST)
    if cut is not None and subject.is_sampled and places.timestamps is not None:
        held_out |= places.timestamps >= cut  # of impressions the request's moment decides
    if config.protocol == "user":
        held_out |= np.isin(places.user_ids, np.unique(subject.samples.user_ids))
    return held_out


def _check_presampled(subject: Subject, name: str) -> Check:
    """Ready-made rows have no place in a log: no test positive is there again, or in a longer history."""
    places = subject.places
    tests = _key_rows(subject.samples)
    counts = {}
    for split in (Split.TRAIN, Split.VALIDATION):
        samples = subject.samples_of(split)
        counts[f"positives of {split.name.lower()}"] = len(tests & _key_rows(samples))
    seen = mark_histories(places, subject.samples_of(Split.TRAIN)) | mark_histories(
        places, subject.samples_of(Split.VALIDATION)
    )
    positives = subject.samples.take(np.flatnonzero(subject.samples.labels == 1))
    after = positives.history_start + positives.history_length
    inside = after < places.end[positives.user_ids]
    follows = np.zeros(len(positives), np.bool_)
    follows[inside] = places.item_ids[after[inside]] == positives.target_item_ids[inside]
    counts["behaviours of training or validation histories"] = int(np.sum(follows[inside] & seen[after[inside]]))
    wrong = {what: count for what, count in counts.items() if count}
    found = ", ".join(f"{count:,} are {what}" for what, count in wrong.items()) or "none is in another split"
    finding = (
        f"{len(positives):,} test positives by user, item and history: {found} (bound 0); ready-made samples have no "
        "places in a log, so an item clicked twice cannot be told from a leak and is not counted"
    )
    return judge(name, not wrong, finding, positives=len(positives), **counts)


def _key_rows(samples: Samples) -> set[tuple[int, int, int, int]]:
    """Positives as (user, item, the history's place)."""
    positive = samples.labels == 1
    ends = samples.history_start + samples.history_length
    columns = (samples.user_ids, samples.target_item_ids, ends, samples.history_length)
    return set(zip(*(column[positive].tolist() for column in columns), strict=True))
