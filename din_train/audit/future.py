"""A history ends before its target: nothing in it is at or after the target in the log's order."""

from dataclasses import replace

import numpy as np

from din_train.audit.audited_run import NOWHERE, AuditedRun, Rows, measure_distance
from din_train.audit.check import Check, describe_counts, judge, note, skip
from din_train.config import DataConfig
from din_train.dataset.column_file import map_columns
from din_train.dataset.histories import find_history_ends
from din_train.dataset.protocols import SPLITS, Split
from din_train.dataset.store import Samples

# Ready-made rows: how much more often the target may be its history's newest item than an item follows itself.
_REPEATS_MARGIN = 0.05
_DEVIATIONS = 4.0


def check_histories_end_before_targets(run: AuditedRun) -> Check:
    """Every sample of every split, by rows of the log and by timestamps."""
    name = "future: histories"
    if run.events.ordinals is None:
        return _check_ready_made(run, name)
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
    stored = map_columns(run.data.folder / f"samples.{split.name.lower()}.arrow")
    moments = None if run.is_sampled else stored["timestamp"]
    columns = run.config.data.columns
    if moments is not None and columns is not None and columns.events is not None:
        targets = events.find_clicks_after(samples, moments)
    else:
        targets = events.find_targets(samples)
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


def _check_ready_made(run: AuditedRun, name: str) -> Check:
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
    bound = following + _DEVIATIONS * float(error) + _REPEATS_MARGIN
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
