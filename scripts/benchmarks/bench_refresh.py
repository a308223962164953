"""A log that grows: what a warm start from the model of the day before saves, against training from nothing.

python scripts/benchmarks/bench_refresh.py --config configs/sample.yaml --work /tmp/refresh
python scripts/benchmarks/bench_refresh.py --config configs/sample.yaml --parts 6 --seeds 1,2,3

The log is cut by time into parts of equally many events. A day's log ends with a part, and its data set keeps the ids
of the day before; from the second day on a cold and a warm training see the same rows. One line of JSON per training,
then one with the means. `seconds` is the time of the epochs up to the chosen one; `seconds_to_cold` is the time of the
warm training until it is within 0.001 of the cold one's best validation GAUC (null if it never is).
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from work_folder import work_folder

from din_train.config import Config, load_config
from din_train.dataset.prepare import prepare
from din_train.dataset.store import open_store
from din_train.fit import fit
from din_train.run_directory import RunDirectory

NEAR = 0.001


def cut(config: Path, overrides: Sequence[str], work: Path, parts: int) -> list[int]:
    """The first moment after each part."""
    whole = load_config(config, [*overrides, f"data.prepared={work / 'whole'}"])
    prepare(whole)
    times = open_store(whole.data.prepared).event_times
    assert times is not None  # noqa: S101 - only ready-made samples have none
    return [int(np.quantile(times, (part + 1) / parts)) + 1 for part in range(parts)]


def train(config: Config, run: RunDirectory, mode: str) -> dict[str, Any]:
    """Fit, and say what it came to."""
    (metrics,) = fit(config, run_dir=run.path, overwrite=True)
    history = run.read_history()
    seconds = np.cumsum([each["seconds"] for each in history])
    return {
        "run": run.path.name,
        "mode": mode,
        "gauc": metrics.gauc,
        "epochs": metrics.best_epoch,
        "seconds": round(float(seconds[metrics.best_epoch - 1]), 2),
        "validation": [
            (round(float(at), 2), each["validation_gauc"]) for at, each in zip(seconds, history, strict=True)
        ],
    }


def compare(config: Path, overrides: Sequence[str], work: Path, parts: int, seed: int) -> list[dict[str, Any]]:
    """Every day's cold and warm training; the first day has a cold one alone."""
    results: list[dict[str, Any]] = []
    before: RunDirectory | None = None
    for day, until in enumerate(cut(config, overrides, work, parts)):
        of_day = [*overrides, f"seed={seed}", f"filters.until={until}", f"data.prepared={work / f'day{day}'}"]
        if before is not None:
            of_day += [f"vocabulary.base={work / f'day{day - 1}'}"]
        cold = RunDirectory(work / f"cold{day}-seed{seed}")
        found = train(load_config(config, of_day), cold, "cold")
        results.append(found)
        print(json.dumps(found), flush=True)
        if before is not None:
            warm = RunDirectory(work / f"warm{day}-seed{seed}")
            of_warm = train(load_config(config, [*of_day, f"training.warm_start.run={before.path}"]), warm, "warm")
            best = max(gauc for _, gauc in found["validation"])
            reached = [at for at, gauc in of_warm["validation"] if gauc >= best - NEAR]
            of_warm |= {"cold_seconds": found["seconds"], "seconds_to_cold": reached[0] if reached else None}
            of_warm["gauc_less_cold"] = of_warm["gauc"] - found["gauc"]
            results.append(of_warm)
            print(json.dumps(of_warm), flush=True)
        before = cold if before is None else warm
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--parts", type=int, default=6)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--work", type=Path, help="a folder for data sets and runs; a temporary one if left out")
    given = parser.parse_args()
    with work_folder(given.work) as work:
        seeds = map(int, given.seeds.split(","))
        found = [each for seed in seeds for each in compare(given.config, given.overrides, work, given.parts, seed)]
    warm = [each for each in found if each["mode"] == "warm"]
    reached = [each for each in warm if each["seconds_to_cold"] is not None]
    summary = {
        "warm trainings": len(warm),
        "that reach the cold one": len(reached),
        "gauc_less_cold": statistics.mean(each["gauc_less_cold"] for each in warm),
        "share of cold's time": statistics.mean(each["seconds"] / each["cold_seconds"] for each in warm),
        "share of cold's time to reach it": (
            statistics.mean(each["seconds_to_cold"] / each["cold_seconds"] for each in reached) if reached else None
        ),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
