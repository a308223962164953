"""Metrics for people: titles, meanings, formats, and the tables of the terminal.

The sentences are the same on the page of a run and on the page of a comparison.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from rich.markup import escape
from rich.table import Table

from din_train.config import CalibrationMethod, LossName
from din_train.run_metrics import IN_THE_LOG, REPLACED, RunMetrics
from din_train.terminal import show_table

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
    "logloss": "mean negative log-likelihood in nats; depends on the number of negatives per positive",
    "normalised_entropy": "logloss over the entropy of the share of targets: 1 is as good as always predicting that "
    "share, less is better",
    "pcoc": "sum of the predicted probabilities over the number of targets: 1 is right, above 1 predicts too many",
    "ece": "mean gap between predicted probability and share of targets, over bins of equally many rows; 0 is right",
}
# Shown beside GAUC if the metrics have it, which they do under protocol `user`.
BY_HISTORY_TITLE = "GAUC by history"
BY_HISTORY_MEANING = (
    "GAUC over a user's rows with one and the same history; if a user's rows have different ones, each made of the "
    "labels before it, the length of the history may tell labels of different rows apart, and here it cannot"
)
WEIGHTINGS = {
    "impressions": "weighted by the user's number of rows, as in the DIN paper",
    "positives": "weighted by the user's number of targets",
    "uniform": "every user counts the same",
}


def describe_negatives(negatives: Mapping[str, Any] | str, key: str) -> str:
    """Say where the negatives of training (`per_positive`) or of scored rows (`evaluation_per_positive`) come from."""
    count = negatives if isinstance(negatives, str) else negatives[key]
    if count == IN_THE_LOG:
        return "the log's own negatives"
    is_replaced = key == "per_positive" and replaces_negatives(negatives)
    return f"{count} sampled negative(s) per target" + (f", {REPLACED}" if is_replaced else "")


def replaces_negatives(negatives: Mapping[str, Any] | str) -> TypeGuard[Mapping[str, Any]]:
    """Whether training drew negatives in place of those of its file."""
    return not isinstance(negatives, str) and negatives["evaluation_per_positive"] == IN_THE_LOG


def describe_selection(metrics: RunMetrics) -> str:
    """Say which weights were scored, and what chose them."""
    weights = f"Weights are of epoch {metrics.best_epoch}, seed {metrics.seed}."
    return " ".join((SELECTION[metrics.selected_on], weights, *((REFIT,) if metrics.refit else ())))


def describe_probabilities(loss: LossName, calibration: CalibrationMethod) -> str | None:
    """Say what is unusual about a run's probabilities; None if the score of log loss is their log odds."""
    if calibration != "none":
        return f"calibrated on the validation rows ({calibration}), trained with loss {loss}"
    return None if loss == "logloss" else f"none: scores of loss {loss} are not calibrated, and 0.5 means nothing"


def describe_probability_metrics(metrics: RunMetrics) -> str | None:
    """Say which metrics are of calibrated probabilities, or that there are none; None if nothing is unusual."""
    what = describe_probabilities(metrics.loss, metrics.calibration)
    if what is None:
        return None
    say = "mean nothing" if metrics.calibration == "none" else "are of these"
    return f"Probabilities: {what}. Logloss, normalised entropy, PCOC and ECE {say}; AUC and GAUC rank by the scores."


def describe_training(metrics: RunMetrics) -> str:
    """Say what the model was trained with, and what its probabilities are."""
    negatives = describe_negatives(metrics.negatives, "per_positive")
    return f"Trained with {negatives}" + (
        f" and loss {metrics.loss}. {said}"
        if (said := describe_probability_metrics(metrics))
        else ": probabilities are calibrated to that share of targets."
    )


def name_groups(metrics: RunMetrics) -> str:
    """What GAUC is a mean over: users, requests, or values of a context field."""
    return {"user": "users", "request": "requests"}.get(metrics.gauc_group, f"values of {metrics.gauc_group}")


def describe_unusual(metrics: RunMetrics) -> str | None:
    """Say what is not as usual: GAUC's weights and groups, and weights of rows; None if all is."""
    parts = [f"GAUC weighted by {metrics.gauc_weighting}"] if metrics.gauc_weighting != "impressions" else []
    parts += [f"GAUC over {name_groups(metrics)}"] if metrics.gauc_group != "user" else []
    parts += ["all metrics weighted by the rows' weights"] if metrics.weighted else []
    return "; ".join(parts) or None


