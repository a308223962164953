"""The numbers of a drift as rows of tables, for the terminal and the page."""

from din_train.drift.measured_drift import Drift
from din_train.evaluation.display import format_interval
from din_train.run_metrics import Metrics

_SHOWN = ("gauc", "auc", "logloss", "pcoc")

UNKNOWN_TITLES = ("", "rows", "unknown", "in the run's test", "missing", "in training", "distinct", "unknown of these")
STABILITY_TITLES = ("", "against", "earlier rows", "new rows", "PSI", "by chance")
METRIC_TITLES = ("", "rows", "targets", "unknown items", "GAUC", "AUC", "logloss", "PCOC", "mean score")


def list_unknown(measured: Drift) -> list[list[str]]:
    """The rows of the table of unknown values."""
    return [
        [
            each.name,
            f"{each.rows:,}",
            f"{each.unknown_share:.4f}",
            "" if each.earlier_unknown is None else f"{each.earlier_unknown:.4f}",
            f"{each.missing_share:.4f}",
            f"{each.earlier_missing:.4f}",
            f"{each.distinct:,}",
            f"{each.distinct_unknown:,}",
        ]
        for each in measured.unknown
    ]


def list_distributions(measured: Drift) -> list[list[str]]:
    """The rows of the table of distributions."""
    return [
        [
            each.name,
            each.against,
            f"{int(each.earlier.sum()):,}",
            f"{int(each.new.sum()):,}",
            (each.not_compared or "no rows") if each.psi is None else f"{each.psi:.4f}",
            "" if each.by_chance is None else f"{each.by_chance:.4f}",
        ]
        for each in measured.distributions
    ]


def list_metrics(measured: Drift) -> list[list[str]]:
    """The rows of the table of metrics: the run's test split, all new rows, then each period."""
    unknown = measured.unknown[0]
    before = "" if unknown.earlier_unknown is None else f"{unknown.earlier_unknown:.4f}"
    rows = [_list_metrics("the run's test split", measured.before, None, before, None)]
    rows.append(_list_metrics("all new rows", measured.now, unknown.rows, f"{unknown.unknown_share:.4f}", None))
    rows += [
        _list_metrics(each.name, each.metrics, each.targets, f"{each.unknown_items:.4f}", each.mean_score)
        for each in measured.periods
    ]
    return rows


def _list_metrics(
    name: str, metrics: Metrics | None, targets: int | None, unknown: str, mean_score: float | None
) -> list[str]:
    numbers = [None if metrics is None else getattr(metrics, key) for key in _SHOWN]
    return [
        name,
        "0" if metrics is None else f"{metrics.num_samples:,}",
        "" if targets is None else f"{targets:,}",
        unknown,
        *("undefined" if each is None else f"{each:.4f}" for each in numbers),
        "" if mean_score is None else f"{mean_score:.3f}",
    ]


def describe_gauc(measured: Drift) -> str | None:
    """GAUC before and now in a sentence; None if there is no difference."""
    drop, now = measured.gauc_drop, measured.now
    if drop is None or now is None:
        return None
    bounds = (now.intervals or {}).get("gauc")
    interval = f" (interval {format_interval(bounds)})" if bounds else ""
    return (
        f"GAUC is {now.gauc:.4f}{interval} on the new rows and {measured.before.gauc:.4f} in the run's test split: "
        f"{'a drop' if drop > 0 else 'a rise'} of {abs(drop):.4f}."
    )
