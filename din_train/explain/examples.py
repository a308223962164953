"""`attention.json`: the activation weights of some test users, which a run shows.

A rule chooses them, so that nobody chooses them by their looks. Each test user has one candidate row: the first clicked
one of a known item whose history has 5 to 20 behaviours (if no history is of that length, any that is not empty). These
rows are sorted by score and cut into six parts of equal size, from the least likely click to the likeliest, and the
run's seed draws one row of each part. Beside the clicked item stands the first one after it that the same user, with
the same history (and the same further sequences), did not click: the sampled negative, or in a log of impressions an
item that was shown but not clicked. What `model.search` finds depends on the candidate, so it is not shown there.
"""

import numpy as np
from numpy.typing import NDArray

from din_train import terminal
from din_train.batches import build_batch
from din_train.config import Config
from din_train.dataset.category_search import SEARCHED, CategorySearch
from din_train.dataset.names import Describer
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import UNKNOWN_ID
from din_train.errors import RunError
from din_train.evaluation.calibration import UNCALIBRATED, Calibration
from din_train.explain.weights import WeighingModel, explain_score
from din_train.model.ranking_model import RankingModel
from din_train.report.attention import Example, Weighed, build_example, write_examples
from din_train.run_directory import RunDirectory

NUM_EXAMPLES = 6
_LEAST, _MOST = 5, 20


def write_attention(
    run: RunDirectory,
    config: Config,
    data: PreparedData,
    model: RankingModel,
    logits: NDArray[np.float32],
    calibration: Calibration,
) -> None:
    """Write `attention.json` of a model that has activation weights; other models have none.

    If the check of the weights fails, the file is not written and a line says why: a finished training is not lost.

    Args:
        logits: [S] of the test split, in stored order. calibration: the run's.
    """
    if not isinstance(model, WeighingModel):
        return
    longest = config.data.max_history_length
    samples = data.samples(Split.TEST, longest)
    try:
        search = CategorySearch.of(config.model.search, data)
        examples = choose_examples(
            model,
            data,
            samples,
            logits,
            seed=config.seed,
            max_history_length=longest,
            calibration=calibration,
            search=search,
        )
    except RunError as error:
        terminal.say(f"{run.attention_file}: not written; {error}")
        return
    write_examples(run.attention_file, examples)


def choose_examples(
    model: WeighingModel,
    data: PreparedData,
    samples: Samples,
    logits: NDArray[np.float32],
    *,
    seed: int,
    max_history_length: int,
    calibration: Calibration = UNCALIBRATED,
    search: CategorySearch | None = None,
) -> list[Example]:
    """The examples of a run, their weights checked.

    Raises:
        RunError: if they are not those behind the scores.
    """
    describer = Describer(data)

    def weigh(row: int) -> Weighed:
        rows, fields = np.array([row]), model.behaviour_fields
        inputs = build_batch(data, samples, rows, max_history_length, fields, search=search)[0]
        places = range(1 + len(data.sequences))
        history, *others = (explain_score(model, inputs, place, calibration) for place in places)
        item = describer.item(int(samples.target_item_ids[row]))
        weights = [each.weights.tolist() for each in (history, *others)]
        return {**item, "click_probability": history.click_probability}, weights

    return [
        build_example(
            describer.user(int(samples.user_ids[clicked])),
            {
                name: events
                for name, events in describer.sequences(samples, clicked, search).items()
                if name != SEARCHED
            },
            weigh(clicked),
            None if sampled is None else weigh(sampled),
        )
        for clicked, sampled in choose_example_rows(samples, logits, seed=seed)
    ]


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
    is_same = (samples.user_ids == samples.user_ids[row]) & (samples.labels == 0)
    for start, length in samples.all_sequences.values():
        is_same &= (length == length[row]) & ((start == start[row]) | (length == 0))
    same = np.flatnonzero(is_same)
    if not len(same):
        return None
    after = same[same > row]
    return int((after if len(after) else same)[0])
