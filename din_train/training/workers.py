"""The workers of one training: who they are, how they meet, what they agree on, and how they end together.

`TF_CONFIG` says who they are, as TensorFlow has it: Kubernetes operators, Ray Train and `din-train launch` set it. Each
worker is a process with the same config; the first one is the chief. A process alone is a worker of one, for which
nothing here does anything.

    workers = find_workers(config.training)
    start_tensorflow(device, connect=workers.connect)
    with workers.ending_together(), strategy_scope("multi_worker"):
        ...

Importing this module does not import TensorFlow.
"""

import faulthandler
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from din_train.config import TrainingConfig
from din_train.errors import ConfigError, DinTrainError, RunError
from din_train.tensorflow_setup import build_strategy

# A peer whose port refuses two connections, so many seconds apart, has ended.
_WATCH_SECONDS = 4.0
# TensorFlow's own heartbeats find a machine that is gone or a process that hangs.
_HEARTBEAT_SECONDS = 15
_CONNECT_SECONDS = 2.0
_JOBS = ("chief", "worker")
# A program: write a line if nobody closes its input within so many seconds.
_SAY_IF_LATE = "import select, sys; select.select([0], [], [], float(sys.argv[1]))[0] or sys.stderr.write(sys.argv[2])"


@dataclass(frozen=True)
class Workers:
    """All workers of a training, as one of them sees them.

    Every worker has to call `barrier`, `agree` and `gather` equally often and in one order.

    Args:
        addresses: host:port of each worker, the chief's first; empty if this process is alone.
        index: this worker's place among them.
        start_timeout: seconds to wait for the others.
    """

    addresses: tuple[str, ...] = ()
    index: int = 0
    start_timeout: int = 300
    _left: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    @property
    def count(self) -> int:
        """How many workers there are."""
        return max(1, len(self.addresses))

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes, and says what happens."""
        return self.index == 0

    @property
    def count_here(self) -> int:
        """How many of them have this one's host, and so its memory."""
        hosts = [address.rpartition(":")[0] for address in self.addresses]
        return hosts.count(hosts[self.index]) if hosts else 1

    def connect(self, stderr: int = 2) -> None:
        """Meet the others. TensorFlow has to be imported, and must not have computed anything.

        Args:
            stderr: a descriptor for the line that says that TensorFlow did not come back.

        Raises:
            RunError: if one of them does not come in time.
        """
        if self.count == 1:
            return
        self._await_others()
        _configure_heartbeats(self)
        try:
            with self._ending_if_late(stderr):
                build_strategy("multi_worker")
        except Exception as error:
            raise RunError(f"{self._name([self.index])} could not join the others: {error}") from error
        for number in (signal.SIGINT, signal.SIGTERM):  # TensorFlow has put its own handler over Python's
            if threading.current_thread() is threading.main_thread():
                signal.signal(number, signal.getsignal(number))

    @contextmanager
    def _ending_if_late(self, stderr: int) -> Iterator[None]:
        """Inside, TensorFlow may wait for ever and hold Python's lock: then another process writes the line."""
        seconds = self.start_timeout + _HEARTBEAT_SECONDS
        line = (
            f"error: {self._name([self.index])}: TensorFlow did not join the others within {seconds} s; check that "
            "each worker can reach the others' ports, and start all workers again\n"
        )
        command = [sys.executable, "-I", "-S", "-c", _SAY_IF_LATE, str(seconds), line]
        speaker = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr)  # noqa: S603 - our own command
        faulthandler.dump_traceback_later(seconds + _CONNECT_SECONDS, exit=True)  # needs no lock
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            speaker.communicate()

    def _await_others(self) -> None:
        """Listen at this worker's address, as TensorFlow will, until each of the others has taken a connection."""
        port = int(self.addresses[self.index].rpartition(":")[2])
        end = time.monotonic() + self.start_timeout
        missing = [each for each in range(self.count) if each != self.index]
        try:
            both = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if both else socket.AF_INET
            listener = socket.create_server(("", port), family=family, backlog=2 * self.count, dualstack_ipv6=both)
        except OSError as error:
            raise RunError(
                f"worker {self.index}: port {port} of its address in TF_CONFIG cannot be used: {error.strerror}; end "
                "what uses it, or give the worker another port"
            ) from error
        with listener:
            while missing := [each for each in missing if not _answers(self.addresses[each])]:
                if time.monotonic() > end:
                    raise RunError(
                        f"{self._name(missing)} did not come within {self.start_timeout} s (training.worker_timeout); "
                        "start every worker that TF_CONFIG names, and check that each can reach the others' ports"
                    )
                time.sleep(0.2)

    def barrier(self) -> None:
        """Wait until every worker is here."""
        self.agree(False)

    def agree(self, flag: bool) -> bool:
        """Whether the flag of any worker is set."""
        return flag if self.count == 1 else bool(_sum_over_workers(np.array([flag], np.float64))[0])

    def gather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """The array of every worker, in their order. The arrays have one type; their first axis may differ in size."""
        if self.count == 1:
            return [array]
        sizes = np.zeros(self.count)
        sizes[self.index] = len(array)
        sizes = _sum_over_workers(sizes).astype(np.int64)
        row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
        ends = np.cumsum(sizes) * row_bytes
        bytes_of_all = np.zeros(-(-int(ends[-1]) // 4) * 4, np.uint8)
        mine = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        bytes_of_all[ends[self.index] - len(mine) : ends[self.index]] = mine
        # words of 32 bits are exact in float64, which every device can sum
        words = _sum_over_workers(bytes_of_all.view(np.uint32).astype(np.float64)).astype(np.uint32)
        parts = np.split(words.view(np.uint8), ends)[:-1]
        return [part.view(array.dtype).reshape(-1, *array.shape[1:]) for part in parts]

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """Inside, this process ends if another worker ends; the end is reached by all or by none.

        Raises:
            RunError: if another worker ends before.
        """
        if self.count == 1:
            yield
            return
        import tensorflow as tf

        done = self._left
        watch = threading.Thread(target=self._watch, args=[done], name="peers", daemon=True)
        watch.start()
        try:
            yield
            self.barrier()
        except (tf.errors.OpError, RuntimeError) as error:
            if isinstance(error, NotImplementedError | RecursionError) or not _is_of_collectives(error):
                raise
            raise RunError(self._describe_end(self.find_missing(patience=_WATCH_SECONDS))) from error
        finally:
            done.set()
            watch.join()

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Inside `ending_together`: an error of ours, or a signal, that leaves the body ends this worker by itself.

        What it still does needs no other worker, and may take longer than the others live.
        """
        try:
            yield
        except (DinTrainError, KeyboardInterrupt):
            self._left.set()
            raise

    def find_missing(self, patience: float = 0.0) -> list[int]:
        """The workers that take no connection, now or at a second look after `patience` seconds."""
        others = [each for each in range(self.count) if each != self.index]
        missing = [each for each in others if not _answers(self.addresses[each])]
        if not missing and patience:
            threading.Event().wait(patience)
            return self.find_missing()
        return missing

    def _watch(self, done: threading.Event) -> None:
        """End the process if a peer has ended: what it waits for in TensorFlow will not come, and cannot be left."""
        before: set[int] = set()
        while not done.wait(_WATCH_SECONDS):
            missing = set(self.find_missing())
            if before & missing and not done.wait(_WATCH_SECONDS):  # TensorFlow's error ends this one by then, or not
                sys.stdout.flush()
                os.write(2, f"error: {self._describe_end(sorted(before & missing))}\n".encode())
                os._exit(RunError.exit_code)
            before = missing

    def _describe_end(self, missing: list[int]) -> str:
        name = self._name(missing) if missing else "another worker"
        return f"{name} has ended, so worker {self.index} ends as well; start all workers again with --resume"

    def _name(self, indices: list[int]) -> str:
        return ", ".join(f"worker {each} at {self.addresses[each]}" for each in indices)


def find_workers(training: TrainingConfig, environment: Mapping[str, str] = os.environ) -> Workers:
    """The workers that `TF_CONFIG` names if `training.strategy` is multi_worker; else this process is alone.

    Raises:
        ConfigError: if it does not name them, or names several for another strategy.
    """
    text = environment.get("TF_CONFIG", "")
    is_wanted = training.strategy == "multi_worker"
    if not text:
        if is_wanted:
            raise ConfigError(
                "training.strategy: received 'multi_worker', but the environment has no TF_CONFIG, which names the "
                "workers; start them with `din-train launch --workers N -- fit ...`, or by a system that sets it"
            )
        return Workers()
    addresses, index = _parse_cluster(text)
    if is_wanted:
        return Workers(addresses if len(addresses) > 1 else (), index, training.worker_timeout)
    if len(addresses) > 1:
        raise ConfigError(
            f"training.strategy: received '{training.strategy}', but TF_CONFIG names {len(addresses)} workers, which "
            "would all do the same; set it to multi_worker, or remove TF_CONFIG from the environment"
        )
    return Workers()


def _parse_cluster(text: str) -> tuple[tuple[str, ...], int]:
    """The addresses in `TF_CONFIG`, and this process's place among them."""
    expected = (
        '; expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}, with the '
        "chief in the list or as a job of its own"
    )
    try:
        given = json.loads(text)
        cluster, task = given.get("cluster", {}), given.get("task", {})
        jobs = {job: [str(each) for each in cluster.get(job, [])] for job in _JOBS}
        job, index = task.get("type", "worker"), int(task.get("index", 0))
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"TF_CONFIG: received {text!r}{expected}") from error
    addresses = tuple(each for job in _JOBS for each in jobs[job])
    if not all(map(_is_address, addresses)):
        raise ConfigError(f"TF_CONFIG: received the addresses {', '.join(addresses)}{expected}")
    if addresses and (job not in jobs or not 0 <= index < len(jobs[job])):
        raise ConfigError(f"TF_CONFIG: received task {job} {index}, which its cluster does not name{expected}")
    return addresses, index + (len(jobs["chief"]) if job == "worker" else 0)


def _is_address(text: str) -> bool:
    """Whether it is host:port."""
    host, _, port = text.rpartition(":")
    return host != "" and port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65_536


def _configure_heartbeats(workers: Workers) -> None:
    """Set how long TensorFlow waits for workers to come, and for their signs of life, before it is started."""
    from tensorflow.python.eager import context

    cluster = json.loads(os.environ["TF_CONFIG"])["cluster"]
    jobs = [
        context.coordination_config_pb2.CoordinatedJob(name=job, num_tasks=len(cluster[job]))
        for job in _JOBS
        if cluster.get(job)
    ]
    leader = "/job:chief/replica:0/task:0" if cluster.get("chief") else "/job:worker/replica:0/task:0"
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=leader,
        cluster_register_timeout_in_ms=workers.start_timeout * 1000,
        heartbeat_timeout_in_ms=_HEARTBEAT_SECONDS * 1000,
        shutdown_barrier_timeout_in_ms=_HEARTBEAT_SECONDS * 1000,
        coordinated_jobs=jobs,
    )


def _sum_over_workers(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of every worker's array of one shape."""
    total: NDArray[np.float64] = _build_sum()(values).numpy()
    return total


@cache
def _build_sum() -> Any:
    """[N] float64 of this worker -> [N] the sum over the workers."""
    import tensorflow as tf

    strategy = build_strategy("multi_worker")
    replicas = len(strategy.extended.worker_devices)  # of this worker

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float64)])
    def add(mine: tf.Tensor) -> tf.Tensor:
        def add_in_replica() -> tf.Tensor:
            replica = tf.distribute.get_replica_context()
            is_first = replica.replica_id_in_sync_group % replicas == 0
            return replica.all_reduce("SUM", tf.where(is_first, mine, tf.zeros_like(mine)))

        return strategy.experimental_local_results(strategy.run(add_in_replica))[0]

    return add


def _is_of_collectives(error: Exception) -> bool:
    """Whether TensorFlow says by this error that another worker is gone."""
    import tensorflow as tf

    kinds = (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
        tf.errors.UnavailableError,
    )
    return isinstance(error, kinds) or "ollective" in str(error)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False
