"""A row's score depends on the row alone: not on its slot, the batch, the padding or the rows beside it.

Each check scores the same few rows in another way and puts the scores beside those of the first.
"""

from collections.abc import Mapping

import numpy as np

from din_train.audit.check import Check, judge, skip
from din_train.audit.subject import Floats, Rows, Subject, measure_distance, widen
from din_train.batches import Inputs, build_batch
from din_train.dataset.protocols import Split
from din_train.dataset.vocabulary import FIRST_REAL_ID

_BATCH_SIZES = (3, 64)
_ALONE = 100  # rows scored one at a time
_WIDER = 37


def check_same_batch(subject: Subject) -> Check:
    """The same batches scored twice give the same bits."""
    rows = subject.probe
    first, second = subject.score(rows), subject.score(rows)
    differing = int(np.sum(first != second))
    finding = f"{len(rows):,} rows scored twice in the same batches: {differing:,} scores differ (bound 0)"
    return judge("same batch, same bits", differing == 0, finding, rows=len(rows), differing=differing)


def check_order(subject: Subject) -> Check:
    """Batches read backwards, all rows shuffled, positives before negatives."""
    rows = subject.probe
    labels = subject.samples.labels[rows]
    orders = {
        "backwards": np.arange(len(rows))[::-1],
        "shuffled": np.random.default_rng(subject.seed).permutation(len(rows)),
        "positives first": np.argsort(-labels, kind="stable"),
    }
    return _compare(subject, "scores: order", {name: _score_in(subject, rows, each) for name, each in orders.items()})


def check_batch_size(subject: Subject) -> Check:
    """Alone, in small batches, and in one batch."""
    rows = subject.probe
    scored = {f"batches of {size}": subject.score(rows, batch_size=size) for size in _BATCH_SIZES}
    scored["one batch"] = subject.score(rows, batch_size=len(rows))
    return _compare(subject, "scores: batch size", {"alone": subject.score(rows[:_ALONE], batch_size=1), **scored})


def check_padding(subject: Subject) -> Check:
    """Padded wider, and with ids where padding should be: `history_length` alone says what is valid."""
    rows = subject.probe
    random = np.random.default_rng(subject.seed)
    last = FIRST_REAL_ID + subject.data.num_items

    def fill(inputs: Inputs) -> Inputs:
        wide = widen(inputs, _WIDER)
        history = wide["history_item_ids"]
        is_padding = np.arange(history.shape[1]) >= wide["history_length"][:, None]
        junk = random.integers(FIRST_REAL_ID, last, history.shape, dtype=np.int32)
        return {**wide, "history_item_ids": np.where(is_padding, junk, history)}

    wider = subject.score(rows, alter=lambda inputs: widen(inputs, _WIDER))
    return _compare(subject, "scores: padding", {"wider": wider, "ids in the padding": subject.score(rows, alter=fill)})


def check_neighbours(subject: Subject) -> Check:
    """Among training rows, and positives and negatives in batches apart.

    The withdrawn numbers of the authors' code came from a second normalisation layer for negatives.
    """
    rows = subject.probe
    labels = subject.samples.labels[rows]
    apart = np.empty(len(rows), np.float32)
    for label in (0, 1):
        apart[labels == label] = subject.score(rows[labels == label])
    scored = {"positives and negatives apart": apart}
    if len(subject.samples_of(Split.TRAIN)):
        scored["among training rows"] = _score_among_training_rows(subject, rows)
    return _compare(subject, "scores: neighbours", scored)


def _compare(subject: Subject, name: str, scored: Mapping[str, Floats]) -> Check:
    """Against the probe rows' scores in stored order; a shorter array stands for the first of them."""
    rows = subject.probe
    if not len(rows):
        return skip(name, "no row to score")
    base = subject.score(rows)
    distances = {how: measure_distance(base[: len(scores)], scores) for how, scores in scored.items()}
    worst = max(distances, key=lambda how: distances[how])
    finding = (
        f"{len(rows):,} rows scored anew ({', '.join(distances)}): largest difference {distances[worst]:.1e} "
        f"({worst}; bound {subject.tolerance:.0e})"
    )
    passed = distances[worst] <= subject.tolerance
    return judge(name, passed, finding, rows=len(rows), bound=subject.tolerance, **distances)


def _score_in(subject: Subject, rows: Rows, order: Rows) -> Floats:
    """Scores of rows taken in another order, put back into their own."""
    scores = np.empty(len(rows), np.float32)
    scores[order] = subject.score(rows[order])
    return scores


def _score_among_training_rows(subject: Subject, rows: Rows) -> Floats:
    """Every other row of a batch is a training row, drawn at random."""
    training = subject.samples_of(Split.TRAIN)
    random = np.random.default_rng(subject.seed)
    size = max(1, subject.config.training.evaluation_batch_size // 2)
    parts = []
    for start in range(0, len(rows), size):
        inputs = subject.build_inputs(rows[start : start + size])
        count = len(inputs["target_item_id"])
        drawn = random.integers(0, len(training), count)
        others = build_batch(subject.data, training, drawn, subject.config.data.max_history_length)[0]
        parts.append(subject.model.score(_interleave(others, inputs)).numpy()[1::2])
    return np.concatenate(parts)


def _interleave(others: Inputs, inputs: Inputs) -> Inputs:
    width = max(each["history_item_ids"].shape[1] for each in (others, inputs))
    one, two = (widen(each, width - each["history_item_ids"].shape[1]) for each in (others, inputs))
    return {
        name: np.stack([one[name], two[name]], axis=1).reshape(-1, *two[name].shape[1:])  # other, own, other, ...
        for name in inputs
    }
