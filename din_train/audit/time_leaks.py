"""A history ends before its target in the log's order, and training has not seen the test rows."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from din_train.audit.audited_run import (
    NOWHERE,
    AuditedRun,
    Check,
    Rows,
    StoredEvents,
    describe_counts,
    judge,
    measure_distance,
    note,
    skip,
)
from din_train.config import DataConfig
from din_train.dataset.histories import find_history_ends
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import Samples

# Ready-made rows: how much more often the target may be its history's newest item than an item follows itself.
_REPEATS_MARGIN = 0.05
_REPEATS_DEVIATIONS = 4.0


def check_histories_end_before_targets(run: AuditedRun) -> Check:
    """Every sample of every split, by rows of the log and by timestamps."""
    name = "future: histories"
    if run.events.ordinals is None:
        return _check_ready_made_histories(run, name)
    counts: dict[str, int] = {}
    total = 0
    for split in SPLITS:
        samples = run.samples_of(split)
        total += len(samples)
        for what, count in _count_problems(run, split, samples).items():
            counts[what] = counts.get(what, 0) + count
    found = describe_counts(counts, "none reaches its target")
    finding = f"histories of {total:,} samples of all splits: {found} (bound 0)"
    return judge(name, not any(counts.values()), finding, samples=total, **counts)


def note_future_changes_scores(run: AuditedRun) -> Check:
    """One more behaviour, the one after the history, changes scores: the model does read histories."""
    samples = run.samples.take(run.probe)
    samples = samples.take(np.flatnonzero(samples.history_ends < run.events.end[samples.user_ids]))
    if not len(samples):
        return skip("future: appended", "no behaviour after any history is in the log")
    full = samples.history_length + 1
    kept = np.minimum(full, run.config.data.max_history_length).astype(np.int32)
    longer = replace(samples, history_start=samples.history_start + (full - kept), history_length=kept)
    before, after = run.score(samples), run.score(longer)
    changed = float(np.mean(np.abs(after - before) > run.tolerance))
    largest = measure_distance(before, after)
    finding = (
        f"{len(samples):,} rows scored with the behaviour after their history appended: {changed:.1%} of the scores "
        f"change, by up to {largest:.2g}"
    )
    return note("future: appended", finding, rows=len(samples), changed=changed, largest=largest)


def find_cut(data: DataConfig, split: Split) -> int | None:
    """The moment at which a split's histories end, under protocol `time`."""
    if data.protocol != "time" or data.time_split is None or split is Split.TRAIN:
        return None
    return data.time_split.validation_from if split is Split.VALIDATION else data.time_split.test_from


def _count_problems(run: AuditedRun, split: Split, samples: Samples) -> dict[str, int]:
    """How many samples have which problem."""
    events, ends = run.events, samples.history_ends
    stored = run.data.sample_columns(split)
    moments = None if run.is_sampled else stored["timestamp"]
    targets = run.find_targets(samples)
    found = targets != NOWHERE
    counts = {
        "outside their user's list": events.count_outside(samples),
        "of a target that is not in the log": int(np.sum((samples.labels == 1) & ~found)),
        "holding their target": int(np.sum(found & (targets < ends))),
    }
    times = events.timestamps
    if times is None:
        return counts
    expected = _find_expected_ends(run, times, split, samples, moments)
    counts["ending elsewhere than the protocol says"] = int(np.sum(ends != expected))
    newest = np.where(samples.history_length > 0, times[np.clip(ends - 1, 0, max(len(times) - 1, 0))], -(2**62))
    counts["newer than their target"] = int(np.sum(found & (newest > times[np.maximum(targets, 0)])))
    if moments is not None:
        counts["at or after their request's moment"] = int(np.sum(newest >= moments))
        keys = samples.user_ids.astype(np.int64) << 32 | stored["request"]
        _, request = np.unique(keys, return_inverse=True)  # [S] which request of all users'
        first_click, first_end = np.full((2, int(request.max(initial=-1)) + 1), np.iinfo(np.int64).max)
        np.minimum.at(first_click, request[found], targets[found])
        np.minimum.at(first_end, request, ends)
        counts["holding a click of their own request"] = int(np.sum(ends > first_click[request]))
        counts["longer than another row's of their request"] = int(np.sum(ends > first_end[request]))
    return counts


def _find_expected_ends(run: AuditedRun, times: Rows, split: Split, samples: Samples, moments: Rows | None) -> Rows:
    """[S] the event row that each history must end before, by the rule of `dataset/histories.py` and the protocol.

    Args:
        moments: [S] of the requests of a log of impressions; None for a log of clicks.
    """
    events, data = run.events, run.config.data
    first, end = events.first[samples.user_ids], events.end[samples.user_ids]
    expected = events.find_rows(samples)
    if moments is not None:
        expected = find_history_ends(times, first, end, moments - data.history_lag)
    elif data.ties == "apart":
        expected = find_history_ends(times, first, end, times[np.maximum(expected, 0)])
    cut = find_cut(data, split)
    if cut is not None:
        before = np.full(len(samples), cut - data.history_lag)
        expected = np.minimum(expected, find_history_ends(times, first, end, before))
    if moments is not None and data.protocol in ("paper", "holdout") and split is not Split.TRAIN:
        least = np.full(len(events.first), len(times))  # [users]: a user's rows share the first history
        np.minimum.at(least, samples.user_ids, expected)
        expected = least[samples.user_ids]
    return expected


