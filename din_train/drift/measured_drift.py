"""What is measured between a run's training and a new log, and which limits it passes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.config import Config, MetricsConfig
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.dataset.time_fields import SECONDS_A_DAY
from din_train.dataset.time_range import Moments
from din_train.drift.distributions import compare_distributions, compare_scores
from din_train.drift.new_log import NewLog, choose_scored, drop_negatives
from din_train.drift.stability import Stability
from din_train.drift.unknown_values import UnknownShare, measure_unknown, take_known
from din_train.earlier_scores import score_on
from din_train.errors import DamagedError, RunError
from din_train.evaluation.display import describe_negatives, describe_probability_metrics
from din_train.evaluation.evaluate import compute_metrics
from din_train.evaluation.scores import ScoredRows, read_scores
from din_train.run_directory import RunDirectory
from din_train.run_metrics import Metrics, RunMetrics

_MOST_PERIODS = 31


@dataclass(frozen=True)
class DriftLimits:
    """What a scheduler acts on; None: no limit."""

    max_unknown: float | None = None
    max_psi: float | None = None
    max_gauc_drop: float | None = None


@dataclass(frozen=True)
class Exceeded:
    """A limit that was passed. measured: None if it could not be measured."""

    option: str
    what: str
    measured: float | None
    limit: float

    def __str__(self) -> str:
        measured = "cannot be measured" if self.measured is None else f"{self.measured:.4f}"
        return f"{self.what}: {measured}, {self.option} is {self.limit:g}"


@dataclass(frozen=True)
class Period:
    """A day, or several if the log is long. targets: rows without sampled negatives, also those not scored.

    unknown_items: the share of targets whose item the training did not know. metrics: of the scored rows, if any.
    """

    name: str
    targets: int
    unknown_items: float
    mean_score: float | None
    metrics: Metrics | None


@dataclass(frozen=True)
class Drift:
    """All that was measured.

    notes: how the new rows were made, and what their metrics mean. now: None if no new row can be scored. first, last:
    moments of the new rows. targets: how many of them are no sampled negatives.
    """

    run: str
    source: str
    notes: Sequence[str]
    unknown: Sequence[UnknownShare]
    distributions: Sequence[Stability]
    before: RunMetrics
    now: RunMetrics | None
    periods: Sequence[Period]
    first: int
    last: int
    targets: int

    @property
    def gauc_drop(self) -> float | None:
        """The run's test GAUC minus that of the new rows; None if one is undefined, or they are defined otherwise."""
        if self.now is None or self.now.gauc is None or self.before.gauc is None:
            return None
        if self.now.metric_definition != self.before.metric_definition:
            return None
        return self.before.gauc - self.now.gauc


def measure_drift(
    run: RunDirectory,
    config: Config,
    run_data: PreparedData,
    log: NewLog,
    before: RunMetrics,
    source: str,
    overrides: Sequence[str] = (),
) -> Drift:
    """Everything that is compared."""
    sampled, longest = run_data.manifest.negatives == "sampled", config.data.max_history_length
    training, tested = (
        drop_negatives(run_data.samples(split, longest), sampled=sampled) for split in (Split.TRAIN, Split.TEST)
    )
    all_targets = drop_negatives(log.data.samples(Split.TEST, longest), sampled=sampled)
    unknown = measure_unknown(
        run_data,
        log.data,
        training=training,
        tested=tested,
        targets=all_targets,
        is_new_event=log.is_new_event,
    )
    chosen = choose_scored(log, config)
    targets = drop_negatives(chosen.data.samples(Split.TEST, longest), sampled=sampled)
    distributions = compare_distributions(
        config.data, run_data, chosen, training=training, tested=tested, targets=targets
    )
    notes = log.describe()
    now: RunMetrics | None = None
    rows: ScoredRows | None = None
    if len(chosen.moments):
        now, rows = score_on(run.path, chosen.data, Split.TEST, overrides)
        try:
            distributions.append(compare_scores(read_scores(run.scores_file("test")), rows))
        except DamagedError:
            raise
        except RunError as error:
            notes.append(f"Scores are not compared: {error}.")
        notes += describe_metrics(before, now, sampled=sampled)
    else:
        notes.append(
            f"No new row has the {config.data.min_history} behaviours in its history that a sample needs "
            "(data.min_history), so nothing is scored."
        )
    known = take_known(run_data.most_training_events > 0, all_targets.target_item_ids)
    moments = log.moments[log.data.sample_columns(Split.TEST)["label"] == 1] if sampled else log.moments
    return Drift(
        run=run.path.resolve().name,
        source=source,
        notes=notes,
        unknown=unknown,
        distributions=distributions,
        before=before,
        now=now,
        periods=list_periods(log.times, moments, ~known, chosen.moments, rows, config.metrics),
        first=int(log.moments.min()),
        last=int(log.moments.max()),
        targets=len(all_targets),
    )


