"""What the history alone says of the labels, whatever the candidate: its length, and the time since its newest event.

Within a user it should say little. Where rows see one another's clicks, or rows of one label come with longer histories
than rows of the other, it says all that a model seems to know.
"""

import numpy as np
from numpy.typing import NDArray

from din_train.audit.check import Check, judge, note, skip
from din_train.audit.null_deviation import compute_null_deviation
from din_train.audit.places import NOWHERE
from din_train.audit.shuffled_labels import DEVIATIONS
from din_train.audit.subject import NO_CAP, Subject
from din_train.dataset.column_file import map_columns
from din_train.dataset.protocols import Split
from din_train.dataset.store import Samples
from din_train.evaluation.metrics import compute_gauc

# Of what the model has above one half, the most that a property of the history may have alone.
_MOST_SHARE = 0.5


def check_history_alone(subject: Subject) -> Check:
    """GAUC of each property alone on the test rows; a log's users may click more on some days, so a note as a rule."""
    name = "leak: history alone"
    samples = subject.data.samples(Split.TEST, NO_CAP)
    properties = {"length": samples.history_length.astype(np.float64)}
    gaps = _find_gaps(subject, samples)
    if gaps is not None:
        properties["time since its newest event"] = gaps
    model = subject.metrics.get("gauc")
    above = max(0.0, (model or 0.5) - 0.5)
    shown, measured, too_much = [], {}, []
    for what, values in properties.items():
        gauc = compute_gauc(samples.user_ids, samples.labels, values).value
        error = compute_null_deviation(samples.user_ids, samples.labels, values)
        if gauc is None or error is None:
            continue
        measured[what] = {"gauc": gauc, "standard_error": error}
        shown.append(f"{what} {gauc:.4f} (standard error {error:.4f})")
        distance = abs(gauc - 0.5)
        if distance > DEVIATIONS * error and distance > _MOST_SHARE * above:
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
    advice = "" if subject.config.data.protocol != "user" else "; under protocol 'user' read GAUC by history"
    return judge(name, False, f"{finding}: {', '.join(too_much)} is beyond it{advice}", **measured)


def _find_gaps(subject: Subject, samples: Samples) -> NDArray[np.float64] | None:
    """[S] time since the newest event of the history, the largest where there is none; None in a log without times."""
    places = subject.places
    times = places.timestamps
    if times is None or not len(times):
        return None
    own = map_columns(subject.data.folder / "samples.test.arrow").get("timestamp")
    if own is None:
        events = places.find_events(samples)
        if (events == NOWHERE).any():
            return None
        own = times[events]
    some = samples.history_length > 0
    newest = times[np.maximum(samples.history_ends - 1, 0)]
    gaps: NDArray[np.float64] = np.where(some, own - newest, np.inf)
    return gaps
