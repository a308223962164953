"""New rows, a chunk at a time, get their logits and click probabilities, the way a split is scored."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa

from din_train.batches import EvaluationBatches
from din_train.errors import ConfigError
from din_train.evaluation.evaluate import compute_scores
from din_train.evaluation.metrics import compute_click_probabilities
from din_train.logs.row_files import Chunk
from din_train.model.ranking_model import RankingModel
from din_train.predict.input_columns import SCORE_COLUMNS
from din_train.predict.input_rows import InputParser, Match

_NO_VALUES: Match = (0, 0, None)


@dataclass
class ChunkSummary:
    """What became of rows; those of chunks add up.

    at_stored_time: rows whose user has a stored event at the row's own time, which is not in the history.
    bad: reason -> how many, and the number of the first one, from 1. matches: see `InputRows`.
    """

    rows: int = 0
    scored: int = 0
    without_history: int = 0
    at_stored_time: int = 0
    probabilities: float = 0.0
    bad: dict[str, list[int]] = field(default_factory=dict)
    matches: dict[str, Match] = field(default_factory=dict)

    def add(self, other: Self) -> None:
        """Count the rows that follow."""
        for reason, (count, first) in other.bad.items():
            self.bad.setdefault(reason, [0, self.rows + first])[0] += count
        for role, match in other.matches.items():
            (given, unknown, example), before = match, self.matches.get(role, _NO_VALUES)
            self.matches[role] = (before[0] + given, before[1] + unknown, before[2] or example)
        for name in ("rows", "scored", "without_history", "at_stored_time", "probabilities"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def count_unknown(self, role: str) -> int:
        """How many values of a role are not in the data set."""
        return self.matches.get(role, _NO_VALUES)[1]


def add_score_columns(schema: pa.Schema) -> pa.Schema:
    """The output's columns: the file's own, then the probability and the logit, null in a bad row."""
    for name in SCORE_COLUMNS:
        schema = schema.append(pa.field(name, pa.float32()))
    return schema


@dataclass(frozen=True)
class Predictor:
    """One model, ready for chunks of one file.

    batch_size: rows scored at once. prior_shift: added to every logit (see `compute_prior_shift`).
    """

    model: RankingModel
    parser: InputParser
    batch_size: int
    prior_shift: float

    def predict(self, chunk: Chunk) -> tuple[pa.Table, ChunkSummary]:
        """The chunk with `add_score_columns`, in its order.

        Raises:
            RunError: see `compute_scores`.
        """
        parsed = self.parser.parse(chunk)
        batches = EvaluationBatches(
            replace(self.parser.data, event_item_ids=parsed.event_item_ids),
            parsed.samples,
            batch_size=self.batch_size,
            max_history_length=self.parser.max_history_length,
        )
        logits = compute_scores(self.model, batches)
        if self.prior_shift:
            logits = (logits.astype(np.float64) + self.prior_shift).astype(np.float32)
        probabilities = compute_click_probabilities(logits)
        size = chunk.table.num_rows
        columns = [_spread(values, parsed.rows, size) for values in (probabilities, logits)]
        summary = ChunkSummary(
            rows=size,
            scored=len(parsed.rows),
            without_history=int(np.sum(parsed.samples.history_length == 0)),
            at_stored_time=parsed.at_stored_time,
            probabilities=float(probabilities.sum()),
            matches=parsed.matches,
        )
        for place, reason in parsed.bad.items():
            summary.bad.setdefault(reason, [0, place + 1])[0] += 1
        return pa.table([*chunk.table.columns, *columns], schema=add_score_columns(chunk.table.schema)), summary


def _spread(values: Any, rows: Any, size: int) -> pa.Array:
    """[G] values -> [size] float32, null in other rows."""
    spread, missing = np.zeros(size, np.float32), np.ones(size, bool)
    spread[rows], missing[rows] = values, False
    return pa.array(spread, mask=missing)


def compute_prior_shift(*, share: float, training_share: float) -> float:
    """What is added to a logit: log(P / (1 - P)) - log(S / (1 - S)).

    The prior correction of logistic regression on a sample chosen by its outcome (King & Zeng, Logistic Regression in
    Rare Events Data, Political Analysis 9(2), 2001, section 4.1), in logits. With every click and a share w of the
    others kept, it is log(w): the re-calibration p / (p + (1 - p) / w) of He et al., Practical Lessons from Predicting
    Clicks on Ads at Facebook, ADKDD 2014, section 6.3.

    Args:
        share: P, of clicks among the rows to be scored. training_share: S, of positives among the training rows.

    Raises:
        ConfigError: if all training rows are of one class, or P is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"--positive-share: received {share:g}, expected a share between 0 and 1, such as 0.02")
    if not 0 < training_share < 1:
        raise ConfigError(
            f"--positive-share: the run's training rows have a share of positives of {training_share:g}, and no "
            "probabilities come from one class; leave the option out"
        )
    return math.log(share) - math.log1p(-share) - math.log(training_share) + math.log1p(-training_share)
