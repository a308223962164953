"""What this machine has: memory, the memory of its GPU, and free disk space."""

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

# Limits of the control group that a container runs in, versions 2 and 1.
_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def find_memory() -> int:
    """Bytes of memory that this process may have: the machine's, or its container's if that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in _GROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
            total = min(total, int(Path(name).read_text(encoding="ascii")))
    return total


def find_gpu_memory() -> int | None:
    """Bytes of memory of the smallest GPU that the driver names; None if there is no driver that says."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout  # noqa: S603
        return min(int(line) for line in said.split()) << 20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def find_disk(path: Path) -> tuple[int, int]:
    """(number of the disk that `path` is or will be on, bytes that are free there)."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    return there.stat().st_dev, shutil.disk_usage(there).free


def read_peak_memory() -> int:
    """The most memory that this process has had, in bytes."""
    with contextlib.suppress(OSError):  # not on Linux, where `getrusage` may give the parent process's
        said = Path("/proc/self/status").read_text(encoding="ascii")
        if found := re.search(r"VmHWM:\s+(\d+) kB", said):
            return int(found[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
