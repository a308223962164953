"""A history ends before its target: nothing in it is at or after the target in the log's order."""

from dataclasses import replace

import numpy as np

from din_train.audit.check import Check, judge, note, skip
from din_train.audit.places import NOWHERE, find_history_bounds, find_target_places
from din_train.audit.subject import NO_CAP, Rows, Subject, measure_distance
from din_train.dataset.column_file import map_columns
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import Samples

_BATCH_ROWS = 1_000

# Presampled rows: how much more often the target may be its history's newest item than an item follows itself.
_REPEATS_MARGIN = 0.05
_DEVIATIONS = 4.0


def check_histories_end_before_targets(subject: Subject) -> Check:
    """Every sample of every split, by rows of the log and by timestamps."""
    name = "future: histories"
    if subject.config.data.protocol == "presampled":
        return _check_presampled(subject, name)
    counts: dict[str, int] = {}
    total = 0
    for split in SPLITS:
        samples = subject.samples_of(split)
        total += len(samples)
        for what, count in _count_problems(subject, split, samples).items():
            counts[what] = counts.get(what, 0) + count
    wrong = {what: count for what, count in counts.items() if count}
    found = ", ".join(f"{count:,} {what}" for what, count in wrong.items()) or "none reaches its target"
    finding = f"histories of {total:,} samples of all splits: {found} (bound 0)"
    return judge(name, not wrong, finding, samples=total, **counts)


def check_batches_hold_histories(subject: Subject) -> Check:
    """What a batch holds is what the log says, a row at a time in plain Python from the files."""
    rows = subject.probe[:_BATCH_ROWS]
    places, longest = subject.places, subject.config.data.max_history_length
    whole = subject.data.samples(Split.TEST, NO_CAP).take(rows)
    inputs = subject.build_inputs(rows)
    wrong = 0
    for row, history in enumerate(inputs["history_item_ids"]):
        start = int(whole.history_start[row])
        expected = places.item_ids[start : start + int(whole.history_length[row])].tolist()[-longest:]
        held = history[: inputs["history_length"][row]].tolist()
        wrong += held != expected or int(inputs["target_item_id"][row]) != int(whole.target_item_ids[row])
    finding = f"{len(rows):,} rows of batches against events.arrow: {wrong:,} differ (bound 0)"
    return judge("future: batches", wrong == 0, finding, rows=len(rows), differing=wrong)


def note_future_changes_scores(subject: Subject) -> Check:
    """One more behaviour, the one after the history, changes scores: the model does read histories."""
    places = subject.places
    samples = subject.samples.take(subject.probe)
    ends = samples.history_start + samples.history_length
    samples = samples.take(np.flatnonzero(ends < places.end[samples.user_ids]))
    if not len(samples):
        return skip("future: appended", "no behaviour after any history is in the log")
    longest = subject.config.data.max_history_length
    full = samples.history_length + 1
    kept = np.minimum(full, longest).astype(np.int32)
    longer = replace(samples, history_start=samples.history_start + (full - kept), history_length=kept)
    before, after = subject.score_as_eval_does(samples), subject.score_as_eval_does(longer)
    changed = float(np.mean(np.abs(after - before) > subject.tolerance))
    largest = measure_distance(before, after)
    finding = (
        f"{len(samples):,} rows scored with the behaviour after their history appended: {changed:.1%} of the scores "
        f"change, by up to {largest:.2g}"
    )
    return note("future: appended", finding, rows=len(samples), changed=changed, largest=largest)


def _count_problems(subject: Subject, split: Split, samples: Samples) -> dict[str, int]:
    """What is wrong with how many samples."""
    places, config = subject.places, subject.config.data
    users, end = samples.user_ids, samples.history_ends
    stored = map_columns(subject.data.folder / f"samples.{split.name.lower()}.arrow")
    moments = None if subject.is_sampled else stored["timestamp"]
    targets = find_target_places(places, samples)
    found = targets != NOWHERE
    bounds = find_history_bounds(places, config, split, samples, moments)
    counts = {
        "outside their user's list": int(
            np.sum((samples.history_start < places.first[users]) | (end > places.end[users]))
        ),
        "of a target that is not in the log": int(np.sum((samples.labels == 1) & ~found)),
        "holding their target": int(np.sum(found & (targets < end))),
        "ending elsewhere than the protocol says": 0 if bounds is None else int(np.sum(end != bounds)),
    }
    times = places.timestamps
    if times is None:
        return counts
    newest = np.where(samples.history_length > 0, times[np.clip(end - 1, 0, max(len(times) - 1, 0))], -(2**62))
    counts["newer than their target"] = int(np.sum(found & (newest > times[np.maximum(targets, 0)])))
    if moments is not None:
        counts["at or after their request's moment"] = int(np.sum(newest >= moments))
        counts |= _count_in_requests(samples, stored["request"], targets)
    return counts


def _count_in_requests(samples: Samples, requests: Rows, targets: Rows) -> dict[str, int]:
    """Rows of a request must not see its clicks, and see one history."""
    keys = samples.user_ids.astype(np.int64) << 32 | requests
    _, places = np.unique(keys, return_inverse=True)  # [S] which request of all users'
    count = int(places.max(initial=-1)) + 1
    first_click, first_end = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).max)
    found = targets != NOWHERE
    np.minimum.at(first_click, places[found], targets[found])
    np.minimum.at(first_end, places, samples.history_ends)
    return {
        "holding a click of their own request": int(np.sum(samples.history_ends > first_click[places])),
        "longer than another row's of their request": int(np.sum(samples.history_ends > first_end[places])),
    }


def _check_presampled(subject: Subject, name: str) -> Check:
    """The rows came with their histories and no time, so a target's place is unknown.

    A history that reached one item too far would end with its target, nearly always; else that happens as often as an
    item follows itself inside histories.
    """
    places = subject.places
    rows = repeated = outside = 0
    for split in SPLITS:
        samples = subject.samples_of(split)
        end = samples.history_start + samples.history_length
        some = samples.history_length > 0
        users = samples.user_ids[some]
        outside += int(np.sum((samples.history_start[some] < places.first[users]) | (end[some] > places.end[users])))
        asked = some & (samples.labels == 1)
        rows += int(np.sum(asked))
        repeated += int(np.sum(places.item_ids[end[asked] - 1] == samples.target_item_ids[asked]))
    inner = places.user_ids[1:] == places.user_ids[:-1]
    following = float(np.mean((places.item_ids[1:] == places.item_ids[:-1])[inner])) if inner.any() else 0.0
    share = repeated / max(rows, 1)
    error = np.sqrt(max(following * (1 - following), 1e-12) / max(rows, 1))
    bound = following + _DEVIATIONS * float(error) + _REPEATS_MARGIN
    test = subject.samples
    ends = np.unique(np.stack([test.user_ids.astype(np.int64), test.history_ends]), axis=1)[0]
    several = int(np.sum(np.unique(ends, return_counts=True)[1] > 1))
    finding = (
        f"{rows:,} positives with a history: {share:.2%} are their history's newest item (bound {bound:.2%}: an item "
        f"follows itself in {following:.2%}, and a margin); {outside:,} histories outside their user's list; "
        f"{several:,} users' test rows have different histories; such samples have no times, so more cannot be seen"
    )
    passed = share <= bound and not outside
    measured = {"share": share, "bound": bound, "outside": outside, "users_of_several_histories": several}
    return judge(name, passed, finding, positives=rows, **measured)
