"""What the numbers mean, in sentences: the same on the page of a run and on the page of a comparison."""

from collections.abc import Mapping
from typing import Any

from din_train.run_metrics import RunMetrics

PROTOCOLS = {
    "holdout": "Each user's last event is the test target and the one before it the validation target; the model was "
    "trained on the rest. The test split was scored once.",
    "paper": "Each user's last event is the test target; the model was trained on the rest (DIN paper, section 6.1).",
    "time": "The log is cut at two moments: the model was trained on what is before the first, validated between the "
    "two, and the test split is what comes after the second; no history goes past its split's cut.",
    "user": "The users of the three splits are different ones.",
    "presampled": "The samples came ready-made, with their histories: validation and test rows are those of their "
    "files or of data.row_split. If neither says which rows validate, each training user's positive with the longest "
    "history does, with its negatives.",
}
SELECTION = {
    "validation": "The epoch was chosen on the validation split.",
    "test": "The epoch was chosen on the test split itself, so the figures are better than on unseen data.",
    "none": "No split chose the epoch: the last one's weights are scored.",
}
REFIT = "They come from a second training, on training and validation rows together, for as many epochs as were chosen."

# Keys of environment.json.
ENVIRONMENT = {
    "din_train": "din-train",
    "python": "Python",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "numpy": "NumPy",
    "platform": "platform",
    "cpu_cores": "CPU cores",
    "device": "device",
    "processor": "processor",
    "started": "started",
    "seconds": "seconds, from start to scores",
}

TITLES = {
    "gauc": "GAUC",
    "auc": "AUC",
    "logloss": "logloss",
    "normalised_entropy": "normalised entropy",
    "pcoc": "PCOC",
    "ece": "ECE",
}
MEANINGS = {
    "gauc": "mean over users of the chance that one of the user's targets outranks one of the user's negatives; a tie "
    "counts one half; users with one class only are left out",
    "auc": "the chance that a target outranks a negative, over all rows; a tie counts one half",
    "logloss": "mean negative log-likelihood in nats; depends on the number of negatives a positive",
    "normalised_entropy": "logloss over the entropy of the share of targets: 1 is as good as always predicting that "
    "share, less is better",
    "pcoc": "sum of the predicted probabilities over the number of targets: 1 is right, above 1 predicts too many",
    "ece": "mean gap between predicted probability and share of targets, over bins of equally many rows; 0 is right",
}
# Shown beside GAUC if the metrics have it, which they do under protocol `user`.
BY_HISTORY_TITLE = "GAUC by history"
BY_HISTORY_MEANING = (
    "GAUC over a user's rows with one and the same history; where a user's rows have different ones, each made of the "
    "labels before it, its length alone may tell labels from one row to the next, and here it cannot"
)
WEIGHTINGS = {
    "impressions": "weighted by the user's number of rows, as in the DIN paper",
    "positives": "weighted by the user's number of targets",
    "uniform": "every user counts the same",
}


def describe_negatives(negatives: Mapping[str, Any] | str, key: str) -> str:
    """Say where the negatives of training (`per_positive`) or of scored rows (`evaluation_per_positive`) come from."""
    return "the log's own negatives" if isinstance(negatives, str) else f"{negatives[key]} sampled negative(s) a target"


def describe_selection(metrics: RunMetrics) -> str:
    """Say which weights were scored, and what chose them."""
    weights = f"Weights are of epoch {metrics.best_epoch}, seed {metrics.seed}."
    return " ".join((SELECTION[metrics.selected_on], weights, *((REFIT,) if metrics.refit else ())))


def describe_rows(metrics: RunMetrics) -> str:
    """Say how many rows and users the numbers are computed from."""
    negatives = describe_negatives(metrics.negatives, "evaluation_per_positive")
    return (
        f"{metrics.num_samples:,} rows of {metrics.num_users:,} users, of which {metrics.num_positives:,} are "
        f"targets; {negatives}. GAUC is over {metrics.gauc_users:,} users, {WEIGHTINGS[metrics.gauc_weighting]}; "
        f"{metrics.gauc_users_skipped:,} with one class only are left out."
    )


def describe_intervals(intervals: Mapping[str, Any] | None) -> str:
    """Say how the intervals were made."""
    if intervals is None:
        return "No intervals: metrics.resamples was 0."
    return (
        f"Intervals hold {intervals['confidence'] * 100:g} % of {intervals['resamples']:,} bootstrap resamples of the "
        f"{intervals['unit']}s: how far the figures would move with other {intervals['unit']}s, not with another seed."
    )
