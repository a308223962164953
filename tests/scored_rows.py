"""Scored rows of which only some columns matter."""

from typing import Any

import numpy as np

from din_train.evaluation.scores import ScoredRows


def make_rows(**columns: Any) -> ScoredRows:
    """`label` and `logit`, and any others; what is left out is 0, and weights and groups are none."""
    size = len(columns["label"])
    kinds = {"history_end": np.int64, "event": np.int64, "label": np.int8, "logit": np.float32}
    names = ("user_id", "target_item_id", "history_length", *kinds)
    optional = {"weight": np.float32, "group": np.int64}
    return ScoredRows(
        **{name: np.asarray(columns.get(name, np.zeros(size)), kinds.get(name, np.int32)) for name in names},
        **{name: np.asarray(columns[name], kind) for name, kind in optional.items() if name in columns},
    )
