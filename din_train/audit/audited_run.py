"""What is audited (a run's model, rows and numbers, and the events of its log), and the outcome of a check."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from din_train.config import Config
from din_train.dataset.histories import find_history_ends
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples
from din_train.evaluation.calibration import UNCALIBRATED, Calibration
from din_train.evaluation.scores import ScoredRows
from din_train.run_metrics import RunMetrics
from din_train.scoring import score_samples

if TYPE_CHECKING:
    from din_train.model.ranking_model import RankingModel

# A cap that no history reaches.
NO_CAP = 2**31 - 1

# The event row of a target that is not among its user's events.
NOWHERE = -1

# How far two scores of one row may lie apart, as a share of max(1, |logit|): the rounding of the same sums
# in another order. In float32 up to 3e-6 was seen, in padded form; the same form gives below 1e-6.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}

# The same if one of the scores is a GPU's, whose matrix products may round their factors to 10 bits (TF32).
_GPU_TOLERANCE = 1e-2

_PROBED_ROWS = 2_000

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class StoredEvents:
    """The events as they are stored, so that nothing derived from them is trusted.

    item_ids, user_ids: [events]. timestamps: [events] in the log's order of time, None if the log has no times.
    ordinals: [events] the row of the log, None for ready-made samples.
    first, end: [users] by user id, the user's first event row and the row after the last.
    """

    item_ids: NDArray[np.int32]
    user_ids: NDArray[np.int32]
    timestamps: NDArray[np.int64] | None
    ordinals: NDArray[np.int64] | None
    first: Rows
    end: Rows

    @classmethod
    def read(cls, data: PreparedData) -> "StoredEvents":
        """From the prepared data set's columns."""
        columns = data.event_columns
        users = np.arange(len(data.user_starts))
        first, end = (np.searchsorted(columns["user_id"], users, side=side) for side in ("left", "right"))
        times, ordinals = columns.get("timestamp"), columns.get("ordinal")
        return cls(columns["item_id"], columns["user_id"], times, ordinals, first, end)

    @cached_property
    def _by_ordinal(self) -> Rows:
        return np.argsort(self.ordinals) if self.ordinals is not None else np.empty(0, np.int64)

    def find_rows(self, samples: Samples) -> Rows:
        """[S] the event row of each sample, for a sampled negative that of its positive.

        It is `NOWHERE` if the user has no such event: an impression without a click is not an event.
        """
        if self.ordinals is None or not len(self.ordinals):
            return np.full(len(samples), NOWHERE)
        index = np.searchsorted(self.ordinals, samples.events, sorter=self._by_ordinal)
        rows = self._by_ordinal[np.minimum(index, len(self.ordinals) - 1)]
        found = (self.ordinals[rows] == samples.events) & (self.user_ids[rows] == samples.user_ids)
        return np.where(found, rows, NOWHERE)

    def find_targets(self, samples: Samples) -> Rows:
        """[S] the event row of each positive; `NOWHERE` for negatives, and if the event there has another item."""
        rows = self.find_rows(samples)
        found = (samples.labels == 1) & (rows != NOWHERE)
        found[found] = self.item_ids[rows[found]] == samples.target_item_ids[found]
        return np.where(found, rows, NOWHERE)

    def find_clicks_after(self, samples: Samples, moments: Rows) -> Rows:
        """[S] the event row of each positive of a log whose clicks are rows of their own: its user's first event of its
        item at or after a moment; `NOWHERE` for negatives, and if there is none.

        Args:
            moments: [S] of the requests.
        """
        if self.timestamps is None or not len(self.timestamps):
            return np.full(len(samples), NOWHERE)
        first, end = self.first[samples.user_ids], self.end[samples.user_ids]
        start = find_history_ends(self.timestamps, first, end, moments)
        of_events = self.user_ids.astype(np.int64) << 32 | self.item_ids
        order = np.argsort(of_events, kind="stable")  # by user, item and place
        pairs, of_pairs = np.unique(of_events, return_inverse=True)
        keys = of_pairs[order] * (len(order) + 1) + order
        asked = samples.user_ids.astype(np.int64) << 32 | samples.target_item_ids
        pair = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
        place = np.minimum(np.searchsorted(keys, pair * (len(order) + 1) + start), len(order) - 1)
        rows = order[place]
        found = (samples.labels == 1) & (of_events[rows] == asked) & (rows >= start)
        return np.where(found, rows, NOWHERE)

    def count_outside(self, samples: Samples) -> int:
        """How many rows have a history, or a further sequence, that holds events of another user."""
        first, end = self.first[samples.user_ids], self.end[samples.user_ids]
        outside = np.zeros(len(samples), bool)
        for start, length in samples.all_sequences.values():
            outside |= ((start < first) | (start + length > end)) & (length > 0)
        return int(np.sum(outside))


