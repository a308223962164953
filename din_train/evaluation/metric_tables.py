"""Metrics as tables on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from din_train.evaluation import words
from din_train.run_metrics import RunMetrics
from din_train.terminal import show_table


def show_metrics(metrics: RunMetrics) -> None:
    """One run's metrics on one split, and those of its slices."""
    show_table(build_metrics_table(metrics))
    if metrics.slices:
        show_table(build_slices_table(metrics.slices))


def build_metrics_table(metrics: RunMetrics) -> Table:
    """One run's metrics on one split, with the rows and users they are computed from."""
    intervals = metrics.intervals or {}
    title = f"{metrics.model}: {metrics.split} split, protocol {metrics.protocol}"
    interval = f"{intervals['confidence'] * 100:g} % interval" if intervals else "interval"
    table = Table("metric", "value", interval, title=title)
    table.columns[1].justify = "right"
    for key, name in words.TITLES.items():
        table.add_row(name, format_metric(getattr(metrics, key)), format_interval(intervals.get(key)))
    if metrics.has_gauc_by_history:
        table.add_row(words.BY_HISTORY_TITLE, format_metric(metrics.gauc_by_history), "a user's rows of one history")
    counts = f"{metrics.num_positives:,} targets of {metrics.num_users:,} users"
    table.add_row("rows", f"{metrics.num_samples:,}", counts)
    table.add_row(
        "users in GAUC",
        f"{metrics.gauc_users:,}",
        f"{metrics.gauc_users_skipped:,} with one class left out; weighted by {metrics.gauc_weighting}",
    )
    table.add_row("epoch chosen", str(metrics.best_epoch), f"on: {metrics.selected_on}")
    return table


def build_slices_table(slices: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """One row per slice: its counts, then its metrics."""
    table = Table("slice", "rows", "users in GAUC", "GAUC", "AUC", "logloss", "NE", "PCOC", "ECE")
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