def _check_ready_made_histories(run: AuditedRun, name: str) -> Check:
    """The rows came with their histories, so a target's event is unknown; what is wrong with them, `prepare` counted.

    A history that reached one item too far would nearly always end with its target; otherwise that happens as often as
    an item follows itself inside histories.
    """
    events = run.events
    rows = repeated = outside = 0
    for split in SPLITS:
        samples = run.samples_of(split)
        outside += events.count_outside(samples)
        asked = (samples.history_length > 0) & (samples.labels == 1)
        rows += int(np.sum(asked))
        newest = events.item_ids[samples.history_ends[asked] - 1]
        repeated += int(np.sum(newest == samples.target_item_ids[asked]))
    inner = events.user_ids[1:] == events.user_ids[:-1]
    following = float(np.mean((events.item_ids[1:] == events.item_ids[:-1])[inner])) if inner.any() else 0.0
    share = repeated / max(rows, 1)
    error = np.sqrt(max(following * (1 - following), 1e-12) / max(rows, 1))
    bound = following + _REPEATS_DEVIATIONS * float(error) + _REPEATS_MARGIN
    ends = np.unique(np.stack([run.samples.user_ids.astype(np.int64), run.samples.history_ends]), axis=1)[0]
    several = int(np.sum(np.unique(ends, return_counts=True)[1] > 1))
    said = run.data.manifest.histories
    kinds = {
        "requests have rows of different histories": ("requests_of_several_histories", "example_of_several_histories"),
        "rows have a behaviour at or after their own time": ("rows_of_later_behaviours", "example_of_later_behaviours"),
    }
    faults = {what: (said[key], said.get(example)) for what, (key, example) in kinds.items() if said.get(key)}
    wrong = "".join(f"; {count:,} {what}, such as {example}" for what, (count, example) in faults.items())
    unseen = "" if "requests" in said else "; such samples have no times, so more cannot be seen"
    finding = (
        f"{rows:,} positives with a history: {share:.2%} are their history's newest item (bound {bound:.2%}: an item "
        f"follows itself in {following:.2%}, and a margin); {outside:,} histories outside their user's list; "
        f"{several:,} users' test rows have different histories{wrong}{unseen}"
    )
    measured = {"share": share, "bound": bound, "outside": outside, "users_of_several_histories": several}
    measured |= {key: said[key] for key, _ in kinds.values() if key in said}
    return judge(name, share <= bound and not outside and not faults, finding, positives=rows, **measured)


def check_test_events(run: AuditedRun) -> Check:
    """No test row, and no event that is a test target, is a row, a target or a behaviour of a training or validation
    sample.

    If clicks are rows of their own, one click may make impressions of two splits positive; such rows are told.
    """
    name = "test rows: unseen"
    if run.events.ordinals is None:
        return _check_ready_made_positives(run, name)
    held_out = _mark_test_events(run)
    later = held_out | _mark_from_cut(run)
    counts = {}
    shared = 0
    for split in (Split.TRAIN, Split.VALIDATION):
        samples, of = run.samples_of(split), split.name.lower()
        is_test_row = np.isin(samples.events, run.samples.events) & (not run.is_sampled)
        targets = run.find_targets(samples)
        is_test_target = targets != NOWHERE
        is_test_target[is_test_target] = held_out[targets[is_test_target]]
        if run.has_click_rows and run.config.data.protocol != "user":
            shared += int(np.sum(is_test_target & ~is_test_row))
            is_test_target &= is_test_row
        counts[f"{of} targets"] = int(np.sum(is_test_target))
        counts[f"{of} rows without a click"] = int(np.sum(is_test_row & (samples.labels == 0)))
        counts[f"behaviours of {of} histories"] = int(np.sum(later & _mark_histories(run.events, samples)))
    found = describe_counts(counts, "no other split has one of them", "are ")
    told = f"; {shared:,} rows of other splits have their next click in common with a test row" if shared else ""
    finding = f"{int(held_out.sum()):,} events are the test split's: {found} (bound 0){told}"
    return judge(
        name, not any(counts.values()), finding, test_events=int(held_out.sum()), shared_clicks=shared, **counts
    )


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
    events = run.events
    held_out = np.zeros(len(events.item_ids), np.bool_)
    targets = run.find_targets(run.samples)
    held_out[targets[targets != NOWHERE]] = True
    if run.is_sampled:  # of impressions the request's moment decides
        held_out |= _mark_from_cut(run)
    if run.config.data.protocol == "user":
        held_out |= np.isin(events.user_ids, np.unique(run.samples.user_ids))
    return held_out


def _mark_from_cut(run: AuditedRun) -> NDArray[np.bool_]:
    """[events] whether an event is not before the test split's cut; there is none but under `time`."""
    cut, times = find_cut(run.config.data, Split.TEST), run.events.timestamps
    return np.zeros(len(run.events.item_ids), np.bool_) if cut is None or times is None else times >= cut


def _mark_histories(events: StoredEvents, samples: Samples, after: int = 0) -> NDArray[np.bool_]:
    """[events] whether some sample's history holds the event, after so many others."""
    samples = samples.take(np.flatnonzero(samples.history_length > after))
    steps = np.zeros(len(events.item_ids) + 1, np.int64)
    np.add.at(steps, samples.history_start + after, 1)
    np.add.at(steps, samples.history_ends, -1)
    marked: NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
    return marked


def _check_ready_made_positives(run: AuditedRun, name: str) -> Check:
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
