"""A split's rows with their scores, as a file of the run directory: what comparisons and reports are made from."""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from din_train.checksums import indexed_file, read_indexed
from din_train.dataset.store import Samples
from din_train.errors import RunError
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


@dataclass(frozen=True)
class ScoredRows:
    """The columns of `scores.<split>.parquet`, each [S], in stored order.

    history_end: equal for rows of one user with the same history (see `Samples.history_ends`). event: the row of the
    log; of a sampled negative its positive's.
    """

    user_id: NDArray[np.int32]
    target_item_id: NDArray[np.int32]
    history_length: NDArray[np.int32]
    history_end: NDArray[np.int64]
    event: NDArray[np.int64]
    label: NDArray[np.int8]
    logit: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def of(cls, samples: Samples, logits: NDArray[np.float32]) -> "ScoredRows":
        """A split's samples, and their [S] logits."""
        return cls(
            user_id=samples.user_ids,
            target_item_id=samples.target_item_ids,
            history_length=samples.history_length,
            history_end=samples.history_ends,
            event=samples.events,
            label=samples.labels,
            logit=logits,
        )

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "ScoredRows":
        """These rows alone, in their order."""
        return ScoredRows(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})

    @property
    def click_probabilities(self) -> NDArray[np.float64]:
        """[S] predicted probabilities."""
        return compute_click_probabilities(self.logit)


def write_scores(path: Path, rows: ScoredRows) -> None:
    """Write the file whole."""
    table = pa.table([getattr(rows, each.name) for each in fields(rows)], schema=_SCHEMA)
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
    if table.schema.remove_metadata() != _SCHEMA:
        raise RunError(f"{path}: its columns are not those of scores (another version wrote it); {again}")
    return ScoredRows(**{name: table[name].to_numpy() for name in _SCHEMA.names})
