"""A run's report made by hand: six rows, two epochs."""

from functools import cache
from typing import Any

import numpy as np
from scored_rows import make_rows

from din_train.dataset.manifest import Manifest, ReadFile
from din_train.dataset.negatives import UnknownItems
from din_train.report.run_page import RunReport, build_run_page, build_run_pictures


def describe_slice(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "num_samples": 1234,
        "num_positives": 56,
        "gauc_users": 31,
        "gauc_users_skipped": 2,
        "auc": 0.61,
        "gauc": 0.6375,
        "logloss": 0.31,
        "normalised_entropy": 0.9,
        "pcoc": 1.1,
        "ece": 0.01,
    } | changes


METRICS: dict[str, Any] = {
    "model": "din",
    "protocol": "holdout",
    "split": "test",
    "selected_on": "validation",
    "auc": 0.8125,
    "gauc": 0.75,
    "logloss": 0.5,
    "normalised_entropy": 0.785,
    "pcoc": 1.25,
    "ece": 0.0625,
    "num_samples": 6,
    "num_positives": 2,
    "num_users": 3,
    "gauc_users": 2,
    "gauc_users_skipped": 1,
    "gauc_weighting": "impressions",
    "intervals": {"unit": "user", "confidence": 0.9, "resamples": 500, "auc": [0.71, 0.9], "gauc": [0.6543, 0.8321]},
    "negatives": {"per_positive": 1, "evaluation_per_positive": 2},
    "seed": 7,
    "best_epoch": 2,
    "refit": False,
    "parameters": 4321,
    "data_fingerprint": "f00",
    "slices": {
        "history_length": [describe_slice("1-4"), describe_slice("5-9", gauc=None, auc=0.55)],
        "target_item": [describe_slice("new", gauc=None, auc=None), describe_slice("known")],
    },
}
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
MANIFEST = Manifest(
    protocol="holdout",
    seed=1,
    recipe={},
    config_hash="00",
    inputs=[],
    fields={"item": ["category"], "user": [], "context": []},
    read=[ReadFile("events.csv", 777, 750, {"no timestamp": 23}, {"rating below 4": 4}, {})],
    time=None,
    joins=[],
    field_values={},
    remarks=[],
    negatives="sampled",
    histories={},
    unknown_items=UnknownItems(0, 0),
    dropped={"users_with_too_few_events": 91},
    counts={"events": 12_345, "users": 3},
    samples={"train": 4, "test": 6},
    positives_share={},
    unknown_rate_in_test=0.0,
    history_length={"median": 7},
    made=None,
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
