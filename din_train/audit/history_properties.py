"""What the history or the context alone says of the labels, whatever the candidate.

Within a user the history should say little. If rows see one another's clicks, or rows of one label come with longer
histories than rows of the other, it says all that a model seems to know.
"""

import numpy as np
from numpy.typing import NDArray

from din_train.audit.audited_run import NO_CAP, NOWHERE, AuditedRun
from din_train.audit.check import Check, judge, note, skip
from din_train.dataset.column_file import map_columns
from din_train.dataset.protocols import Split
from din_train.dataset.store import Samples
from din_train.evaluation.metrics import compute_auc, compute_gauc

# Of what the model has above one half, the most that a property of the history may have alone.
_MOST_SHARE = 0.5


def check_history_alone(run: AuditedRun) -> Check:
    """GAUC of the history's length and age alone; a note as a rule, as users may click more on some days."""
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
        if abs(gauc - 0.5) > max(DEVIATIONS * error, _MOST_SHARE * above):
            too_much.append(what)
    if not shown:
        return skip(name, "no user has test rows of both classes")
    finding = (
        f"{len(samples):,} test rows, GAUC of each alone: {'; '.join(shown)}; the model "
        f"{'undefined' if model is None else f'{model:.4f}'} (bound: half of what the model has above 0.5, or "
        f"{DEVIATIONS:g} standard errors)"
    )
    if not too_much:
        return note(name, finding, **measured)
    advice = "" if run.config.data.protocol != "user" else "; under protocol 'user' read GAUC by history"
    return judge(name, False, f"{finding}: {', '.join(too_much)} is beyond it{advice}", **measured)


def note_row_properties(run: AuditedRun) -> Check:
    """The AUC of history length and of each context field alone, learned on half of the users, asked on the others."""
    samples = run.samples
    columns = {"history length": samples.history_length, **samples.context}
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
        measured[name] = {"auc": value, "chance": DEVIATIONS * deviation}
        shown.append(f"{name} {value:.4f} (chance: within {DEVIATIONS * deviation:.4f} of 0.5)")
    if not shown:
        return skip("leak: row properties", "one class only")
    return note("leak: row properties", f"AUC of each alone: {'; '.join(shown)}", **measured)


def _find_gaps(run: AuditedRun, samples: Samples) -> NDArray[np.float64] | None:
    """[S] time since the history's newest event, infinite if the history is empty; None for a log without times."""
    times = run.events.timestamps
    if times is None or not len(times):
        return None
    own = map_columns(run.data.folder / "samples.test.arrow").get("timestamp")
    if own is None:
        rows = run.events.find_rows(samples)
        if (rows == NOWHERE).any():
            return None
        own = times[rows]
    newest = times[np.maximum(samples.history_ends - 1, 0)]
    gaps: NDArray[np.float64] = np.where(samples.history_length > 0, own - newest, np.inf)
    return gaps


# Deviations from one half that are still chance: beyond 4 a normal variable lies once in 16,000 times.
DEVIATIONS = 4.0


def compute_null_deviation(
    group_ids: NDArray[np.integer], labels: NDArray[np.integer], scores: NDArray[np.generic]
) -> float | None:
    """Standard deviation of sum_g n_g AUC_g / sum_g n_g over groups with both classes, under that null.

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
