"""A run's report made by hand: six rows, two epochs."""

from functools import cache
from typing import Any

import numpy as np
from record_factory import MANIFEST, METRICS
from scored_rows import make_rows

from din_train.report.report import RunReport, build_run_page, build_run_pictures

HISTORY = [
    {"epoch": 1, "loss": 0.7, "learning_rate": 0.01, "validation_auc": 0.6, "validation_gauc": 0.61, "seconds": 2.5},
    {"epoch": 2, "loss": 0.6, "learning_rate": 0.005, "validation_auc": 0.7, "validation_gauc": 0.71, "seconds": 2.25},
]
ROWS = make_rows(
    user_id=np.array([2, 2, 2, 3, 3, 4], np.int32),
    target_item_id=np.array([2, 3, 4, 5, 6, 7], np.int32),
    history_length=np.array([3, 3, 3, 8, 8, 1], np.int32),
    label=np.array([1, 0, 0, 1, 0, 0], np.int8),
    logit=np.array([2.0, 1.0, -1.0, 0.5, 0.7, -2.0], np.float32),
)
ENVIRONMENT: dict[str, Any] = {
    "din_train": "9.8.7",
    "python": "3.11.7",
    "tensorflow": "2.21.0",
    "keras": "3.12.0",
    "numpy": "2.4.6",
    "platform": "Linux-x",
    "cpu_cores": 3,
    "device": "CPU",
    "command": "din-train fit --config first.yaml",
    "started": "2026-05-04T03:02:01+00:00",
    "seconds": 12.5,
}


def build_report(**changes: Any) -> RunReport:
    parts: dict[str, Any] = {
        "name": "first",
        "metrics": METRICS,
        "history": HISTORY,
        "config": "name: first\n",
        "again": "din-train fit --config runs/first/config.yaml --run-dir runs/first-again",
        "rows": ROWS,
        "manifest": MANIFEST,
        "environment": ENVIRONMENT,
    }
    return RunReport(**{**parts, **changes})


def build_page(**changes: Any) -> str:
    report = build_report(**changes)
    return build_run_page(report, build_run_pictures(report))


@cache
def read_page() -> str:
    """The page without changes, made once."""
    return build_page()
