"""A run's metrics and a prepared data set's manifest made by hand."""

from typing import Any

from din_train.dataset.manifest import Manifest, ReadFile
from din_train.dataset.negatives import UnknownItems
from din_train.run_metrics import RunMetrics


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


METRICS = RunMetrics(
    model="din",
    protocol="holdout",
    split="test",
    selected_on="validation",
    auc=0.8125,
    gauc=0.75,
    logloss=0.5,
    normalised_entropy=0.785,
    pcoc=1.25,
    ece=0.0625,
    num_samples=6,
    num_positives=2,
    num_users=3,
    gauc_users=2,
    gauc_users_skipped=1,
    gauc_by_history=None,
    gauc_weighting="impressions",
    gauc_group="user",
    weighted=False,
    intervals={"unit": "user", "confidence": 0.9, "resamples": 500, "auc": [0.71, 0.9], "gauc": [0.6543, 0.8321]},
    negatives={"per_positive": 1, "evaluation_per_positive": 2},
    seed=7,
    best_epoch=2,
    refit=False,
    parameters=4321,
    data_fingerprint="f00",
    rows_sha256="abc",
    metric_definition="def",
    slices={
        "history_length": [describe_slice("1-4"), describe_slice("5-9", gauc=None, auc=0.55)],
        "target_item": [describe_slice("new", gauc=None, auc=None), describe_slice("known")],
    },
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
