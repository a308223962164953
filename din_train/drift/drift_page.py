"""The page of a drift: its limits, tables, and a figure for each distribution."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from din_train.drift.drift_tables import (
    METRIC_TITLES,
    STABILITY_TITLES,
    UNKNOWN_TITLES,
    describe_gauc,
    list_distributions,
    list_metrics,
    list_unknown,
)
from din_train.drift.measured_drift import Drift, Exceeded, Period
from din_train.drift.stability import Stability
from din_train.evaluation import display
from din_train.report.page import COLORS, QUIET, Picture, clip_text, figure_style, name_rows, new_figure, render_page

_SECTIONS = {
    "limits": "Limits",
    "unknown": "What the training did not know",
    "metrics": "Metrics by day",
    "distributions": "Distributions",
}


def build_drift_page(drift: Drift, exceeded: Sequence[Exceeded]) -> str:
    """The page, as one HTML file."""
    return render_page(
        "drift",
        title=f"{drift.run}: drift",
        sections=_SECTIONS,
        display=display,
        source=drift.source,
        notes=drift.notes,
        exceeded=[str(each) for each in exceeded],
        gauc_sentence=describe_gauc(drift),
        unknown_titles=UNKNOWN_TITLES,
        unknown_rows=list_unknown(drift),
        metric_titles=METRIC_TITLES,
        metric_rows=list_metrics(drift),
        metric_pictures=_draw_metrics(drift),
        stability_titles=STABILITY_TITLES,
        stability_rows=list_distributions(drift),
        distributions=[
            (each, build_stability_picture(number, each), _list_bins(each))
            for number, each in enumerate(drift.distributions, 1)
            if each.psi is not None
        ],
    )


def _list_bins(each: Stability) -> list[list[str]]:
    earlier, new = max(1, int(each.earlier.sum())), max(1, int(each.new.sum()))
    counted = zip(each.bins, each.earlier.tolist(), each.new.tolist(), each.parts.tolist(), strict=True)
    return [
        [clip_text(name, 40), f"{q:,}", f"{q / earlier:.4f}", f"{p:,}", f"{p / new:.4f}", f"{part:.4f}"]
        for name, q, p, part in counted
    ]


def _draw_metrics(drift: Drift) -> list[Picture]:
    before, pictures = drift.before, []
    for key in ("gauc", "pcoc"):
        defined = [(each.name, getattr(each.metrics, key)) for each in drift.periods if each.metrics is not None]
        if any(value is not None for _, value in defined):
            title, own = display.TITLES[key], getattr(before, key)
            values = "; ".join(f"{name}: {display.format_metric(value)}" for name, value in defined)
            figure = plot_periods(title, drift.periods, key, own)
            caption = f"The dotted line is the run's test split: {display.format_metric(own)}."
            pictures.append(Picture(f"periods-{key}", figure, caption, f"{title} by day: {values}"))
    return pictures


def plot_periods(title: str, periods: Sequence[Period], key: str, before: float | None) -> Figure:
    """A metric of each period, and the run's own in its test split."""
    with figure_style():
        figure, axes = new_figure(title=f"{title} by day")
        points = [
            (place, value)
            for place, each in enumerate(periods)
            if each.metrics is not None and (value := getattr(each.metrics, key)) is not None
        ]
        axes.plot(*zip(*points, strict=True), "o-", color=COLORS[0], markersize=4)
        if before is not None:
            axes.axhline(before, color=QUIET, linestyle=":")
        shown = np.unique(np.linspace(0, len(periods) - 1, min(len(periods), 4)).astype(int)).tolist()
        axes.set_xticks(shown, [periods[place].name[:10] for place in shown])
        axes.margins(x=0.08, y=0.15)
        axes.grid(visible=True)
    return figure


def build_stability_picture(number: int, each: Stability) -> Picture:
    """A distribution's bins, earlier and new side by side."""
    index = f"PSI {each.psi:.4f}"
    shares = zip(each.bins, each.earlier / max(1, each.earlier.sum()), each.new / max(1, each.new.sum()), strict=True)
    described = "; ".join(f"{name}: {earlier:.1%} then, {new:.1%} now" for name, earlier, new in shares)
    return Picture(
        f"distribution-{number}",
        plot_stability(each),
        f"{index}; the share of each bin among {each.against} of the run and among new rows.",
        f"{each.name}, {index}: {described}",
    )


def plot_stability(each: Stability) -> Figure:
    """Two bars for each bin that has rows."""
    used = np.flatnonzero(each.earlier + each.new).tolist()
    with figure_style():
        figure, axes = new_figure(1.3 + 0.32 * len(used), title=clip_text(each.name, 40))
        places = np.arange(len(used))
        for counts, shift, label, color in (
            (each.earlier, -0.19, each.against, QUIET),
            (each.new, 0.19, "new", COLORS[1]),
        ):
            axes.barh(places + shift, counts[used] / max(1, counts.sum()), height=0.36, color=color, label=label)
        axes.set_xlabel("share of rows")
        name_rows(axes, [clip_text(each.bins[place], 20) for place in used])
        figure.legend(loc="outside lower left", ncols=2)
    return figure
