"""`environment.json`: the versions, machine and command that a run came of."""

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

import orjson

from din_train.checksums import indexed_file
from din_train.errors import RunError
from din_train.run_directory import RunDirectory


@contextmanager
def recorded_environment(run: RunDirectory, prepared: Path) -> Iterator[None]:
    """Write `environment.json` now, and again with the seconds that the body took, however it ends.

    A run that goes on keeps the start and the command it began with; its seconds are the sum of its processes'.
    TensorFlow has started. `prepared` is the data set's folder.
    """
    started = datetime.now(UTC)
    earlier = _read_earlier(run)
    environment = {
        **describe_machine(),
        "device": _describe_device(),
        "command": earlier.get("command") or describe_command(sys.argv),
        "started": earlier.get("started") or started.isoformat(timespec="seconds"),
        "run_directory": str(run.path.absolute()),
        "prepared": str(prepared.absolute()),
    }
    clock = time.monotonic()
    before = float(earlier.get("seconds") or 0.0)
    _write(run, {**environment, "seconds": round(before, 1)})
    try:
        yield
    finally:
        _write(run, {**environment, "seconds": round(before + time.monotonic() - clock, 1)})


def describe_machine() -> dict[str, Any]:
    """The versions, the platform and the cores at hand; TensorFlow need not have started."""
    return {
        "din_train": version("din-train"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "keras", "numpy")},
        "platform": platform.platform(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def describe_command(arguments: list[str]) -> str:
    """A process's arguments as one would type them: `din-train fit --config configs/sample.yaml`."""
    program = Path(arguments[0])
    is_ours = program.name == "din-train" or program.parts[-2:] == ("din_train", "__main__.py")
    return shlex.join(["din-train" if is_ours else program.name, *arguments[1:]])


def _read_earlier(run: RunDirectory) -> dict[str, Any]:
    """What an earlier process of the run wrote; nothing where that is missing or damaged: it stops no training."""
    try:
        return run.read_environment()
    except RunError:
        return {}


def _write(run: RunDirectory, environment: dict[str, Any]) -> None:
    with indexed_file(run.environment_file) as temporary:
        temporary.write_bytes(orjson.dumps(environment, option=orjson.OPT_INDENT_2) + b"\n")


def _describe_device() -> str:
    """`CPU`, or the GPUs' names."""
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    names = [str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)) for gpu in gpus]
    return ", ".join(names) or "CPU"