@dataclass(frozen=True)
class AuditedRun:
    """A trained run, opened.

    metrics: of `metrics.json`. stored: of `scores.test.parquet`, None if it is missing.
    scored_on_gpu: whether the stored scores may be a GPU's.
    samples: the test split. rows: [N] those of it that are scored again, whole users. seed: of all random choices.
    calibration: what turns its scores into probabilities.
    """

    config: Config
    data: PreparedData
    model: "RankingModel"
    metrics: RunMetrics
    stored: ScoredRows | None
    scored_on_gpu: bool
    samples: Samples
    rows: Rows
    seed: int
    calibration: Calibration = UNCALIBRATED

    @property
    def tolerance(self) -> float:
        """How far two scores of one row may lie apart."""
        return TOLERANCE[self.config.training.precision]

    @property
    def stored_tolerance(self) -> float:
        """How far a stored score and a new one may lie apart."""
        return max(self.tolerance, _GPU_TOLERANCE) if self.scored_on_gpu else self.tolerance

    @property
    def is_sampled(self) -> bool:
        """Whether negatives were drawn; otherwise they come with the log."""
        return self.data.manifest.negatives == "sampled"

    @property
    def has_click_rows(self) -> bool:
        """Whether clicks are rows of their own beside the impressions, which are the samples."""
        columns = self.config.data.columns
        return not self.is_sampled and columns is not None and columns.events is not None

    def find_targets(self, samples: Samples) -> Rows:
        """[S] the event row of each positive, see `StoredEvents`."""
        if self.has_click_rows and samples.timestamps is not None:
            return self.events.find_clicks_after(samples, samples.timestamps)
        return self.events.find_targets(samples)

    @cached_property
    def logits(self) -> Floats:
        """[N] scores of the audited rows, computed now."""
        return self.score(self.samples.take(self.rows))

    @cached_property
    def events(self) -> StoredEvents:
        return StoredEvents.read(self.data)

    @cached_property
    def probe(self) -> Rows:
        """The few audited rows, of whole users, that are also scored with other histories."""
        return choose_rows(self.samples.take(self.rows).user_ids, _PROBED_ROWS, self.seed, among=self.rows)

    def samples_of(self, split: Split) -> Samples:
        """A split as the model sees it."""
        return self.data.samples(split, self.config.data.max_history_length)

    def score(self, samples: Samples) -> Floats:
        """[S] logits, computed as `fit` and `eval` compute them."""
        return score_samples(self.model, self.config, self.data, samples)

    def describe_rows(self) -> str:
        """How many rows are audited, of how many."""
        if len(self.rows) == len(self.samples):
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
    users, user_of_row, counts = np.unique(user_ids, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(users))
    enough = max(1, int(np.searchsorted(np.cumsum(counts[order]), most, side="right")))
    return rows[np.isin(user_of_row, order[:enough])]


def measure_distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest |one - other| / max(1, |one|); 0 for no rows."""
    return float(np.max(np.abs(one - other) / np.maximum(1.0, np.abs(one)), initial=0.0))


class Status(StrEnum):
    """`NOTE`: measured, but no bound would be right for every log. `SKIPPED`: cannot be checked on this run."""

    PASSED = "passed"
    FAILED = "failed"
    NOTE = "note"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One check's outcome.

    finding: one line: what was compared, on how many rows, against which bound.
    measured: the numbers in it, ready for JSON.
    """

    name: str
    status: Status
    finding: str
    measured: Mapping[str, Any]


def judge(name: str, passed: bool, finding: str, **measured: Any) -> Check:
    """A check that passed or failed."""
    return Check(name, Status.PASSED if passed else Status.FAILED, finding, measured)


def note(name: str, finding: str, **measured: Any) -> Check:
    """A measurement without a bound."""
    return Check(name, Status.NOTE, finding, measured)


def skip(name: str, reason: str) -> Check:
    """A check that this run or its protocol does not allow."""
    return Check(name, Status.SKIPPED, reason, {})


def describe_counts(counts: Mapping[str, int], none: str, verb: str = "") -> str:
    """The counts that are not zero, each before the verb and what was counted, or the words for none."""
    return ", ".join(f"{count:,} {verb}{what}" for what, count in counts.items() if count) or none
