"""What is audited: a run's model, rows and numbers, and which of the rows are looked at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.audit.places import Places, read_places
from din_train.batches import EvaluationBatches, Inputs, build_batch
from din_train.config import Config
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import PAD_ID
from din_train.evaluation.evaluate import compute_scores
from din_train.evaluation.scores import ScoredRows
from din_train.model.ranking_model import RankingModel

# Longer than any history: the whole of it.
NO_CAP = 2**31 - 1

# How far two scores of one row may lie apart, as a share of max(1, |logit|): what rounding comes to when the same sums
# are taken in another order. In float32 up to 3e-6 was seen, in padded form; the same form gives below 1e-6.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}

# Likewise, where one of them is a GPU's, whose matrix products may round their factors to 10 bits (TF32).
_GPU_TOLERANCE = 1e-2

_PROBED_ROWS = 2_000

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    """A trained run, opened.

    reload: builds the run's model anew and loads the weights from disk.
    metrics: of `metrics.json`. history: of `history.jsonl`. stored: of `scores.test.parquet`, None where it is missing.
    refit: whether the weights were trained on validation rows too. scored_on_gpu: whether the stored scores may be.
    samples: the test split. rows: [N] those of it that are audited, whole users. seed: of everything drawn.
    """

    config: Config
    data: PreparedData
    model: RankingModel
    reload: Callable[[], RankingModel]
    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    stored: ScoredRows | None
    refit: bool
    scored_on_gpu: bool
    samples: Samples
    rows: Rows
    seed: int

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.config.training.precision]

    @property
    def stored_tolerance(self) -> float:
        return max(self.tolerance, _GPU_TOLERANCE) if self.scored_on_gpu else self.tolerance

    @property
    def is_sampled(self) -> bool:
        """Whether negatives were drawn; else they come with the log."""
        return bool(self.data.manifest["negatives"] == "sampled")

    @property
    def is_whole(self) -> bool:
        """Whether every row is audited."""
        return len(self.rows) == len(self.samples)

    @cached_property
    def logits(self) -> Floats:
        """[N] of the audited rows, scored as `eval` does."""
        return self.score_as_eval_does(self.samples.take(self.rows))

    @property
    def scored(self) -> tuple[Samples, Floats]:
        """Rows and their scores as they were stored, all of them; the audited ones scored now where none are stored."""
        if self.stored is not None and len(self.stored) == len(self.samples):
            return self.samples, self.stored.logit
        return self.samples.take(self.rows), self.logits

    @cached_property
    def places(self) -> Places:
        return read_places(self.data)

    @cached_property
    def probe(self) -> Rows:
        """The few audited rows that are scored again and again: whole users."""
        return choose_rows(self.samples.take(self.rows).user_ids, _PROBED_ROWS, self.seed, among=self.rows)

    def samples_of(self, split: Split) -> Samples:
        """A split as the model sees it."""
        return self.data.samples(split, self.config.data.max_history_length)

    def build_inputs(self, rows: Rows) -> Inputs:
        """One batch of test rows."""
        return build_batch(self.data, self.samples, rows, self.config.data.max_history_length)[0]

    def score(
        self, rows: Rows, *, batch_size: int | None = None, alter: Callable[[Inputs], Inputs] = lambda inputs: inputs
    ) -> Floats:
        """[len(rows)] logits of test rows in batches of their own, each changed by `alter` first."""
        size = batch_size or self.config.training.evaluation_batch_size
        parts = [
            self.model.score(alter(self.build_inputs(rows[start : start + size]))).numpy()
            for start in range(0, len(rows), size)
        ]
        return np.concatenate([np.empty(0, np.float32), *parts])

    def score_as_eval_does(self, samples: Samples) -> Floats:
        """[S] logits by the way that `fit` and `eval` score."""
        batches = EvaluationBatches(
            self.data,
            samples,
            batch_size=self.config.training.evaluation_batch_size,
            max_history_length=self.config.data.max_history_length,
        )
        return compute_scores(self.model, batches)

    def describe_rows(self) -> str:
        """How many rows are audited, of how many."""
        if self.is_whole:
            return f"all {len(self.rows):,} test rows"
        return f"{len(self.rows):,} of {len(self.samples):,} test rows (whole users, drawn with seed {self.seed})"


def choose_rows(user_ids: NDArray[np.int32], most: int, seed: int, among: Rows | None = None) -> Rows:
    """Rows of whole users, drawn at random until `most` is reached, at least one user; ascending.

    Args:
        user_ids: [S] each row's. among: [S] the row numbers they stand for; None counts from 0.
    """
    rows = np.arange(len(user_ids)) if among is None else among
    if len(rows) <= most:
        return rows
    users, places, counts = np.unique(user_ids, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(users))
    enough = max(1, int(np.searchsorted(np.cumsum(counts[order]), most, side="right")))
    chosen = np.zeros(len(users), np.bool_)
    chosen[order[:enough]] = True
    return rows[chosen[places]]


def measure_distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest |one - other| / max(1, |one|); 0 for no rows."""
    return float(np.max(np.abs(one - other) / np.maximum(1.0, np.abs(one)), initial=0.0))


def widen(inputs: Inputs, by: int) -> Inputs:
    """A batch with as many more positions of padding."""
    history = np.pad(inputs["history_item_ids"], [(0, 0), (0, by)], constant_values=PAD_ID)
    return {**inputs, "history_item_ids": history}
