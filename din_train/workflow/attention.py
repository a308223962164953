"""`attention.json` of a run: activation weights of some test users' behaviours."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from din_train.config import Config
from din_train.errors import RunError
from din_train.report import terminal
from din_train.run_directory import RunDirectory
from din_train.samples.split import Split
from din_train.samples.store import PreparedData

if TYPE_CHECKING:
    from din_train.model.ranking_model import RankingModel


def write_attention(
    run: RunDirectory, config: Config, data: PreparedData, model: "RankingModel", logits: NDArray[np.float32]
) -> None:
    """Write it for a model that has activation weights; for another, and where their check fails, there is none.

    A failed check is said, and is no reason to lose a training that has come to its end.

    Args:
        logits: [S] of the test split, in stored order.
    """
    from din_train.evaluation.examples import write_examples
    from din_train.evaluation.explain import choose_examples
    from din_train.model.din import DIN

    if not isinstance(model, DIN):
        return
    longest = config.data.max_history_length
    samples = data.samples(Split.TEST, longest)
    try:
        examples = choose_examples(model, data, samples, logits, seed=config.seed, max_history_length=longest)
    except RunError as error:
        terminal.say(f"{run.attention_file}: not written; {error}")
        return
    write_examples(run.attention_file, examples)
