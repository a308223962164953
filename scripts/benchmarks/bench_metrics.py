"""AUC and GAUC against a scikit-learn loop over users, and on rows by the hundred million.

python scripts/benchmarks/bench_metrics.py                      the size of Amazon Electronics' test split, and the loop
python scripts/benchmarks/bench_metrics.py --rows 100000000     that many rows, without the loop; time and peak memory
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from din_train.config import MetricsConfig
from din_train.evaluation.bootstrap import resample_metrics
from din_train.evaluation.metrics import compute_auc, compute_gauc

ELECTRONICS_ROWS = 384_806


def make_rows(num_rows: int, rows_a_user: int) -> tuple[NDArray[np.int32], NDArray[np.int8], NDArray[np.float32]]:
    """Users in order as a store has them, one positive each, scores that tell something."""
    random = np.random.default_rng(1)
    user_ids = np.arange(num_rows, dtype=np.int32) // rows_a_user + 2
    labels = (np.arange(num_rows) % rows_a_user == 0).astype(np.int8)
    scores = random.standard_normal(num_rows, dtype=np.float32)
    scores += labels
    return user_ids, labels, scores


def loop_over_users(user_ids: NDArray[np.int32], labels: NDArray[np.int8], scores: NDArray[np.float32]) -> float:
    """GAUC as it is often written: one user after the other."""
    total, weight = 0.0, 0
    starts = np.flatnonzero(np.append(True, user_ids[1:] != user_ids[:-1]))
    for start, end in zip(starts, np.append(starts[1:], len(user_ids)), strict=True):
        of_user = labels[start:end]
        if 0 < of_user.sum() < len(of_user):
            total += (end - start) * roc_auc_score(of_user, scores[start:end])
            weight += end - start
    return total / weight


def measure(num_rows: int, rows_a_user: int, *, with_loop: bool, resamples: int) -> dict[str, float]:
    """Seconds of each, the best of three; peak memory of the process."""
    user_ids, labels, scores = make_rows(num_rows, rows_a_user)
    times = []
    for _ in range(3 if with_loop else 1):
        started = time.perf_counter()
        auc, gauc = compute_auc(labels, scores), compute_gauc(user_ids, labels, scores)
        times.append(time.perf_counter() - started)
    result = {
        "rows": num_rows,
        "users": len(np.unique(user_ids)),
        "auc": auc,
        "gauc": gauc.value,
        "seconds": min(times),
    }
    if with_loop:
        started = time.perf_counter()
        slow = [roc_auc_score(labels, scores), loop_over_users(user_ids, labels, scores)]
        result["loop_seconds"] = time.perf_counter() - started
        result["ratio"] = result["loop_seconds"] / result["seconds"]
        result["largest_difference"] = float(np.abs(np.subtract(slow, [auc, gauc.value])).max())
    if resamples:
        started = time.perf_counter()
        resample_metrics(user_ids, labels, [scores], MetricsConfig(resamples=resamples))
        result["resamples"] = resamples
        result["resampling_seconds"] = time.perf_counter() - started
    result["peak_memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ELECTRONICS_ROWS)
    parser.add_argument("--rows-a-user", type=int, default=2)
    parser.add_argument("--resamples", type=int, help="of the intervals; 1000, or none without the loop")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with_loop = options.rows <= 10 * ELECTRONICS_ROWS
    resamples = options.resamples if options.resamples is not None else 1000 * with_loop
    result = measure(options.rows, options.rows_a_user, with_loop=with_loop, resamples=resamples)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
