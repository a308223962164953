"""Which rows that hold their histories are of which split: by their file, `data.row_split`, or the longest history."""

import ibis
import numpy as np
import pyarrow as pa
from ibis import Table, _

from din_train.config import DataConfig
from din_train.config.rows import RowSplitConfig
from din_train.dataset.database import load_table
from din_train.dataset.negatives import mix
from din_train.dataset.protocols import SPLITS, Split, assign_users
from din_train.dataset.vocabulary import FIRST_REAL_ID
from din_train.errors import DataError

_FILES = {"train": Split.TRAIN, "validation": Split.VALIDATION, "test": Split.TEST}


def split_rows(connection: ibis.BaseBackend, samples: Table, data: DataConfig) -> Table:
    """The samples with a column `split` (int8, of `Split`).

    Args:
        samples: columns file (a key of `_FILES`), ordinal, user_id, label, `start 0`, `length 0`, request_key where
            requests are known, and timestamp where rows have times.

    Raises:
        DataError: if `data.row_split` leaves a split without a row.
    """
    if data.row_split is None:
        rule = _hold_out_longest if data.validation is None else _keep
        return _finish(rule(samples))
    missing = {name: 0.0 for name in ("validation", "test") if getattr(data, name) is not None}
    shares = data.row_split.model_copy(update=missing)
    match shares.by:
        case "time":
            assigned = _split_by_time(samples, shares)
        case "user":
            assigned = _split_by_user(connection, samples, shares)
        case "hash":
            assigned = _split_by_request(connection, samples, shares)
    found = _finish(assigned)
    counts = found.group_by("split").agg(rows=_.count()).to_pyarrow()
    lacking = set(map(int, SPLITS)) - set(counts["split"].to_pylist())
    for split in sorted(lacking):
        name = Split(split).name.lower()
        raise DataError(
            f"data.row_split: leaves the {name} split without a row; give other shares, or a file (data.{name})"
        )
    return found


def _finish(samples: Table) -> Table:
    """Rows of a file of their own are its split's; others have the split in `assigned`."""
    own = [(samples.file == name, int(split)) for name, split in _FILES.items() if name != "train"]
    return samples.mutate(split=ibis.cases(*own, else_=samples.assigned).cast("int8")).drop("assigned")


def _keep(samples: Table) -> Table:
    return samples.mutate(assigned=ibis.literal(int(Split.TRAIN)))


def _hold_out_longest(samples: Table) -> Table:
    """A user's positive with the longest history, and the negatives with that very history, validate."""
    rank = _["length 0"].cast("int64") * 2**40 - _.ordinal  # highest for the longest history, of several for the first
    training = samples.filter((_.file == "train") & (_.label == 1)).mutate(rank=rank)
    held = training.group_by("user_id").agg(
        held_ordinal=training.ordinal.argmax(training["rank"]),
        held_start=training["start 0"].argmax(training["rank"]),
        held_length=training["length 0"].argmax(training["rank"]),
    )
    rows = samples.left_join(held, "user_id").drop("user_id_right")
    same_history = (rows["start 0"] == rows.held_start) & (rows["length 0"] == rows.held_length)
    is_held = ((rows.ordinal == rows.held_ordinal) | ((rows.label == 0) & same_history)).fill_null(False)
    assigned = ibis.ifelse(is_held, int(Split.VALIDATION), int(Split.TRAIN))
    return rows.mutate(assigned=assigned).drop("held_ordinal", "held_start", "held_length")


def _split_by_time(samples: Table, shares: RowSplitConfig) -> Table:
    """The newest rows are the test split's, those before them validation's; rows of one second stay together."""
    times = np.sort(samples.filter(_.file == "train").timestamp.to_pyarrow().to_numpy())
    size, cases = len(times), []
    for split, share in ((Split.TEST, shares.test), (Split.VALIDATION, shares.validation)):
        newest = round(share * size)
        if newest and len(times):
            cut = int(times[max(len(times) - newest, 0)])
            cases.append((samples.timestamp >= cut, int(split)))
            times = times[times < cut]
    if not cases:
        return _keep(samples)
    return samples.mutate(assigned=ibis.cases(*cases, else_=int(Split.TRAIN)))


def _split_by_user(connection: ibis.BaseBackend, samples: Table, shares: RowSplitConfig) -> Table:
    raw = connection.table("coded_users").mutate(user_id=(_.user_code + FIRST_REAL_ID).cast("int32"))
    training = samples.filter(_.file == "train").select("user_id").distinct()
    users = raw.semi_join(training, "user_id").order_by("user_id").select("user_id", "user").to_pyarrow()
    assigned = pa.table({"user_id": users["user_id"], "assigned": assign_users(users["user"], shares)})
    return _join(samples, load_table(connection, "user_splits", assigned))


def _split_by_request(connection: ibis.BaseBackend, samples: Table, shares: RowSplitConfig) -> Table:
    """Rows of one request, or of one history if requests are not known, stay together."""
    keys = ["user_id", "request_key"] if "request_key" in samples.columns else ["user_id", "start 0", "length 0"]
    samples = samples.mutate(first_of_request=samples.ordinal.min().over(ibis.window(group_by=keys)))
    firsts = samples.select("first_of_request").distinct().order_by("first_of_request").to_pyarrow()
    numbers = firsts["first_of_request"].to_numpy()
    drawn = mix(mix(np.array([shares.seed], np.uint64)) ^ numbers.astype(np.uint64)).astype(np.float64) / 2.0**64
    splits = np.where(drawn < shares.test + shares.validation, int(Split.VALIDATION), int(Split.TRAIN))
    splits = np.where(drawn < shares.test, int(Split.TEST), splits).astype(np.int8)
    assigned = load_table(connection, "request_splits", pa.table({"first_of_request": numbers, "assigned": splits}))
    return _join(samples, assigned).drop("first_of_request")


def _join(samples: Table, assigned: Table) -> Table:
    """The samples with their key's split; users of other files alone have none."""
    (key,) = set(assigned.columns) - {"assigned"}
    joined = samples.left_join(assigned, key).drop(f"{key}_right")
    return joined.mutate(assigned=joined.assigned.fill_null(int(Split.TRAIN)))
