"""The figures of one run: its learning curves, its scores, and its metrics by slice."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from din_train.evaluation.metrics import compute_calibration_bins
from din_train.evaluation.scores import ScoredRows
from din_train.report.page import COLORS, QUIET, WIDTH, clip_text, figure_style, name_rows, new_figure

History = Sequence[Mapping[str, Any]]
Slice = Mapping[str, Any]

_CHANCE = 0.5
_CURVE_POINTS = 300


def plot_loss(history: History) -> Figure:
    """Training loss by epoch, the refit's too; logloss of the watched split, if there was one."""
    with figure_style():
        figure, axes = new_figure(title="Loss")
        for phase, style, label in ((None, "o-", "training"), ("refit", "s--", "training, refit")):
            records = [each for each in history if each.get("phase") == phase]
            _plot_epochs(axes, records, "loss", style, COLORS[0], label)
        for key in _find_watched(history, "logloss"):
            _plot_epochs(axes, history, key, "^-", COLORS[1], key.replace("_", " "))
        axes.set_ylabel("nats")
        _finish_epochs(axes)
    return figure


def plot_watched(history: History, best_epoch: int | None) -> Figure | None:
    """AUC and GAUC of the watched split by epoch, the chosen epoch marked; None if no split was watched."""
    keys = [*_find_watched(history, "gauc"), *_find_watched(history, "auc")]
    if not keys:
        return None
    split = keys[0].rpartition("_")[0]
    with figure_style():
        figure, axes = new_figure(title=f"AUC and GAUC, {split} split")
        for key, style, color in zip(keys, ("o-", "^--"), (COLORS[2], COLORS[3]), strict=False):
            _plot_epochs(axes, history, key, style, color, key.rpartition("_")[2].upper())
        if best_epoch is not None:
            axes.axvline(best_epoch, color=QUIET, linestyle=":", label="epoch chosen")
        _finish_epochs(axes)
    return figure


def plot_learning_rate(history: History) -> Figure:
    """Learning rate at each epoch's end, without the refit."""
    records = [each for each in history if "phase" not in each]
    with figure_style():
        figure, axes = new_figure(2.2, title="Learning rate")
        _plot_epochs(axes, records, "learning_rate", "o-", COLORS[0], "at the epoch's end")
        axes.set_ylim(bottom=0)
        _finish_epochs(axes)
    return figure


def plot_roc(rows: ScoredRows) -> Figure | None:
    """ROC over all rows; None if they have one class only."""
    if not _has_both(rows.label):
        return None
    false_rate, true_rate = roc_curve(rows.label, rows.logit, sample_weight=rows.weight)[:2]
    way = (false_rate + true_rate) / 2  # from 0 to 1
    kept = np.unique(np.searchsorted(way, np.linspace(0, 1, _CURVE_POINTS)).clip(max=len(way) - 1))
    with figure_style():
        figure, axes = new_figure(4.0, title="ROC, over all rows")
        axes.plot([0, 1], [0, 1], ":", color=QUIET, label="chance")
        axes.plot(false_rate[kept], true_rate[kept], color=COLORS[0], label="model")
        axes.set(xlabel="share of negatives scored above", ylabel="share of targets scored above", aspect="equal")
        axes.grid(visible=True)
        axes.legend(loc="lower right")
    return figure


def plot_reliability(rows: ScoredRows) -> Figure | None:
    """Share of targets by predicted probability in bins of equally many rows, over a histogram of the predictions."""
    if not len(rows.label):
        return None
    probabilities = rows.click_probabilities
    bins = compute_calibration_bins(rows.label, probabilities, rows.weight)
    top = min(1.0, 1.05 * float(max(bins.mean_probability.max(), bins.share.max(), 0.05)))
    with figure_style():
        figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=[3, 1])
        above.set_title("Reliability")
        above.plot([0, top], [0, top], ":", color=QUIET, label="perfect")
        above.plot(bins.mean_probability, bins.share, "o-", color=COLORS[0], label="model")
        above.set(xlabel="mean predicted probability", ylabel="share of targets", xlim=(0, top), ylim=(0, top))
        above.grid(visible=True)
        above.legend(loc="upper left")
        below.hist(probabilities, bins=np.linspace(0, 1, 41).tolist(), color=COLORS[0])
        below.set(xlabel="predicted probability, all rows", ylabel="rows", yscale="log", xlim=(0, 1))
        below.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure


