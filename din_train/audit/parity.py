"""One model, one score: in the training form, loaded again from disk, and as it was stored."""

import numpy as np
import tensorflow as tf

from din_train.audit.check import Check, judge, skip
from din_train.audit.subject import Floats, Rows, Subject, measure_distance, widen
from din_train.batches import Inputs
from din_train.model.positions import flatten_history, pad_history
from din_train.model.ranking_model import LocatedBatch

# Positions of padding that every row has at least, so that it is looked at whatever the histories.
_PADDING = 4


def check_training_form(subject: Subject) -> Check:
    """The forward pass as training has it (flat and padded), in inference mode, against `score`."""
    rows = subject.probe
    served = subject.score(rows)
    distances = {
        "called": measure_distance(served, _call(subject, rows)),
        "flat": measure_distance(served, _score_in_form(subject, rows, padded=False)),
        "padded": measure_distance(served, _score_in_form(subject, rows, padded=True)),
    }
    worst = max(distances, key=lambda how: distances[how])
    finding = (
        f"{len(rows):,} rows in the forms that train ({', '.join(distances)}) and in the one that serves: largest "
        f"difference {distances[worst]:.1e} ({worst}; bound {subject.tolerance:.0e})"
    )
    passed = distances[worst] <= subject.tolerance
    return judge("parity: training form", passed, finding, rows=len(rows), bound=subject.tolerance, **distances)


def check_loaded_again(subject: Subject) -> Check:
    """A model built anew from the config, with the weights from disk, gives the same bits."""
    rows = subject.probe
    again = subject.reload()
    size = subject.config.training.evaluation_batch_size
    parts = [
        again.score(subject.build_inputs(rows[start : start + size])).numpy() for start in range(0, len(rows), size)
    ]
    differing = int(np.sum(np.concatenate([np.empty(0, np.float32), *parts]) != subject.score(rows)))
    finding = f"{len(rows):,} rows scored by a model loaded again from disk: {differing:,} scores differ (bound 0)"
    return judge("parity: loaded again", differing == 0, finding, rows=len(rows), differing=differing)


def check_stored_scores(subject: Subject) -> Check:
    """`scores.test.parquet` has the test rows, and the scores that scoring them now gives."""
    name, stored, samples = "parity: stored scores", subject.stored, subject.samples
    if stored is None:
        return skip(name, "the run has no scores.test.parquet; `din-train eval` writes it")
    if len(stored) != len(samples):
        finding = f"scores.test.parquet has {len(stored):,} rows, the test split {len(samples):,}"
        return judge(name, False, finding, stored_rows=len(stored), rows=len(samples))
    columns = {
        "user_id": (stored.user_id, samples.user_ids),
        "target_item_id": (stored.target_item_id, samples.target_item_ids),
        "history_length": (stored.history_length, samples.history_length),
        "history_end": (stored.history_end, samples.history_ends),
        "event": (stored.event, samples.events),
        "label": (stored.label, samples.labels),
    }
    others = sum(int(np.sum(one != other)) for one, other in columns.values())
    was = stored.logit[subject.rows]
    bound = subject.stored_tolerance
    largest, same = measure_distance(was, subject.logits), float(np.mean(was == subject.logits))
    finding = (
        f"{subject.describe_rows()} scored again: largest difference {largest:.1e} (bound {bound:.0e}), "
        f"{same:.2%} to the bit; {others:,} values of the rows themselves differ (bound 0)"
    )
    passed = largest <= bound and not others
    return judge(name, passed, finding, largest=largest, same_bits=same, bound=bound, differing=others)


def _call(subject: Subject, rows: Rows) -> Floats:
    """Not through the traced function."""
    logits: Floats = subject.model(_as_tensors(subject.build_inputs(rows)), training=False).numpy()
    return logits


def _score_in_form(subject: Subject, rows: Rows, *, padded: bool) -> Floats:
    inputs = _as_tensors(widen(subject.build_inputs(rows), _PADDING))
    ids, length = inputs["history_item_ids"], inputs["history_length"]
    located = pad_history([ids], length, subject.model.compute_dtype) if padded else flatten_history(ids, length)
    logits = subject.model.compute_logits(LocatedBatch(inputs, *located), training=False)
    scores: Floats = tf.cast(logits, tf.float32).numpy()
    return scores


def _as_tensors(inputs: Inputs) -> dict[str, tf.Tensor]:
    return {name: tf.constant(values) for name, values in inputs.items()}
