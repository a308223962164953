"""Test users whose activation weights a run shows: which ones, and `attention.json`.

The rule, so that nobody picks the pretty ones: of each test user the first clicked row whose history has 5 to 20
behaviours, with a known item; sorted by its score; cut into six parts of equal size, from the least likely click to
the likeliest; one row of each part, drawn with the run's seed. Where no history is of that length, any that is not
empty. Beside the clicked item stands the first one after it that the same user, with the same history, did not click:
the sampled negative, or in a log of impressions one that was only shown.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import orjson
from numpy.typing import NDArray

from din_train.checksums import indexed_file, read_indexed
from din_train.dataset.names import EventDescription, ItemDescription
from din_train.dataset.store import Samples
from din_train.dataset.vocabulary import UNKNOWN_ID
from din_train.errors import RunError

NUM_EXAMPLES = 6
_LEAST, _MOST = 5, 20


class Candidate(ItemDescription):
    """An item that was scored."""

    click_probability: float


class Behaviour(EventDescription):
    """Its activation weight for each candidate."""

    weight_clicked: float
    weight_sampled: float | None


class Example(TypedDict):
    """One test user. behaviours: oldest first. sampled: None where the split has no other item with this history."""

    user: str
    clicked: Candidate
    sampled: Candidate | None
    behaviours: list[Behaviour]


# A candidate, and the [N] weights of the behaviours for it.
Weighted = tuple[Candidate, NDArray[np.float64]]


def choose_rows(
    samples: Samples, logits: NDArray[np.float32], *, seed: int, count: int = NUM_EXAMPLES
) -> list[tuple[int, int | None]]:
    """At most `count` pairs of a clicked row and its sampled one, by the rule above.

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
    """An example of the [N] behaviours of a history, weighed for one candidate or two."""
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


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write `attention.json` whole."""
    with indexed_file(path) as temporary:
        temporary.write_bytes(orjson.dumps({"examples": examples}, option=orjson.OPT_INDENT_2) + b"\n")


def read_examples(path: Path) -> list[Example]:
    """What a run wrote.

    Raises:
        RunError: if it is missing or damaged.
    """
    try:
        examples: list[Example] = orjson.loads(read_indexed(path, "train the run again"))["examples"]
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; only runs of model.name=din have one, and `fit` writes it") from None
    return examples
