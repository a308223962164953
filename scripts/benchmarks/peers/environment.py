"""Throw-away virtual environments, one per peer, with pinned packages from wherever pip is configured to look."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from child_process import MeasurementError

MARKER = "complete.json"  # written last: what the environment was made of


@dataclass(frozen=True)
class Peer:
    """Another toolkit.

    worker: the file in this folder that trains its DIN.
    requirements: what pip installs.
    newest_python: the newest Python that its pinned packages have wheels for, None if ours will do.
    """

    name: str
    worker: str
    requirements: tuple[str, ...]
    newest_python: tuple[int, int] | None = None


PEERS = {
    "deepctr": Peer(
        name="deepctr",
        worker="deepctr_worker.py",
        requirements=("deepctr==0.9.4", "tensorflow-cpu==2.15.1", "numpy==1.26.4", "h5py==3.16.0"),
        newest_python=(3, 11),
    ),
    # torch: a CPU build where pip has one for this version, else the CUDA build, which is big and runs on the CPU too.
    "fuxictr": Peer(
        name="fuxictr",
        worker="fuxictr_worker.py",
        requirements=("fuxictr==2.3.10", "torch==2.13.0", "polars==1.30.0", "numpy==2.4.6", "pandas==3.1.1"),
    ),
}


def provide_environment(peer: Peer, folder: Path) -> Path:
    """The Python of the peer's environment in `folder`, built unless a complete one of the same packages is there.

    Raises:
        MeasurementError: if there is no Python for it, or pip fails. What was begun is removed.
    """
    base = find_python(peer.newest_python)
    environment = folder / f"env-{peer.name}"
    python, marker = environment / "bin" / "python", environment / MARKER
    made_of = json.dumps({"python": base, "requirements": peer.requirements})
    if marker.is_file() and marker.read_text(encoding="utf-8") == made_of:
        return python
    shutil.rmtree(environment, ignore_errors=True)
    try:
        # Without ensurepip, which some systems lack: our own pip installs into it.
        _run([base, "-m", "venv", "--without-pip", environment], "no virtual environment")
        _run(
            [sys.executable, "-m", "pip", "--python", python, "install", "--no-input", *peer.requirements],
            "cannot be installed",
        )
        marker.write_text(made_of, encoding="utf-8")
    finally:
        if not marker.is_file():
            shutil.rmtree(environment, ignore_errors=True)
    return python


def find_python(newest: tuple[int, int] | None) -> str:
    """Our Python, or, if it is newer than `newest`, a python3.<minor> on the path that starts.

    Raises:
        MeasurementError: if there is none.
    """
    if newest is None or sys.version_info[:2] <= newest:
        return sys.executable
    for minor in range(newest[1], 8, -1):
        found = shutil.which(f"python3.{minor}")
        if found is not None and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return found
    raise MeasurementError(f"needs Python 3.9 to 3.{newest[1]}; put a python3.{newest[1]} on the path")


def _run(command: list[object], failure: str) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")] or lines or [f"exit code {done.returncode}"]
        raise MeasurementError(f"{failure}: {errors[-1].removeprefix('ERROR:').strip()}")
