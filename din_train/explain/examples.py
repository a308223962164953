"""The test users whose activation weights a run shows.

A rule chooses them, so that nobody picks the pretty ones. Each test user has one candidate row: the first clicked one
of a known item whose history has 5 to 20 behaviours (if no history is of that length, any that is not empty). These
rows are sorted by score and cut into six parts of equal size, from the least likely click to the likeliest, and the
run's seed draws one row of each part. Beside the clicked item stands the first one after it that the same user, with
the same history, did not click: the sampled negative, or in a log of impressions an item that was only shown.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from din_train.dataset.names import EventDescription
from din_train.dataset.store import Samples
from din_train.dataset.vocabulary import UNKNOWN_ID
from din_train.report.attention import Candidate, Example

NUM_EXAMPLES = 6
_LEAST, _MOST = 5, 20

# A candidate, and the [N] weights of the behaviours for it.
Weighted = tuple[Candidate, NDArray[np.float64]]


def choose_example_rows(
    samples: Samples, logits: NDArray[np.float32], *, seed: int, count: int = NUM_EXAMPLES
) -> list[tuple[int, int | None]]:
    """Choose at most `count` pairs of a clicked row and its sampled one, by the rule above.

    Args:
        samples: of the test split. logits: [S] their scores.
    """
    length = samples.history_length
    clicked = (samples.labels == 1) & (samples.target_item_ids != UNKNOWN_ID) & (length > 0)
    shown = clicked & (length >= _LEAST) & (length <= _MOST)
    rows = np.flatnonzero(shown if shown.any() else clicked)
    _, first = np.unique(samples.user_ids[rows], return_index=True)
    rows = rows[first]  # by user, so that the order of what follows is defined
    ranked = rows[np.argsort(logits[rows], kind="stable")]
    random = np.random.default_rng(seed)
    chosen = [int(random.choice(part)) for part in np.array_split(ranked, count) if len(part)]
    return [(row, _find_sampled(samples, row)) for row in chosen]


def _find_sampled(samples: Samples, row: int) -> int | None:
    same = np.flatnonzero(
        (samples.user_ids == samples.user_ids[row])
        & (samples.history_start == samples.history_start[row])
        & (samples.history_length == samples.history_length[row])
        & (samples.labels == 0)
    )
    if not len(same):
        return None
    after = same[same > row]
    return int((after if len(after) else same)[0])


def build_example(
    user: str, history: Sequence[EventDescription], clicked: Weighted, sampled: Weighted | None = None
) -> Example:
    """Build an example of the [N] behaviours of a history, weighed for one candidate or two."""
    others = [None] * len(history) if sampled is None else sampled[1].tolist()
    return {
        "user": user,
        "clicked": clicked[0],
        "sampled": None if sampled is None else sampled[0],
        "behaviours": [
            {**event, "weight_clicked": weight, "weight_sampled": other}
            for event, weight, other in zip(history, clicked[1].tolist(), others, strict=True)
        ],
    }
