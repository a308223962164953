"""Run a program to its end, in a process of its own: what it prints at last, and what it took."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

MB = 1_000_000


class MeasurementError(click.ClickException):
    """A measurement failed. The message is one line without the name of what failed; uncaught, it ends the command."""


def run_child(command: Sequence[object], folder: Path, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a program: the JSON of its last line of output (if it is JSON), and what it took.

    `cores_used` is its CPU time over its seconds, and `load_before` how busy the machine was. If others compute at the
    same time, the first is low and the second high.

    Args:
        variables: added to its environment.

    Raises:
        MeasurementError: with the last line of its output, if it fails.
    """
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONNOUSERSITE": "1", **(variables or {})}
    with tempfile.TemporaryFile(dir=folder) as output:
        load, started = os.getloadavg()[0], time.perf_counter()
        process = subprocess.Popen(  # noqa: S603
            [str(part) for part in command], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = [line for line in output.read().decode(errors="replace").splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "no output"
    if process.returncode:
        program = command[2] if command[1] == "-m" else Path(str(command[1])).name
        raise MeasurementError(f"{program} ended with exit code {process.returncode}: {last}")
    result = json.loads(last) if last.startswith("{") else {}
    return {
        **result,
        "seconds": seconds,
        "cores_used": (usage.ru_utime + usage.ru_stime) / seconds,
        "peak_mb": usage.ru_maxrss * 1024 / MB,
        "load_before": load,
    }