def describe_rows(metrics: RunMetrics) -> str:
    """Say how many rows and users the numbers are computed from."""
    negatives = describe_negatives(metrics.negatives, "evaluation_per_positive")
    groups = name_groups(metrics)
    weighting = WEIGHTINGS[metrics.gauc_weighting]
    if metrics.gauc_group != "user":
        weighting = weighting.replace("the user's", "their").replace("every user counts", "all count")
    weighted = " All metrics are weighted by the rows' weights." if metrics.weighted else ""
    return (
        f"{metrics.num_samples:,} rows of {metrics.num_users:,} users, of which {metrics.num_positives:,} are "
        f"targets; {negatives}. GAUC is over {metrics.gauc_users:,} {groups}, {weighting}; "
        f"{metrics.gauc_users_skipped:,} with one class only are left out.{weighted}"
    )


def describe_intervals(intervals: Mapping[str, Any] | None) -> str:
    """Say how the intervals were made."""
    if intervals is None:
        return "No intervals: metrics.resamples was 0."
    return (
        f"Intervals hold {intervals['confidence'] * 100:g} % of {intervals['resamples']:,} bootstrap resamples of the "
        f"{intervals['unit']}s: how far the figures would move with other {intervals['unit']}s, not with another seed."
    )


def show_metrics(metrics: RunMetrics) -> None:
    """One run's metrics on one split, and those of its slices."""
    show_table(build_metrics_table(metrics))
    if metrics.slices:
        show_table(build_slices_table(metrics.slices, name_groups(metrics)))


def build_metrics_table(metrics: RunMetrics) -> Table:
    """One run's metrics on one split, with the rows and users they are computed from."""
    intervals = metrics.intervals or {}
    title = f"{metrics.model}: {metrics.split} split, protocol {metrics.protocol}"
    title += ", weighted rows" if metrics.weighted else ""
    interval = f"{intervals['confidence'] * 100:g} % interval" if intervals else "interval"
    table = Table("metric", "value", interval, title=title)
    table.columns[1].justify = "right"
    for key, name in TITLES.items():
        table.add_row(name, format_metric(getattr(metrics, key)), format_interval(intervals.get(key)))
    if metrics.has_gauc_by_history:
        table.add_row(BY_HISTORY_TITLE, format_metric(metrics.gauc_by_history), "a user's rows of one history")
    counts = f"{metrics.num_positives:,} targets of {metrics.num_users:,} users"
    table.add_row("rows", f"{metrics.num_samples:,}", counts)
    table.add_row(
        escape(f"{name_groups(metrics)} in GAUC"),
        f"{metrics.gauc_users:,}",
        f"{metrics.gauc_users_skipped:,} with one class left out; weighted by {metrics.gauc_weighting}",
    )
    if said := describe_probabilities(metrics.loss, metrics.calibration):
        table.add_row("probabilities", metrics.calibration, said)
    if replaces_negatives(metrics.negatives):
        table.add_row("training negatives", f"{metrics.negatives['per_positive']} per positive", REPLACED)
    table.add_row("epoch chosen", str(metrics.best_epoch), f"on: {metrics.selected_on}")
    return table


def build_slices_table(slices: Mapping[str, Sequence[Mapping[str, Any]]], groups: str = "users") -> Table:
    """One row per slice: its counts, then its metrics."""
    table = Table("slice", "rows", escape(f"{groups} in GAUC"), "GAUC", "AUC", "logloss", "NE", "PCOC", "ECE")
    for column in table.columns[1:]:
        column.justify = "right"
    for dimension, parts in slices.items():
        table.add_section()
        for each in parts:
            keys = ("gauc", "auc", "logloss", "normalised_entropy", "pcoc", "ece")
            numbers = ["-" if each[key] is None else f"{each[key]:.4f}" for key in keys]
            name = escape(f"{dimension.replace('_', ' ')}: {each['name']}")
            table.add_row(name, f"{each['num_samples']:,}", f"{each['gauc_users']:,}", *numbers)
    return table


def format_interval(bounds: Sequence[float] | None) -> str:
    """`0.8743 to 0.8932`, or nothing."""
    return "" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def format_metric(value: float | None) -> str:
    """Six digits, or `undefined`."""
    return "undefined" if value is None else f"{value:.6f}"
