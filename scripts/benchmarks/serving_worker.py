"""One measurement of `bench_serving.py`, in a process of its own on one core: prints a JSON line.

    python scripts/benchmarks/serving_worker.py '{"form": "onnx", "export": "...", "requests": "requests.json"}'

The requests of each kind are scored one after the other. Times are of a call, from raw texts to probabilities, in
seconds: wall time, and the process's CPU time, which other work on the machine moves less. `cold_start` is from the
beginning of this process to its first answer.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_DTYPES = {"BYTES": object, "INT64": np.int64, "FP64": np.float64}

Score = Callable[[dict[str, Any]], Any]


def load_onnx(export: Path) -> Score:
    """In onnxruntime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(export / "onnx" / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return lambda arrays: session.run(["click_probability"], arrays)[0]


def load_saved_model(export: Path) -> Score:
    """In TensorFlow, on one thread."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(str(export / "1"))
    serve = loaded.signatures["serving_default"]
    return lambda arrays: serve(**{name: tf.constant(each) for name, each in arrays.items()})[
        "click_probability"
    ].numpy()


def to_arrays(request: dict[str, Any], inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Nested lists by input -> arrays."""
    return {each["name"]: np.array(request[each["name"]], _DTYPES[each["datatype"]]) for each in inputs}


def measure(score: Score, requests: list[dict[str, Any]]) -> dict[str, Any]:
    """Percentiles over the calls."""
    wall, cpu = [], []
    for arrays in [*requests[:3], *requests]:
        started = time.perf_counter(), time.process_time()
        score(arrays)
        wall.append(time.perf_counter() - started[0])
        cpu.append(time.process_time() - started[1])
    return {
        f"{clock}_p{percent}": float(np.percentile(times[3:], percent))
        for clock, times in (("wall", wall), ("cpu", cpu))
        for percent in (50, 99)
    }


def measure_age() -> float:
    """Seconds since this process began, in hundredths."""
    began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def main(task: dict[str, Any]) -> dict[str, Any]:
    """The figures of each kind of request."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    export, given = Path(task["export"]), json.loads(Path(task["requests"]).read_text())
    score = {"onnx": load_onnx, "savedmodel": load_saved_model}[task["form"]](export)
    kinds = {
        kind: [to_arrays(each, given["inputs"]) for each in requests] for kind, requests in given["requests"].items()
    }
    first = score(next(iter(kinds.values()))[0])
    cold_start = measure_age()
    if not np.isfinite(first).all():
        raise ValueError(f"click_probability: {first.tolist()}")
    return {"cold_start": cold_start, **{kind: measure(score, requests) for kind, requests in kinds.items()}}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))), flush=True)