def list_periods(
    times: Moments,
    moments: NDArray[np.int64],
    is_unknown: NDArray[np.bool_],
    scored_moments: NDArray[np.int64],
    rows: ScoredRows | None,
    config: MetricsConfig,
) -> list[Period]:
    """Metrics and unknown items by day (UTC), or by several days if there are many; one period without unix times.

    Args:
        moments, is_unknown: [N] of the targets. scored_moments, rows: [S] of the scored rows.
    """
    first = int(moments.min()) // SECONDS_A_DAY
    days = int(moments.max()) // SECONDS_A_DAY - first + 1
    width = -(-days // _MOST_PERIODS)

    def place(seconds: NDArray[np.int64]) -> NDArray[np.int64]:
        return (seconds // SECONDS_A_DAY - first) // width if times.is_unix else np.zeros_like(seconds)

    of_targets, of_rows = place(moments), place(scored_moments)
    periods = []
    for number in np.unique(of_targets).tolist():
        begin = first + number * width
        ends = dict.fromkeys(times.show(day * SECONDS_A_DAY) for day in (begin, begin + width - 1))
        of_period = of_rows == number
        taken = rows.take(of_period) if rows is not None and of_period.any() else None
        periods.append(
            Period(
                name=" to ".join(ends) if times.is_unix else "all",
                targets=int(np.sum(of_targets == number)),
                unknown_items=float(is_unknown[of_targets == number].mean()),
                mean_score=float(taken.logit.astype(np.float64).mean()) if taken is not None else None,
                metrics=compute_metrics(taken, config) if taken is not None else None,
            )
        )
    return periods


def describe_metrics(before: RunMetrics, now: RunMetrics, *, sampled: bool) -> list[str]:
    """Say what the metrics of the new rows mean."""
    own = "undefined" if before.pcoc is None else f"{before.pcoc:.4f}"
    lines = [
        f"Clicks are ranked against {describe_negatives(now.negatives, 'evaluation_per_positive')}, as in the run's "
        f"test split. So PCOC compares with the run's own, {own}, and not with 1: it says how scores have moved, "
        "not whether clicks are predicted as often as they happen."
        if sampled
        else f"Labels are the log's own, so PCOC is calibration: 1 is right; in the run's test split it was {own}."
    ]
    if said := describe_probability_metrics(before):
        lines.append(said)
    if before.metric_definition != now.metric_definition:
        lines.append(
            "The metrics are defined otherwise than those of the run's test split (--set metrics, or weights of rows), "
            "so GAUC does not compare: score the run again with `din-train eval` and the same --set."
        )
    if before.protocol in ("paper", "holdout"):
        alike = "" if now.gauc_by_history is None else f"; among rows of one history it is {now.gauc_by_history:.4f}"
        lines.append(
            f"Under protocol {before.protocol} all test rows of a user have one history. Each new row has its own, and "
            f"GAUC ranks all of a user's{alike}."
        )
    return lines


def find_exceeded(measured: Drift, limits: DriftLimits) -> list[Exceeded]:
    """The limits that are passed."""
    exceeded = []
    if limits.max_unknown is not None:
        exceeded += [
            Exceeded("--max-unknown", _name_unknown(each), each.measured, limits.max_unknown)
            for each in measured.unknown
            if each.measured > limits.max_unknown
        ]
    if limits.max_psi is not None:
        exceeded += [
            Exceeded("--max-psi", f"PSI of {each.name} against the {each.against}", each.psi, limits.max_psi)
            for each in measured.distributions
            if each.psi is not None and each.psi > limits.max_psi
        ]
    if limits.max_gauc_drop is not None:
        drop = measured.gauc_drop
        if drop is None or drop > limits.max_gauc_drop:
            what = "drop of GAUC from the run's test split"
            exceeded.append(Exceeded("--max-gauc-drop", what, drop, limits.max_gauc_drop))
    return exceeded


def _name_unknown(share: UnknownShare) -> str:
    if share.name in ("item", "user"):
        return f"share of rows whose {share.name} is unknown"
    more = " or missing more often than in training" if share.missing_share > share.earlier_missing else ""
    return f"share of {share.name} that is unknown{more}"


def describe_drift(measured: Drift, limits: DriftLimits, exceeded: Sequence[Exceeded]) -> dict[str, Any]:
    """The contents of drift.json."""
    return {
        "run": measured.run,
        "input": measured.source,
        "data_fingerprint": measured.before.data_fingerprint,
        "first": measured.first,
        "last": measured.last,
        "targets": measured.targets,
        "notes": list(measured.notes),
        "limits": asdict(limits),
        "exceeded": [asdict(each) for each in exceeded],
        "unknown": [each.to_json() for each in measured.unknown],
        "distributions": [each.to_json() for each in measured.distributions],
        "gauc_drop": measured.gauc_drop,
        "test": _describe_metrics(measured.before),
        "new": _describe_metrics(measured.now),
        "periods": [asdict(each) for each in measured.periods],
    }


def _describe_metrics(metrics: RunMetrics | None) -> dict[str, Any] | None:
    if metrics is None:
        return None
    names = [*Metrics.__dataclass_fields__, "intervals"]
    return {name: getattr(metrics, name) for name in names}
