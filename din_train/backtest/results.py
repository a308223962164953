"""What `backtest.json` holds: every day's runs, their paired differences from the cold one, and means over the days.

Means are over the days and seeds that every mode has, without the first day: there warm and stale are the cold model.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from din_train.backtest.steps import PreparedStep
from din_train.compare.compare import compare_runs
from din_train.config import MetricsConfig
from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.dataset.time_range import show_date
from din_train.dataset.vocabulary import FIRST_REAL_ID
from din_train.evaluation.scores import ScoredRows, read_scores
from din_train.run_directory import RunDirectory

_METRICS = ("gauc", "auc", "logloss", "pcoc")
_SECONDS = ("training_seconds", "process_seconds")

Result = Mapping[str, Any]


@dataclass(frozen=True)
class DayRun:
    """A model that scored the day.

    run: with the day's metrics and scores. data: the data set that it was trained on. training_seconds: of the epochs
    up to the chosen one, and of a refit; None if nothing was trained. process_seconds: of everything but scoring.
    """

    mode: str
    seed: int
    run: RunDirectory
    data: Path
    training_seconds: float | None = None
    process_seconds: float | None = None


def sum_seconds(run: RunDirectory, best_epoch: int) -> float:
    """The seconds of a training's epochs up to the chosen one, and of its refit."""
    records = run.read_history()
    chosen = [each for each in records if each.get("phase") == "refit" or each["epoch"] <= best_epoch]
    return float(sum(each["seconds"] for each in chosen))


def describe_day(prepared: PreparedStep, day: Path, runs: Sequence[DayRun], config: MetricsConfig) -> dict[str, Any]:
    """A day's runs and their differences from the cold run of the same seed.

    Args:
        day: the folder of the day's data set. runs: that have scored it.
    """
    step = prepared.step
    rows = {(each.mode, each.seed): read_scores(each.run.scores_file("test")) for each in runs}
    return {
        "step": step.number,
        "from": show_date(step.begin),
        "from_seconds": step.begin,
        "until_seconds": step.end,
        "training_rows": prepared.training.samples["train"],
        "rows": prepared.day.samples["test"],
        "targets": prepared.day.counts["test_targets"],
        "new_users": _find_new_users(day),
        "runs": [_describe_run(each, day, rows[each.mode, each.seed]) for each in runs],
        "differences": _describe_differences(runs, rows, config),
    }


def _describe_run(each: DayRun, day: Path, rows: ScoredRows) -> dict[str, Any]:
    metrics = each.run.read_metrics()
    intervals = metrics.intervals or {}
    return {
        "mode": each.mode,
        "seed": each.seed,
        "run": str(each.run.path),
        **{key: getattr(metrics, key) for key in _METRICS},
        "intervals": {key: intervals[key] for key in ("gauc", "auc") if intervals.get(key)},
        "users": metrics.num_users,
        "best_epoch": metrics.best_epoch,
        "new_items": find_new_items(day, each.data, rows),
        "training_seconds": each.training_seconds,
        "process_seconds": each.process_seconds,
    }


def find_new_items(day: Path, data: Path, rows: ScoredRows) -> float | None:
    """The share of the day's targets whose item has no id in the data set that a model was trained on."""
    targets = rows.target_item_id[rows.label == 1]
    if not len(targets):
        return None
    names, known = (pq.read_table(each / "items.parquet", columns=["item"])["item"] for each in (day, data))
    raw = pa.concat_arrays([pa.nulls(FIRST_REAL_ID, names.type), names.combine_chunks()]).take(pa.array(targets))
    is_known = pc.is_in(raw, value_set=known.combine_chunks(), skip_nulls=True)
    return 1.0 - float(pc.mean(is_known).as_py())


def _find_new_users(day: Path) -> float:
    """The share of the day's users without a training row before it."""
    data = open_store(day)
    known, users = (np.unique(data.samples(split, 1).user_ids) for split in (Split.TRAIN, Split.TEST))
    return float(np.isin(users, known, invert=True).mean())


def _describe_differences(
    runs: Sequence[DayRun], rows: Mapping[tuple[str, int], ScoredRows], config: MetricsConfig
) -> list[dict[str, Any]]:
    """Of the other modes from the cold run of the same seed, with `compare`'s intervals."""
    found: list[dict[str, Any]] = []
    cold = {each.seed: each.run.read_metrics() for each in runs if each.mode == "cold"}
    for each in runs:
        if each.mode == "cold" or each.seed not in cold:
            continue
        metrics = {"cold": cold[each.seed], each.mode: each.run.read_metrics()}
        scored = {mode: rows[mode, each.seed] for mode in metrics}
        intervals = {one.metric: [one.low, one.high] for one in compare_runs(metrics, scored, config).differences}
        values = {key: [getattr(metrics[mode], key) for mode in (each.mode, "cold")] for key in ("gauc", "auc")}
        defined = {
            key: {"value": one - other, "interval": intervals.get(key)}
            for key, (one, other) in values.items()
            if one is not None and other is not None
        }
        found.append({"mode": each.mode, "minus": "cold", "seed": each.seed, **defined})
    return found


def summarize_days(days: Sequence[Result], modes: Sequence[str]) -> dict[str, Any]:
    """Means over the days and seeds that every mode has: of several modes not the first day, which is cold's alone."""
    runs = {(day["step"], each["seed"], each["mode"]): each for day in days for each in day["runs"]}
    pairs = sorted({(step, seed) for step, seed, _ in runs})
    whole = [pair for pair in pairs if all(_has_gauc(runs.get((*pair, mode))) for mode in modes)]
    means = {
        mode: {key: _mean([runs[*pair, mode][key] for pair in whole]) for key in (*_METRICS, "new_items", *_SECONDS)}
        for mode in modes
    }
    differences = [
        {**each, "step": day["step"]}
        for day in days
        for each in day["differences"]
        if (day["step"], each["seed"]) in whole
    ]
    return {
        "days": len({step for step, _ in whole}),
        "pairs": len(whole),
        "modes": means,
        "differences": {
            mode: _summarize_differences([each for each in differences if each["mode"] == mode])
            for mode in modes
            if mode != "cold" and "cold" in modes
        },
        "share_of_cold_seconds": {key: _divide(means, key) for key in _SECONDS},
    }


def _has_gauc(run: Result | None) -> bool:
    return run is not None and run["gauc"] is not None


def _summarize_differences(differences: Sequence[Result]) -> dict[str, Any]:
    """Of GAUC: mean and standard deviation, and of how many the interval lies above or below zero."""
    gauc = [each["gauc"] for each in differences if "gauc" in each]
    values = [each["value"] for each in gauc]
    intervals = [each["interval"] for each in gauc if each["interval"]]
    return {
        "mean": _mean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "number": len(values),
        "above_zero": sum(bounds[0] > 0 for bounds in intervals),
        "below_zero": sum(bounds[1] < 0 for bounds in intervals),
    }


def _divide(means: Mapping[str, Result], key: str) -> float | None:
    warm, cold = (means.get(mode, {}).get(key) for mode in ("warm", "cold"))
    return warm / cold if warm is not None and cold else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return statistics.mean(known) if known else None
