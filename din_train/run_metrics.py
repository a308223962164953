"""Metrics of some rows, and the record of a run's `metrics.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from din_train.config import GaucWeighting

_FIRST_KEYS = ("model", "protocol", "split", "selected_on")  # the first keys in the file


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Metrics of some rows, and the numbers of rows and users behind them; None if undefined."""

    auc: float | None
    gauc: float | None
    logloss: float | None
    normalised_entropy: float | None
    pcoc: float | None
    ece: float | None
    num_samples: int
    num_positives: int
    num_users: int
    gauc_users: int
    gauc_users_skipped: int


# Of negatives: they came with the log.
IN_THE_LOG = "in the log"

# Of the training negatives of a file that came with its own: what takes their place.
REPLACED = "drawn anew every epoch from the training file's items, in place of the negatives in that file"


@dataclass(frozen=True, kw_only=True)
class RunMetrics(Metrics):
    """A run's metrics on a split, and how they came about; the names are those of the file.

    gauc_group: whose rows GAUC ranks against each other, `metrics.group`; `gauc_users` and `gauc_users_skipped` count
    these groups. weighted: whether rows have weights, by which all metrics count them.

    gauc_by_history: see `has_gauc_by_history`. intervals: AUC's and GAUC's, and what they are; None without resamples.
    negatives: the config's section, or `IN_THE_LOG`. If fresh ones took the place of a training file's own, it is the
    section with an `evaluation_per_positive` of `IN_THE_LOG`. slices: dimension -> the metrics of each of its slices.
    """

    model: str
    protocol: str
    split: str
    selected_on: str
    gauc_by_history: float | None
    gauc_weighting: GaucWeighting
    gauc_group: str
    weighted: bool
    intervals: Mapping[str, Any] | None
    negatives: Mapping[str, Any] | str
    seed: int
    best_epoch: int
    refit: bool
    parameters: int
    data_fingerprint: str
    rows_sha256: str
    metric_definition: str
    slices: Mapping[str, Sequence[Mapping[str, Any]]]

    @property
    def has_gauc_by_history(self) -> bool:
        """Only protocol `user` has it: under the others the test rows of a user, or of a target, share one history."""
        return self.protocol == "user"

    def to_json(self) -> dict[str, Any]:
        """The contents of the file."""
        said = {**{key: getattr(self, key) for key in _FIRST_KEYS}, **vars(self)}
        if not self.has_gauc_by_history:
            del said["gauc_by_history"]
        return said
