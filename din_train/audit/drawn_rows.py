"""The rows that training draws anew every epoch: fresh negatives, and histories of all other training events.

The other checks look at the stored rows. These are drawn from them, so they are drawn again here, as `fit` draws them.
"""

import numpy as np
from numpy.typing import NDArray

from din_train.audit.audited_run import NO_CAP, NOWHERE, AuditedRun, Check, Rows, describe_counts, judge, skip
from din_train.dataset.histories import count_visits
from din_train.dataset.protocols import Split
from din_train.dataset.store import Samples
from din_train.dataset.training_rows import changes_between_epochs, draw_epoch, read_rows
from din_train.dataset.vocabulary import FIRST_REAL_ID

_EPOCHS = 2  # the first ones, which are like all others


def check_drawn_rows(run: AuditedRun) -> Check:
    """No drawn history holds an event of another split or its own target, and no fresh negative is the user's own."""
    name = "training: drawn rows"
    if not changes_between_epochs(run.config):
        return skip(name, "every epoch has the stored rows")
    refit = run.metrics.refit
    stored = read_rows(run.data, run.config, refit=refit, max_history_length=run.config.data.max_history_length)
    whole = read_rows(run.data, run.config, refit=refit, max_history_length=NO_CAP)
    held_out = _mark_held_out(run, whole, refit=refit)
    own_keys = np.unique(_key(run, *_find_own(run, whole)))
    rows = 0
    counts = dict.fromkeys(
        ("events of other splits in histories", "histories holding their target", "own items as fresh negatives"), 0
    )
    for epoch in range(_EPOCHS):
        drawn = draw_epoch(run.data, run.config, stored, epoch)
        rows += len(drawn)
        visits = count_visits(len(run.events.item_ids), drawn)
        counts["events of other splits in histories"] += int(np.sum(held_out & (visits > 0)))
        counts["histories holding their target"] += _count_holding_target(run, whole, drawn)
        if run.config.negatives.resample == "epoch" and not run.is_sampled and run.config.negatives.exclude == "all":
            negatives = drawn.take(np.flatnonzero((drawn.labels == 0) & (drawn.target_item_ids >= FIRST_REAL_ID)))
            keys = _key(run, negatives.user_ids, negatives.target_item_ids)
            counts["own items as fresh negatives"] += int(np.isin(keys, own_keys).sum())
    found = describe_counts(counts, "nothing of another split, no history with its own target, no negative of the user")
    finding = f"{rows:,} rows of the first {_EPOCHS} epochs: {found} (bound 0)"
    return judge(name, not any(counts.values()), finding, rows=rows, **counts)


def _find_places(run: AuditedRun, samples: Samples) -> Rows:
    """[S] the event row of each positive; `NOWHERE` for negatives, and if it is not stored.

    Ready-made rows have no place in a log: a positive is where its history goes on with its item.
    """
    if run.events.ordinals is not None:
        return run.events.find_targets(samples)
    ends = samples.history_ends
    inside = (samples.labels == 1) & (ends < run.events.end[samples.user_ids])
    row = np.where(inside, ends, 0)
    if not len(run.events.item_ids):
        return np.full(len(samples), NOWHERE)
    return np.where(inside & (run.events.item_ids[row] == samples.target_item_ids), ends, NOWHERE)


def _mark_held_out(run: AuditedRun, training: Samples, *, refit: bool) -> NDArray[np.bool_]:
    """[events] those that validation (unless in a refit) or test rows are about, and nothing of the training rows."""
    held_out = np.zeros(len(run.events.item_ids), np.bool_)
    for split in (Split.TEST,) if refit else (Split.VALIDATION, Split.TEST):
        places = _find_places(run, run.data.samples(split, NO_CAP))
        held_out[places[places != NOWHERE]] = True
    if run.events.ordinals is None:  # an event of one list may be where another list goes on
        held_out &= count_visits(len(held_out), training) == 0
        places = _find_places(run, training)
        held_out[places[places != NOWHERE]] = False
    return held_out


def _find_own(run: AuditedRun, training: Samples) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Users and items of the training positives and of the behaviours in training histories."""
    seen = count_visits(len(run.events.item_ids), training) > 0
    positive = training.labels == 1
    return (
        np.concatenate([run.events.user_ids[seen], training.user_ids[positive]]),
        np.concatenate([run.events.item_ids[seen], training.target_item_ids[positive]]),
    )


def _key(run: AuditedRun, users: NDArray[np.int32], items: NDArray[np.int32]) -> Rows:
    keys: Rows = users * np.int64(FIRST_REAL_ID + run.data.num_items) + items
    return keys


def _count_holding_target(run: AuditedRun, stored: Samples, drawn: Samples) -> int:
    """How many drawn positives have their own event in their history."""
    stored = stored.take(np.flatnonzero(stored.labels == 1))
    drawn = drawn.take(np.flatnonzero(drawn.labels == 1))
    order = np.argsort(stored.events, kind="stable")
    of_stored = order[np.searchsorted(stored.events, drawn.events, sorter=order)]
    places = _find_places(run, stored)[of_stored]
    jumps = np.full(len(drawn), -1) if drawn.skipped is None else drawn.skipped
    inside = (places >= drawn.history_start) & (places < drawn.history_ends + (jumps >= 0)) & (places != jumps)
    return int(np.sum(inside & (places != NOWHERE)))
