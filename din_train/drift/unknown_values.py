"""How many of the new rows have an item, a user or a value that the run's training did not know.

item              has no id in the run's data set, or no training event: its row of the table was never trained
user              is not in the run's data set; models have no table of users, but its history began later
value of a field  has no id in the run's data set; a hashed field and a number always have one
missing           the row has no value: no category, no number, an empty text; compared with the training rows
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from din_train.config.data import TIME_FIELDS
from din_train.dataset.names import read_names
from din_train.dataset.store import PreparedData, Samples
from din_train.dataset.vocabulary import FIRST_REAL_ID, PAD_ID, UNKNOWN_ID

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class UnknownShare:
    """Of one kind of id or value, how many are unknown.

    rows: occurrences among new rows (of a list field every value, and a row without one), of which `unknown` are values
    that training did not know and `missing` are no value. distinct, distinct_unknown: different ids or values.
    earlier_unknown: the share of unknown ones in the run's own test split; None if it is not measured.
    earlier_missing: the share of training rows without a value.
    """

    name: str
    rows: int
    unknown: int
    missing: int
    distinct: int
    distinct_unknown: int
    earlier_unknown: float | None = None
    earlier_missing: float = 0.0

    @property
    def unknown_share(self) -> float:
        """Of the rows; 0 if there is none."""
        return self.unknown / self.rows if self.rows else 0.0

    @property
    def missing_share(self) -> float:
        """Of the rows; 0 if there is none."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def measured(self) -> float:
        """What `--max-unknown` limits: the unknown share, and by how much more is missing than in training."""
        return self.unknown_share + max(0.0, self.missing_share - self.earlier_missing)

    def to_json(self) -> dict[str, Any]:
        """As drift.json has it."""
        return {
            **vars(self),
            "unknown_share": self.unknown_share,
            "missing_share": self.missing_share,
            "measured": self.measured,
        }


def measure_unknown(
    run_data: PreparedData,
    new_data: PreparedData,
    *,
    training: Samples,
    tested: Samples,
    targets: Samples,
    is_new_event: NDArray[np.bool_],
) -> list[UnknownShare]:
    """Items, users, then each field of the new rows.

    Args:
        run_data: what the run was trained on. new_data: has its ids, and new ones after them.
        training, tested: the run's training and test rows, without sampled negatives. targets: the new rows likewise.
        is_new_event: [events] of `new_data`.
    """
    shares = [_count_items(run_data, tested, targets), _count_users(run_data, new_data, targets)]
    earlier = dict(read_field_values(run_data, training))
    for name, ids in read_field_values(new_data, targets):
        if name in TIME_FIELDS:
            continue  # their values are fixed
        shares.append(_count_field(name, run_data, earlier[name], ids))
    for name, ids in new_data.event_fields.items():
        shares.append(_count_field(name, run_data, run_data.event_fields[name], ids[is_new_event]))
    return shares


def read_field_values(data: PreparedData, samples: Samples) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each field of items, of users and of rows, with its [S] or [S, V] ids, or [S, 2] numbers as `read_field` has."""
    for name, of_items in data.item_fields.items():
        yield name, of_items[samples.target_item_ids]
    for name, of_users in data.user_fields.items():
        yield name, of_users[samples.user_ids]
    yield from samples.context.items()


def _count_items(run_data: PreparedData, tested: Samples, targets: Samples) -> UnknownShare:
    known, ids = run_data.most_training_events > 0, np.unique(targets.target_item_ids)
    counts = [int((~take_known(known, each)).sum()) for each in (targets.target_item_ids, ids)]
    before = ~take_known(known, tested.target_item_ids)
    return UnknownShare(
        "item",
        rows=len(targets),
        unknown=counts[0],
        missing=0,
        distinct=len(ids),
        distinct_unknown=counts[1],
        earlier_unknown=float(before.mean()) if len(before) else None,
    )


def take_known(values: NDArray[Any], ids: Ids) -> NDArray[Any]:
    """`values[ids]` of the ids that the run's data set has; 0, or False, of those that came after."""
    return np.append(values, np.zeros(1, values.dtype))[np.minimum(ids, len(values))]


def _count_users(run_data: PreparedData, new_data: PreparedData, targets: Samples) -> UnknownShare:
    before = read_names(run_data).users[FIRST_REAL_ID:]
    has_id = pc.is_in(read_names(new_data).users, value_set=pa.array(before)).to_numpy(zero_copy_only=False)
    ids = np.unique(targets.user_ids)
    return UnknownShare(
        "user",
        rows=len(targets),
        unknown=int((~has_id[targets.user_ids]).sum()),
        missing=0,
        distinct=len(ids),
        distinct_unknown=int((~has_id[ids]).sum()),
    )


def _count_field(name: str, run_data: PreparedData, earlier: NDArray[Any], new: NDArray[Any]) -> UnknownShare:
    if new.dtype != np.int32:
        missing = new[:, 1] > 0
        numbers = np.unique(new[~missing, 0])
        share = float((earlier[:, 1] > 0).mean()) if len(earlier) else 0.0
        return UnknownShare(name, len(new), 0, int(missing.sum()), len(numbers), 0, earlier_missing=share)
    num_known = run_data.num_values[name]
    ids, before = new[new != PAD_ID], earlier[earlier != PAD_ID]
    values = np.unique(ids[ids != UNKNOWN_ID])
    return UnknownShare(
        name,
        rows=len(ids),
        unknown=int((ids >= num_known).sum()),
        missing=int((ids == UNKNOWN_ID).sum()),
        distinct=len(values),
        distinct_unknown=int((values >= num_known).sum()),
        earlier_missing=float((before == UNKNOWN_ID).mean()) if len(before) else 0.0,
    )
