"""Start TensorFlow: its chatter kept from the user, Keras on its backend, the device as configured.

Modules that use TensorFlow import it at their top; commands call `start_tensorflow` before importing them.
"""

import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

from din_train.config import TrainingConfig
from din_train.errors import ConfigError, DinTrainError, RunError

# What TensorFlow maps before it computes anything is 2.2 GB; with less than this it aborts the process, now or later.
LEAST_ADDRESS_SPACE = 3_000_000_000


def start_tensorflow(
    device: str = "auto", *, deterministic: bool = False, connect: Callable[[int], object] | None = None
) -> None:
    """Import TensorFlow quietly and restrict it to the device.

    Args:
        device: `training.device`: auto (a GPU if there is one), cpu or gpu.
        deterministic: `training.deterministic`: every operation gives the same bits each time.
        connect: called before TensorFlow computes anything, with a descriptor of stderr: see `Workers.connect`.

    Raises:
        ConfigError: if `gpu` is asked for and TensorFlow sees none.
        RunError: if the process may not have the address space that TensorFlow takes.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE:
        raise RunError(
            f"this process may have {limit:,} bytes of address space (`ulimit -v`), and TensorFlow needs "
            f"{LEAST_ADDRESS_SPACE:,}; raise the limit"
        )
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if connect is None else "3")  # our line says that a worker ended
    with _silenced_stderr() as stderr:
        import keras  # noqa: F401
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # it takes one model a seed for needless retracing
        gpus = tf.config.list_physical_devices("GPU")
        if device == "gpu" and not gpus:
            raise ConfigError(
                "training.device: received 'gpu', but TensorFlow sees no GPU; install din-train[gpu] and a driver, "
                "or use training.device=auto"
            )
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        _leave_sums_alone()
        try:
            if device == "cpu" and gpus:
                tf.config.set_visible_devices([], "GPU")
            for gpu in gpus if device != "cpu" else ():
                tf.config.experimental.set_memory_growth(gpu, True)
            if device == "cpu" or not gpus:
                _choose_threads(tf.config.threading)
        except RuntimeError:
            pass  # started before in this process: devices are fixed by then
        if connect is not None:
            connect(stderr)
        tf.constant(0) + 1  # starts the runtime, which has chatter of its own


def _leave_sums_alone() -> None:
    """Turn off the optimizer of memory, which has no public option; it is called before the runtime starts.

    From a table of about 200 MB on it makes the sums of a step's loops use one temporary variable for all turns of a
    loop in a loop. Turns run side by side, and the second to come fails with `AlreadyExistsError`.
    """
    from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
    from tensorflow.python.eager import context

    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.memory_optimization = rewriter_config_pb2.RewriterConfig.NO_MEM_OPT
    context.context()._config = config


def uses_xla(training: TrainingConfig) -> bool:
    """What `training.jit_compile` comes to. `auto` is off, on a GPU too: compiling took too long on the one tried."""
    return training.jit_compile == "on"


@contextmanager
def full_float32() -> Iterator[None]:
    """Without TensorFloat-32, in which a GPU multiplies float32 matrices by default: it keeps 10 bits of a factor."""
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def strategy_scope(strategy: str) -> AbstractContextManager[object]:
    """What models are built and fitted in, for `training.strategy`."""
    if strategy == "none":
        return nullcontext()
    scope: AbstractContextManager[object] = build_strategy(strategy).scope()
    return scope


@cache
def build_strategy(name: str) -> Any:
    """One for all trainings of a process: `mirrored` or `multi_worker`.

    `mirrored` has a replica on every device there is: the GPUs, or else the CPU's logical devices, one unless they were
    configured. `multi_worker` has one on every GPU, or else on the CPU, of every process that `TF_CONFIG` names.

    TensorFlow remembers the shape of each sum over replicas by a number, for as long as the process lives, and every
    strategy counts from the same number: a second strategy's sums would be taken for those of the first.
    """
    import tensorflow as tf

    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([each.name for each in devices])


def _choose_threads(threading: Any) -> None:
    """Few threads an operation, more operations at once: batches come in parts that are worked on side by side.

    Waking a second core for each of a few hundred small operations costs more than it gives.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "TF_NUM_INTRAOP_THREADS" not in os.environ:
        threading.set_intra_op_parallelism_threads(max(1, cores // 2))
    if "TF_NUM_INTEROP_THREADS" not in os.environ:
        threading.set_inter_op_parallelism_threads(max(2, cores))


@contextmanager
def _silenced_stderr() -> Iterator[int]:
    """Keep file descriptor 2 in a temporary file (TensorFlow writes below Python); show it only if the body fails.

    The body gets a descriptor of what is shown at once.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield saved
        except (DinTrainError, KeyboardInterrupt):
            raise
        except BaseException:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