def plot_scores(rows: ScoredRows) -> Figure | None:
    """Histograms of the scores of targets and of negatives, each over its own number of rows."""
    if not len(rows.label):
        return None
    logits = rows.click_log_odds.astype(np.float64)
    low, high = float(logits.min()), float(logits.max())
    edges = np.linspace(low, high if high > low else low + 1.0, 41)
    with figure_style():
        figure, axes = new_figure(title="Scores by label")
        for label, name, color in ((0, "negatives", COLORS[0]), (1, "targets", COLORS[1])):
            scores = logits[rows.label == label]
            if len(scores):
                share = np.histogram(scores, edges)[0] / len(scores)
                axes.stairs(share, edges, fill=True, alpha=0.35, color=color)
                axes.stairs(share, edges, color=color, linewidth=1.4, label=f"{name} ({len(scores):,})")
        places, labels = _find_probability_ticks(low, high)
        axes.set_xticks(places, labels)
        axes.set(xlabel="predicted probability (even steps of the logit)", ylabel="share of the label's rows")
        axes.legend()
    return figure


def plot_history_lengths(rows: ScoredRows) -> Figure | None:
    """How many rows have a history of each length."""
    if not len(rows.label):
        return None
    longest = int(rows.history_length.max())
    step = -(-(longest + 1) // 60)  # at most 60 bars
    edges = np.arange(0, longest + step + 1, step) - 0.5
    with figure_style():
        figure, axes = new_figure(2.8, title="History length")
        axes.hist(rows.history_length, bins=edges.tolist(), color=COLORS[2])
        axes.set(xlabel="behaviours before the row" + (f", in steps of {step}" if step > 1 else ""), ylabel="rows")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def plot_slices(dimension: str, slices: Sequence[Slice]) -> Figure | None:
    """One bar per slice, from chance: GAUC, or AUC if no slice has a GAUC; None if neither is defined anywhere."""
    metric = choose_metric(slices)
    if metric is None:
        return None
    values = [each[metric] for each in slices]
    defined = [value for value in values if value is not None]
    with figure_style():
        figure, axes = new_figure(0.9 + 0.36 * len(slices), title=f"{metric.upper()} by {name_dimension(dimension)}")
        for place, (each, value) in enumerate(zip(slices, values, strict=True)):
            end = _CHANCE if value is None else value
            axes.barh(place, end - _CHANCE, left=_CHANCE, height=0.66, color=COLORS[0])
            shown = "undefined" if value is None else f"{value:.4f}"
            axes.annotate(
                f"{shown}  ({each['num_samples']:,} rows)",
                (max(end, _CHANCE), place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.axvline(_CHANCE, color=QUIET, linewidth=0.8)
        low = np.floor(10 * min(_CHANCE, *defined)) / 10
        high = np.ceil(10 * max(_CHANCE + 0.1, *defined)) / 10
        axes.set_xlim(low, high + 0.7 * (high - low))  # room for the words
        axes.set_xticks(np.arange(round(10 * low), round(10 * high) + 1) / 10)
        name_rows(axes, [clip_text(each["name"]) for each in slices])
    return figure


def choose_metric(slices: Sequence[Slice]) -> str | None:
    """The metric that slices are drawn by."""
    return next((key for key in ("gauc", "auc") if any(each[key] is not None for each in slices)), None)


def name_dimension(dimension: str) -> str:
    """`history_length` -> `history length`."""
    return clip_text(dimension.replace("_", " "))


def _find_watched(history: History, metric: str) -> list[str]:
    """The keys of a metric, such as `validation_gauc`; of one split at most."""
    return sorted({key for each in history for key in each if key.endswith(f"_{metric}")})[:1]


def _plot_epochs(axes: Axes, records: History, key: str, style: str, color: str, label: str) -> None:
    points = [(each["epoch"], each[key]) for each in records if each.get(key) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), style, color=color, label=label, markersize=4)


def _finish_epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.08)
    axes.grid(visible=True)
    if axes.lines:
        axes.legend()


def _find_probability_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Round probabilities between two logits."""
    round_ones = (1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
    ticks = {each: float(np.log(each / (1 - each))) for each in round_ones}
    inside = {each: place for each, place in ticks.items() if low <= place <= high}
    return list(inside.values()), [f"{each:g}" for each in inside]


def _has_both(labels: NDArray[np.int8]) -> bool:
    return bool(len(labels)) and int(labels.min()) != int(labels.max())
