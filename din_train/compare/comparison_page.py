"""The page of a comparison: runs side by side, what they differ by, and what stands in the way of comparing them."""

from collections.abc import Mapping, Sequence
from typing import Any

from din_train.compare import comparison_plots
from din_train.compare.comparison import Comparison
from din_train.evaluation import words
from din_train.evaluation.metric_tables import format_metric
from din_train.report.page import Picture, render_page
from din_train.report.run_plots import name_dimension

_SECTIONS = {
    "differences": "Differences",
    "runs": "Runs",
    "slices": "Slices",
    "configs": "What the configs differ by",
}

# Run name -> (key, value in the first run, value in it) of each config key that is not the first run's.
ConfigDifferences = Mapping[str, Sequence[tuple[str, str, str]]]


def build_comparison_page(comparison: Comparison, config_differences: ConfigDifferences) -> str:
    """HTML that needs nothing beside it."""
    base = comparison.runs[0]
    return render_page(
        "comparison",
        title=f"{len(comparison.runs)} runs compared",
        sections=_SECTIONS,
        words=words,
        base=base,
        runs=comparison.runs,
        warnings=comparison.warnings,
        differences=comparison.differences,
        intervals_sentence=words.describe_intervals(base.metrics.get("intervals")),
        rows_sentence=words.describe_rows(base.metrics),
        selection=words.SELECTION[base.metrics["selected_on"]],
        difference_pictures=_draw_differences(comparison),
        run_pictures=_draw_runs(comparison),
        slice_pictures=_draw_slices(comparison),
        config_differences=config_differences,
    )


def _draw_differences(comparison: Comparison) -> list[Picture]:
    pictures = []
    for metric in dict.fromkeys(each.metric for each in comparison.differences):
        differences = [each for each in comparison.differences if each.metric == metric]
        pictures.append(
            Picture(
                f"differences-{metric}",
                comparison_plots.plot_differences(metric, differences),
                f"From {comparison.runs[0].name}. Both runs are scored on the same resampled users, so what they have "
                "in common does not widen the interval.",
                "; ".join(each.sentence for each in differences),
            )
        )
    return pictures


def _draw_runs(comparison: Comparison) -> list[Picture]:
    pictures = []
    for metric in ("gauc", "auc"):
        figure = comparison_plots.plot_runs(metric, comparison.runs)
        if figure is not None:
            values = "; ".join(f"{each.name}: {format_metric(each.metrics[metric])}" for each in comparison.runs)
            caption = "Each run's own interval. Those of two runs may overlap and the difference still be clear."
            pictures.append(Picture(f"runs-{metric}", figure, caption, f"{metric.upper()} by run: {values}"))
    return pictures


def _draw_slices(comparison: Comparison) -> list[Picture]:
    pictures = []
    for number, dimension in enumerate(comparison.runs[0].metrics.get("slices", {}), 1):
        figure = comparison_plots.plot_slices_of_runs(dimension, comparison.runs)
        if figure is not None:
            title = f"By {name_dimension(dimension)}, a mark a run."
            pictures.append(Picture(f"slices-{number}", figure, title, _describe_slices(comparison, dimension)))
    return pictures


def _describe_slices(comparison: Comparison, dimension: str) -> str:
    def describe(name: str, parts: Sequence[Mapping[str, Any]]) -> str:
        return f"{name}: " + ", ".join(f"{each['name']} {format_metric(each['gauc'])}" for each in parts)

    slices = [(run.name, run.metrics.get("slices", {}).get(dimension, ())) for run in comparison.runs]
    return f"By {name_dimension(dimension)}. " + "; ".join(describe(name, parts) for name, parts in slices)
