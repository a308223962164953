"""New rows -> the same rows with their logits and click probabilities, a chunk at a time, the way a split is scored."""

import math
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa

from din_train.batches import EvaluationBatches
from din_train.dataset.vocabulary import UNKNOWN_ID
from din_train.errors import ConfigError
from din_train.evaluation.evaluate import compute_scores
from din_train.evaluation.metrics import compute_click_probabilities
from din_train.logs.row_files import Chunk
from din_train.model.ranking_model import RankingModel
from din_train.predict.input_columns import ADDED
from din_train.predict.input_rows import Match, RequestParser, Requests


@dataclass
class Summary:
    """What became of rows; sums, so that those of chunks add up.

    at_stored_time: rows whose user has a stored event at the row's own time, which is not in the history.
    bad: reason -> how many, and the first one's number, from 1. matches: role -> what `Match` takes.
    """

    rows: int = 0
    scored: int = 0
    unknown_users: int = 0
    unknown_items: int = 0
    without_history: int = 0
    at_stored_time: int = 0
    probabilities: float = 0.0
    bad: dict[str, list[int]] = field(default_factory=dict)
    matches: dict[str, tuple[int, int, str | None]] = field(default_factory=dict)

    def add(self, other: Self) -> None:
        """Count the rows that follow."""
        for reason, (count, first) in other.bad.items():
            known = self.bad.setdefault(reason, [0, self.rows + first])
            known[0] += count
        for role, match in other.matches.items():
            self.matches[role] = astuple(Match(*self.matches.get(role, ())).add(Match(*match)))
        for each in fields(self):
            if each.name not in ("bad", "matches"):
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def num_bad(self) -> int:
        return self.rows - self.scored

    def to_json(self) -> dict[str, Any]:
        """What `Summary(**...)` takes."""
        return asdict(self)


def add_score_columns(schema: pa.Schema) -> pa.Schema:
    """The output's columns: the file's own, then the probability and the logit, null in a bad row."""
    for name in ADDED:
        schema = schema.append(pa.field(name, pa.float32()))
    return schema


@dataclass(frozen=True)
class Predictor:
    """One model, ready for chunks of one file.

    batch_size: rows scored at once. prior_shift: added to every logit (see `compute_prior_shift`).
    """

    model: RankingModel
    parser: RequestParser
    batch_size: int
    prior_shift: float

    def predict(self, chunk: Chunk) -> tuple[pa.Table, Summary]:
        """The chunk with `add_score_columns`, in its order.

        Raises:
            RunError: see `compute_scores`.
        """
        requests = self.parser.parse(chunk)
        batches = EvaluationBatches(
            replace(self.parser.data, event_item_ids=requests.event_item_ids),
            requests.samples,
            batch_size=self.batch_size,
            max_history_length=self.parser.max_history_length,
        )
        logits = compute_scores(self.model, batches)
        if self.prior_shift:
            logits = (logits.astype(np.float64) + self.prior_shift).astype(np.float32)
        probabilities = compute_click_probabilities(logits)
        columns = [_spread(values, requests.rows, chunk.table.num_rows) for values in (probabilities, logits)]
        table = pa.table([*chunk.table.columns, *columns], schema=add_score_columns(chunk.table.schema))
        return table, _summarise(requests, chunk.table.num_rows, float(probabilities.sum()))


def _spread(values: Any, rows: Any, size: int) -> pa.Array:
    """[G] values -> [size] float32, null in other rows."""
    spread = np.zeros(size, np.float32)
    spread[rows] = values
    missing = np.ones(size, bool)
    missing[rows] = False
    return pa.array(spread, mask=missing)


def _summarise(requests: Requests, size: int, probabilities: float) -> Summary:
    samples = requests.samples
    summary = Summary(
        rows=size,
        scored=len(samples),
        unknown_users=int(np.sum(samples.user_ids == UNKNOWN_ID)),
        unknown_items=int(np.sum(samples.target_item_ids == UNKNOWN_ID)),
        without_history=int(np.sum(samples.history_length == 0)),
        at_stored_time=int(np.sum(requests.at_stored_time)),
        probabilities=probabilities,
    )
    summary.matches = {role: astuple(match) for role, match in requests.matches.items()}
    for place, reason in requests.bad.items():
        summary.bad.setdefault(reason, [0, place + 1])[0] += 1
    return summary


def compute_prior_shift(*, share: float, training_share: float) -> float:
    """What is added to a logit: log(P / (1 - P)) - log(S / (1 - S)).

    The prior correction of logistic regression on a sample chosen by its outcome (King & Zeng, Logistic Regression in
    Rare Events Data, Political Analysis 9(2), 2001, section 4.1), in logits. With every click and a share w of the
    others kept, it is log(w): the re-calibration p / (p + (1 - p) / w) of He et al., Practical Lessons from Predicting
    Clicks on Ads at Facebook, ADKDD 2014, section 6.3.

    Args:
        share: P, of clicks among the rows to be scored. training_share: S, of positives among the training rows.

    Raises:
        ConfigError: where all training rows are of one class, or P is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"--positive-share: received {share:g}, expected a share between 0 and 1, such as 0.02")
    if not 0 < training_share < 1:
        raise ConfigError(
            f"--positive-share: the run's training rows have a share of positives of {training_share:g}, and no "
            "probabilities come from one class; leave the option out"
        )
    return math.log(share) - math.log1p(-share) - math.log(training_share) + math.log1p(-training_share)
