"""`environment.json`: the versions, the machine and the command that made a run."""

import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from din_train.checksums import write_indexed_json
from din_train.errors import RunError
from din_train.run_directory import RunDirectory


@contextmanager
def recorded_environment(run: RunDirectory, prepared: Path, workers: int = 1) -> Iterator[None]:
    """Write `environment.json` now, and again with the seconds that the body took, however it ends.

    A resumed run keeps its first start and command; its seconds are the sum over its processes. TensorFlow must run.

    Args:
        prepared: the data set's folder. workers: how many train now.
    """
    clock = time.monotonic()
    try:
        earlier = run.read_environment()
    except RunError:  # missing or damaged, but training goes on without it
        earlier = {}
    before = float(earlier.get("seconds", 0.0))
    environment = {
        **describe_machine(),
        "device": _describe_device(),
        **({"workers": workers} if workers > 1 else {}),
        "command": earlier.get("command", describe_command(sys.argv)),
        "started": earlier.get("started", datetime.now(UTC).isoformat(timespec="seconds")),
        "run_directory": str(run.path.absolute()),
        "prepared": str(prepared.absolute()),
    }
    write_indexed_json(run.environment_file, {**environment, "seconds": round(before, 1)})
    try:
        yield
    finally:
        write_indexed_json(
            run.environment_file, {**environment, "seconds": round(before + time.monotonic() - clock, 1)}
        )


def describe_machine() -> dict[str, Any]:
    """The versions, the platform and the number of cores. TensorFlow need not run."""
    return {
        "din_train": version("din-train"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "keras", "numpy")},
        "platform": platform.platform(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def describe_command(arguments: list[str]) -> str:
    """A process's arguments as a user would type them: `din-train fit --config configs/sample.yaml`."""
    program = Path(arguments[0])
    is_ours = program.name == "din-train" or program.parts[-2:] == ("din_train", "__main__.py")
    return shlex.join(["din-train" if is_ours else program.name, *arguments[1:]])


def _describe_device() -> str:
    """The GPUs' names, or `CPU`."""
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    names = [str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)) for gpu in gpus]
    return ", ".join(names) or "CPU"
