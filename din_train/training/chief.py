"""What only the chief of several workers does, and how the others learn of it.

The chief alone writes, and says what happens. The others open what it has written, on storage that all share, and wait
for what a network file system shows them late. If there is one worker, it is the chief, and nothing waits.
"""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from din_train.dataset.manifest import read_manifest
from din_train.dataset.store import PreparedData, open_store
from din_train.errors import DataError, DinTrainError, RunError
from din_train.run_directory import RunDirectory
from din_train.signals import note_signal, received_signal
from din_train.training.workers import Workers

if TYPE_CHECKING:
    from din_train.model.ranking_model import RankingModel
    from din_train.training.checkpoint import Checkpoint, Position, State

T = TypeVar("T")

# How late a worker may see what another one has written.
_SEEN_WITHIN = 90.0


def tell(workers: Workers, find: Callable[[], T]) -> T:
    """What `find` gives on the chief, made of JSON values, on every worker; on the others it is not called.

    They wait for it, however long it takes, and a signal can end the wait.
    """
    if workers.count == 1:
        return find()
    text = json.dumps(find()).encode() if workers.is_chief else b""
    parts = call_aside(lambda: workers.gather(np.frombuffer(text, np.uint8)))
    told: T = json.loads(parts[0].tobytes())
    return told


def call_aside(call: Callable[[], T]) -> T:
    """Call it in another thread.

    So signals reach this one while TensorFlow waits for other workers; and what Keras counts for each thread (names,
    the generator of seeds) stays equal on all workers, though only one of them makes the call.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="other workers", daemon=True).start()
    return result.result()


def is_stopped(workers: Workers) -> bool:
    """Whether a signal has reached any worker: then this one has received it as well."""
    own = received_signal()
    if workers.count == 1 or not workers.agree(own is not None):
        return own is not None
    numbers = np.concatenate(workers.gather(np.array([own or 0], np.int64)))
    note_signal(int(numbers[numbers > 0][0]))
    return True


def join_rows(workers: Workers, rows: NDArray[Any]) -> NDArray[Any]:
    """The rows of all workers, in the workers' order."""
    return np.concatenate(workers.gather(rows))


def cut_share(workers: Workers, num_rows: int, batch_size: int) -> NDArray[np.int64] | None:
    """This worker's share of some rows: whole batches, so that scores are the same bits; None: all.

    A score depends on the other rows of its batch in its last bits alone, but it does.
    """
    if workers.count == 1:
        return None
    batches = np.arange(-(-num_rows // batch_size))
    mine = np.array_split(batches, workers.count)[workers.index]
    return np.arange(mine[0] * batch_size, min((mine[-1] + 1) * batch_size, num_rows)) if len(mine) else mine


def open_told_data(workers: Workers, folder: Path, fingerprint: str, temp_folder: Path | None) -> PreparedData:
    """The data set that the chief has prepared: the same folder, or a copy of it; `temp_folder` as in `open_store`.

    Raises:
        DataError: if it is not there.
    """

    def look() -> bool:
        manifest = read_manifest(folder)
        return manifest is not None and manifest.fingerprint == fingerprint

    if not _wait_to_see(look):
        raise DataError(
            f"{folder.absolute()}: worker {workers.index} does not find the data set here that worker 0 has prepared; "
            "data.prepared has to lie on storage that all workers share, or each has to have a copy of it"
        )
    return open_store(folder, temp_folder=temp_folder)


def open_told_state(workers: Workers, run: RunDirectory, identity: str, position: "Position | None") -> "State | None":
    """The state that the chief goes on from, in the run directory that it has opened.

    Args:
        identity: of the chief's, see `RunDirectory.compute_identity`. position: None if training begins.

    Raises:
        RunError: if this worker does not see it.
    """
    from din_train.training.checkpoint import read_state

    states: list[State] = []

    def look() -> bool:
        if run.compute_identity() != identity:
            return False
        if position is not None:
            states.append(read_state(run.checkpoints, position))
        return True

    if not _wait_to_see(look):
        raise _describe_unseen(workers, run.path)
    return states[0] if states else None


def load_same_weights(workers: Workers, folder: Path, model: "RankingModel") -> "Checkpoint":
    """Load the saved weights, the same ones into every worker's model; see `load_weights`."""
    from din_train.training.checkpoint import Checkpoint, load_weights

    if workers.count == 1:
        return load_weights(folder, model)
    checkpoint = Checkpoint(**tell(workers, lambda: asdict(load_weights(folder, model))))
    if not workers.is_chief and not _wait_to_see(lambda: load_weights(folder, model) == checkpoint):
        raise _describe_unseen(workers, folder)
    return checkpoint


def _describe_unseen(workers: Workers, folder: Path) -> RunError:
    return RunError(
        f"{folder.absolute()}: worker {workers.index} does not see here what worker 0 has written; the run directory "
        "has to lie on storage that all workers share (--run-dir)"
    )


def _wait_to_see(look: Callable[[], bool]) -> bool:
    """Whether it is seen in time; a file that cannot be read yet is not."""
    deadline = time.monotonic() + _SEEN_WITHIN
    while True:
        try:
            if look():
                return True
        except (DinTrainError, OSError, ValueError, KeyError, TypeError):
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
