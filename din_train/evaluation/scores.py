"""A split's rows with their scores, as a file of the run directory: what comparisons and reports are made from."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from din_train.checksums import indexed_file, read_indexed
from din_train.dataset.store import Samples
from din_train.errors import RunError
from din_train.evaluation.calibration import UNCALIBRATED, Calibration
from din_train.evaluation.metrics import compute_click_probabilities

_SCHEMA = pa.schema(
    [
        ("user_id", pa.int32()),
        ("target_item_id", pa.int32()),
        ("history_length", pa.int32()),
        ("history_end", pa.int64()),
        ("event", pa.int64()),
        ("label", pa.int8()),
        ("logit", pa.float32()),
    ]
)
# Columns that only some runs have.
_OPTIONAL = {"weight": pa.float32(), "group": pa.int64(), "log_odds": pa.float64()}


@dataclass(frozen=True)
class ScoredRows:
    """The columns of `scores.<split>.parquet`, each [S], in stored order.

    history_end: equal for rows of one user with the same history (see `Samples.history_ends`). event: the row of the
    log; of a sampled negative its positive's. weight: in metrics; None if all are 1. group: whose rows GAUC ranks
    against each other; None: the user's. log_odds: of a click, by the run's calibration; None: the logit is it.
    """

    user_id: NDArray[np.int32]
    target_item_id: NDArray[np.int32]
    history_length: NDArray[np.int32]
    history_end: NDArray[np.int64]
    event: NDArray[np.int64]
    label: NDArray[np.int8]
    logit: NDArray[np.float32]
    weight: NDArray[np.float32] | None = None
    group: NDArray[np.int64] | None = None
    log_odds: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def of(
        cls,
        samples: Samples,
        logits: NDArray[np.float32],
        groups: NDArray[np.int64] | None = None,
        calibration: Calibration = UNCALIBRATED,
    ) -> "ScoredRows":
        """A split's samples, their [S] logits, their groups if these are not the users, and the run's calibration."""
        return cls(
            user_id=samples.user_ids,
            target_item_id=samples.target_item_ids,
            history_length=samples.history_length,
            history_end=samples.history_ends,
            event=samples.events,
            label=samples.labels,
            logit=logits,
            weight=samples.weights,
            group=groups,
            log_odds=None if calibration.method == "none" else calibration.compute_log_odds(logits),
        )

    @property
    def groups(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """[S] whose rows GAUC ranks against each other."""
        return self.user_id if self.group is None else self.group

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "ScoredRows":
        """These rows alone, in their order."""
        columns: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        taken: dict[str, Any] = {name: None if column is None else column[rows] for name, column in columns.items()}
        return ScoredRows(**taken)

    @property
    def click_log_odds(self) -> NDArray[np.float32] | NDArray[np.float64]:
        """[S] log odds of a click: what probabilities come from, while AUC and GAUC rank by the logit."""
        return self.logit if self.log_odds is None else self.log_odds

    @property
    def click_probabilities(self) -> NDArray[np.float64]:
        """[S] predicted probabilities."""
        return compute_click_probabilities(self.click_log_odds)


def write_scores(path: Path, rows: ScoredRows) -> None:
    """Write the file whole."""
    schema = _build_schema([name for name in _OPTIONAL if getattr(rows, name) is not None])
    table = pa.table([getattr(rows, name) for name in schema.names], schema=schema)
    with indexed_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_scores(path: Path) -> ScoredRows:
    """What `fit` or `eval` wrote.

    Raises:
        RunError: if it is missing or damaged.
    """
    again = f"write it with `{shlex.join(['din-train', 'eval', '--run-dir', str(path.parent)])}`"
    try:
        table = pq.read_table(pa.BufferReader(read_indexed(path, again)))
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; {again}") from None
    schema = _build_schema(table.column_names)
    if table.schema.remove_metadata() != schema:
        raise RunError(f"{path}: its columns are not those of scores (another version wrote it); {again}")
    return ScoredRows(**{name: table[name].to_numpy() for name in schema.names})


def _build_schema(names: Sequence[str]) -> pa.Schema:
    """The file's columns, the optional ones among them if they are named."""
    return pa.schema([*_SCHEMA, *((name, kind) for name, kind in _OPTIONAL.items() if name in names)])
