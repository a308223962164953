"""The processes of several workers on one machine: started, watched, started again when one is killed.

Each worker is a process that finds in `TF_CONFIG` who it is and where the others are, as Kubernetes or Slurm would tell
it. Workers without one of them cannot go on, so that all of them are started again, and resume from the newest state.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, TextIO

from din_train.errors import Interrupted, RunError
from din_train.signals import deferred_signals, interrupted_exit_code, name_signal, received_signal
from din_train.terminal import say

Process = subprocess.Popen[str]

_POLL_SECONDS = 0.1
# How long the others may take to end by themselves: after one has failed, and after one has ended by a signal.
_SECONDS_AFTER_FAILURE, _SECONDS_AFTER_SIGNAL = 10.0, 60.0
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def run_workers(build_command: Callable[[bool], Sequence[str]], *, workers: int, restarts: int, go_on: str) -> None:
    """Run a command in several processes, which are told of each other by `TF_CONFIG`, until all have ended.

    SIGINT and SIGTERM are passed on to all. None outlives this call; on Linux none outlives this process either.

    Args:
        build_command: is told whether it is a restart.
        go_on: the command that goes on with what was stopped.

    Raises:
        Interrupted: if a signal ended them.
        RunError: if a worker has failed, with its exit code, or was killed more often than they are started again.
    """
    with deferred_signals():
        for restart in range(restarts + 1):
            with _started(build_command(restart > 0), workers) as processes:
                failure = _watch(processes)
            if failure is None:
                return
            if received_signal() is not None:
                raise Interrupted(f"stopped by {name_signal()}; go on with `{go_on}`", interrupted_exit_code())
            index, exit_code = failure
            if exit_code > 0:
                error = RunError(f"worker {index}: ended with exit code {exit_code}; its lines above say why")
                error.exit_code = exit_code
                raise error
            killed = f"worker {index}: killed by {signal.Signals(-exit_code).name}"
            if restart < restarts:
                say(f"{killed}; all {workers} are started again with --resume ({restart + 1} of {restarts} restarts)")
        raise RunError(f"{killed}, and {restarts} restarts are used up (--restarts); go on with `{go_on}`")


@contextmanager
def _started(command: Sequence[str], workers: int) -> Iterator[list[Process]]:
    """The processes; those that still run at the end of the body are killed."""
    processes: list[Process] = []
    copiers: list[threading.Thread] = []
    try:
        for environment in _build_environments(workers):
            process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # so that Ctrl-C reaches it once, from this process
                preexec_fn=_end_with_this_process(),
            )
            processes.append(process)
        lock = threading.Lock()
        for index, process in enumerate(processes):
            for pipe, sink in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                copiers.append(threading.Thread(target=_copy_lines, args=(pipe, sink, f"[{index}] ", lock)))
                copiers[-1].start()
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        for copier in copiers:
            copier.join(timeout=5)


def _build_environments(workers: int) -> Iterator[Mapping[str, str]]:
    """For each worker: who it is, where all are, and its share of the cores, unless the user has chosen."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = {
        "TF_NUM_INTRAOP_THREADS": str(max(1, cores // workers // 2)),
        "TF_NUM_INTEROP_THREADS": str(max(2, cores // workers)),
    }
    addresses = [f"127.0.0.1:{port}" for port in _find_free_ports(workers)]
    for index in range(workers):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        yield {**threads, **os.environ, "TF_CONFIG": json.dumps(config)}


def _find_free_ports(count: int) -> list[int]:
    with ExitStack() as stack:  # all at once, so that they differ
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _end_with_this_process() -> Callable[[], None] | None:
    """What a child calls first, so that the kernel kills it when this process ends, whatever ends it. Linux only."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended meanwhile
            os._exit(1)

    return ask


def _copy_lines(pipe: IO[str], sink: TextIO, prefix: str, lock: threading.Lock) -> None:
    """Write each line with the worker's prefix; lines that nobody reads any longer are dropped."""
    with pipe:
        for line in pipe:
            with lock, contextlib.suppress(OSError, ValueError):
                sink.write(f"{prefix}{line.rstrip()}\n")
                sink.flush()


def _watch(processes: Sequence[Process]) -> tuple[int, int] | None:
    """Wait until all have ended, or all that can be expected to.

    Returns:
        The index and the exit code of the first that did not end well; None if all did.
    """
    first: tuple[int, int] | None = None
    passed_on, deadline = False, float("inf")
    while True:
        number = received_signal()
        if number is not None and not passed_on:
            for process in processes:
                process.send_signal(number)
            passed_on = True
        if any(process.poll() is not None for process in processes):
            # Asked once more: one that ended because another was killed is never seen before that one.
            ends = [(index, code) for index, process in enumerate(processes) if (code := process.poll()) is not None]
            first = first or min((end for end in ends if end[1] != 0), key=lambda end: end[1], default=None)
            is_killed = first is not None and first[1] < 0 and not passed_on
            if is_killed or len(ends) == len(processes):
                return first
            if time.monotonic() > deadline:
                late = next(index for index in range(len(processes)) if index not in dict(ends))
                return first or (late, -signal.SIGKILL)  # which it gets now
            if first or passed_on:
                seconds = _SECONDS_AFTER_SIGNAL if passed_on else _SECONDS_AFTER_FAILURE
                deadline = min(deadline, time.monotonic() + seconds)
        time.sleep(_POLL_SECONDS)
