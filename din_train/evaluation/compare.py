"""Runs side by side: only numbers that mean the same are put in one table."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from din_train.errors import ConfigError
from din_train.evaluation.metrics import compute_rela_impr

# What must be equal for two numbers to be comparable.
_SAME = ("protocol", "split", "data_fingerprint", "selected_on")


def compare_metrics(runs: Mapping[str, dict[str, Any]]) -> pd.DataFrame:
    """One row a run, indexed by its name: model, auc, gauc, logloss, rela_impr (per cent, against the first run).

    Args:
        runs: run name -> its metrics.

    Raises:
        ConfigError: where the runs were not scored on the same rows by the same protocol.
    """
    (base_name, base), *others = runs.items()
    problems = [
        f"{name}: {key} is {metrics[key]!r}, but {base[key]!r} in {base_name}; their numbers do not compare"
        for name, metrics in others
        for key in _SAME
        if metrics[key] != base[key]
    ]
    if problems:
        raise ConfigError(problems)
    rows = {
        name: {
            **{key: metrics[key] for key in ("model", "auc", "gauc", "logloss")},
            "rela_impr": compute_rela_impr(metrics["gauc"], base["gauc"]),
        }
        for name, metrics in runs.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
