"""`report.html`: one run on one page that needs nothing beside it, with plots and what the numbers mean."""

import html
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_curve

from din_train.report.terminal import format_metric
from din_train.samples.manifest import Manifest

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells users that it builds its font cache

PROTOCOLS = {
    "holdout": "Each user's last event is the test target and the one before it the validation target; the model was "
    "trained on the rest. The test split was scored once.",
    "paper": "Each user's last event is the test target; the model was trained on the rest (DIN paper, section 6.1).",
    "time": "The log is cut at two moments: the model was trained on what is before the first, validated between the "
    "two, and the test split is what comes after the second; no history goes past its split's cut.",
    "user": "The users of the three splits are different ones.",
    "presampled": "The samples came ready-made: the test file's rows as they are, and each training user's positive "
    "with the longest history, with its negative, for validation.",
}
SELECTION = {
    "validation": "The epoch was chosen on the validation split.",
    "test": "The epoch was chosen on the test split itself, so the figures are better than on unseen data.",
    "none": "No split chose the epoch: the last one's weights are scored.",
}
MEANINGS = {
    "gauc": "mean over users of the chance that one of the user's targets outranks one of the user's negatives, "
    "weighted by impressions; users with one class only are left out",
    "auc": "the chance that a target outranks a negative, over all samples; a tie counts one half",
    "logloss": "mean negative log-likelihood in nats; depends on the number of negatives a positive",
}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } td.meaning { color: #666; }
.plots { display: flex; flex-wrap: wrap; } .plots svg { width: 19rem; height: auto; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: 13px; }
"""


@dataclass(frozen=True)
class RunReport:
    """What a report is made of.

    metrics: as in metrics.json. history: one record an epoch, as in history.jsonl.
    labels: [S] of the scored split. logits: [S].
    """

    name: str
    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    labels: NDArray[np.int8]
    logits: NDArray[np.float32]
    manifest: Manifest
    config: str


def build_html(report: RunReport) -> str:
    """The page."""
    metrics = report.metrics
    rows = "".join(
        f"<tr><th>{key if key == 'logloss' else key.upper()}</th><td class=number>{format_metric(metrics[key])}</td>"
        f"<td class=meaning>{MEANINGS[key]}</td></tr>"
        for key in MEANINGS
    )
    title = html.escape(f"{report.name}: {metrics['model']}")
    weights = f"Weights are of epoch {metrics['best_epoch']}, seed {metrics['seed']}."
    if metrics["refit"]:
        weights += " They come of a second training, on training and validation rows, for that many epochs."
    of_training, of_test = (
        _describe_negatives(metrics["negatives"], key) for key in ("per_positive", "evaluation_per_positive")
    )
    paragraphs = (
        f"Protocol <b>{metrics['protocol']}</b>, split <b>{metrics['split']}</b>. {PROTOCOLS[metrics['protocol']]} "
        f"{SELECTION[metrics['selected_on']]} {weights}",
        f"{metrics['num_samples']:,} samples, of which {metrics['num_positives']:,} are targets; "
        f"{of_test}. GAUC is over {metrics['gauc_users']:,} users; {metrics['gauc_users_skipped']:,} with "
        "one class only are left out. Figures compare only with others of the same protocol and data.",
        f"Trained with {of_training}: probabilities are calibrated to that share of targets.",
    )
    counts = {**report.manifest["counts"], **{f"samples: {k}": v for k, v in report.manifest["samples"].items()}}
    data = "".join(
        f"<tr><th>{html.escape(name.replace('_', ' '))}</th><td class=number>{count:,}</td></tr>"
        for name, count in counts.items()
    )
    plots = (_plot_history(report), _plot_roc(report), _plot_calibration(report))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n<table>{rows}</table>\n"
        + "".join(f"<p>{paragraph}</p>\n" for paragraph in paragraphs)
        + f'<div class="plots">{"".join(plots)}</div>\n'
        f"<h2>Prepared data</h2>\n<table>{data}</table>\n"
        f"<h2>Config</h2>\n<pre>{html.escape(report.config)}</pre>\n</body></html>\n"
    )


def _describe_negatives(negatives: Mapping[str, Any] | str, key: str) -> str:
    return "the log's own negatives" if isinstance(negatives, str) else f"{negatives[key]} sampled negative(s) a target"


def _plot_history(report: RunReport) -> str:
    """Loss an epoch, and the GAUC of the split that was watched, if one was."""

    def draw(axes: Axes) -> None:
        epochs = [record["epoch"] for record in report.history]
        axes.plot(epochs, [record["loss"] for record in report.history], "o-", label="training loss")
        axes.set(title="Epochs", xlabel="epoch", ylabel="training loss", xticks=epochs)
        watched = [key for key in report.history[0] if key.endswith("_gauc")]
        for key in watched:
            right = axes.twinx()
            right.plot(epochs, [record[key] for record in report.history], "s-", color="C1")
            right.set_ylabel(key.replace("_gauc", " GAUC"), color="C1")

    return _draw_svg(draw)


def _plot_roc(report: RunReport) -> str:
    def draw(axes: Axes) -> None:
        axes.set(title="ROC, over all samples", xlabel="false positive rate", ylabel="true positive rate")
        axes.plot([0, 1], [0, 1], ":", color="grey")
        if report.metrics["auc"] is not None:
            axes.plot(*roc_curve(report.labels, report.logits)[:2])

    return _draw_svg(draw)


def _plot_calibration(report: RunReport) -> str:
    def draw(axes: Axes) -> None:
        axes.set(title="Calibration", xlabel="predicted probability", ylabel="share of targets")
        axes.plot([0, 1], [0, 1], ":", color="grey")
        if len(report.labels):
            probabilities = 1.0 / (1.0 + np.exp(-report.logits.astype(np.float64)))
            share, predicted = calibration_curve(report.labels, probabilities, n_bins=10, strategy="quantile")
            axes.plot(predicted, share, "o-")

    return _draw_svg(draw)


def _draw_svg(draw: Callable[[Axes], None]) -> str:
    """An `<svg>` element, the same for the same plot."""
    with rc_context({"svg.hashsalt": "din-train", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(4, 3.2), layout="constrained")
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]  # without the XML header, which has no place inside a page
