"""What is saved of a training: the best weights so far, and whole states from which a stopped training goes on.

checkpoints/
    best.weights.h5          the weights of the best epoch so far
    best.json                their epoch, data set and SHA-256, see `Checkpoint`; other weights are damaged
    replaced-*.weights.h5    earlier best weights, as long as a saved state needs them
    state-2-40.npz           the state after 2 epochs and 40 steps of the third; `state-refit-...` during the refit
    state-2-40.json          its SHA-256, written last: a state without it does not count

A kill can leave any of these files newer than the others. So every state names its best weights by their SHA-256, and
reading a state puts these weights back in place. The data need no state: their order, replaced ids and negatives are
functions of seed, epoch and step.
"""

import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import orjson
import tensorflow as tf
from numpy.typing import NDArray

from din_train.checksums import indexed_file, read_indexed
from din_train.errors import RunError
from din_train.files import atomic_file, compute_sha256
from din_train.model.ranking_model import RankingModel

Phase = Literal["selection", "refit"]

_WEIGHTS = "best.weights.h5"
_RECORD = "best.json"
_STATE_NAME = re.compile(r"state-(refit-)?(\d+)-(\d+)\.json")
_VARIABLE_GROUPS = ("model", "optimizer", "metrics")


@dataclass(frozen=True)
class Checkpoint:
    """What `best.json` says about the weights beside it.

    epoch: the chosen one, from 1. data_fingerprint: of the prepared data set that the model was trained on.
    refit: whether the weights come from the refit, which trains for `epoch` epochs on training and validation rows.
    """

    epoch: int
    data_fingerprint: str
    sha256: str
    refit: bool = False


def write_checkpoint(
    folder: Path, model: RankingModel, *, epoch: int, data_fingerprint: str, refit: bool = False
) -> Checkpoint:
    """Save the weights, then the record that makes them valid. The weights that they replace are kept beside them."""
    with atomic_file(folder / _WEIGHTS) as temporary:
        _call_outside_strategy(lambda: model.save_weights(temporary))
        sha256 = compute_sha256(temporary)
        if (folder / _WEIGHTS).exists():
            _link(folder / _WEIGHTS, _name_replaced(folder, compute_sha256(folder / _WEIGHTS)))
    checkpoint = Checkpoint(epoch, data_fingerprint, sha256, refit)
    _write_record(folder, checkpoint)
    return checkpoint


def read_checkpoint(folder: Path) -> Checkpoint:
    """The record of the saved weights, after checking the weights against it.

    Raises:
        RunError: if there are no weights, or they are damaged.
    """
    checkpoint = read_record(folder)
    weights = folder / _WEIGHTS
    if not weights.is_file() or compute_sha256(weights) != checkpoint.sha256:
        raise RunError(_describe_damage(weights))
    return checkpoint


def read_record(folder: Path) -> Checkpoint:
    """The record of the saved weights; the weights are not looked at.

    Raises:
        RunError: if there is none, or it is damaged.
    """
    try:
        return Checkpoint(**orjson.loads(read_indexed(folder / _RECORD, "train the run again", folder.parent)))
    except FileNotFoundError:
        raise RunError(
            f"{folder}: no weights saved; the run stopped before its first epoch ended, go on with it by "
            f"`din-train fit --config {folder.parent / 'config.yaml'} --run-dir {folder.parent} --resume`"
        ) from None


def load_weights(folder: Path, model: RankingModel) -> Checkpoint:
    """Load the saved weights into a built model.

    The weights are copied, and the copy is checked and loaded: another process may replace the run's meanwhile.

    Returns:
        Their record.

    Raises:
        RunError: if there are no weights, they are damaged, or they belong to another model.
    """
    checkpoint = read_record(folder)
    weights = folder / _WEIGHTS
    with tempfile.TemporaryDirectory(prefix="din-train-") as place:
        copy = Path(place) / _WEIGHTS
        for each in (weights, _name_replaced(folder, checkpoint.sha256)):  # the second between a save's two renames
            if each.is_file():
                shutil.copyfile(each, copy)
                if compute_sha256(copy) == checkpoint.sha256:
                    break
        else:
            raise RunError(_describe_damage(weights))
        try:
            _call_outside_strategy(lambda: model.load_weights(copy))
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise RunError(f"{weights}: the weights do not fit the run's config ({reason})") from None
    return checkpoint


def _call_outside_strategy(call: Callable[[], object]) -> None:
    """Call it in a thread of its own, which is in no strategy's scope.

    Keras makes a variable when it saves or loads for the first time, and a strategy of several workers waits until all
    of them make it.
    """
    if not tf.distribute.has_strategy():
        call()
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(call).result()


def restore_best(folder: Path, checkpoint: Checkpoint | None) -> bool:
    """Make these the best weights again, whatever was saved later; None: there were no best weights yet.

    Returns:
        Whether the weights still exist.
    """
    weights = folder / _WEIGHTS
    if checkpoint is None:
        remove_best(folder)
        return True
    files = (weights, _name_replaced(folder, checkpoint.sha256))
    found = next((each for each in files if each.is_file() and compute_sha256(each) == checkpoint.sha256), None)
    if found is None:
        return False
    if found != weights:
        _link(found, weights)
    _write_record(folder, checkpoint)
    return True


def remove_best(folder: Path) -> None:
    """Remove the best weights and their record."""
    for name in (_WEIGHTS, _RECORD):
        (folder / name).unlink(missing_ok=True)


def _describe_damage(weights: Path) -> str:
    return f"{weights}: missing or damaged (its SHA-256 is not the one in {_RECORD}); train the run again"


def _write_record(folder: Path, checkpoint: Checkpoint) -> None:
    with indexed_file(folder / _RECORD, folder.parent) as temporary:
        temporary.write_bytes(orjson.dumps(checkpoint, option=orjson.OPT_INDENT_2) + b"\n")


def _name_replaced(folder: Path, sha256: str) -> Path:
    return folder / f"replaced-{sha256[:16]}.weights.h5"


def _link(source: Path, target: Path) -> None:
    """Give the file a second name; copy it if the file system has no links."""
    with atomic_file(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


@dataclass(frozen=True)
class Position:
    """How far a training has come: `epoch` epochs of the phase are done, and `step` steps of the next one."""

    phase: Phase
    epoch: int
    step: int

    def __str__(self) -> str:
        refit = " of the refit" if self.phase == "refit" else ""
        return f"epoch {self.epoch + 1}{refit}, step {self.step}" if self.step else f"epoch {self.epoch}{refit}"

    @property
    def file_stem(self) -> str:
        return f"state-{'refit-' if self.phase == 'refit' else ''}{self.epoch}-{self.step}"


@dataclass(frozen=True)
class State:
    """The whole state of a training at a position.

    done: whether the phase ends here. best: the best weights so far. history: the text of `history.jsonl` so far.
    callbacks: class name of a callback -> its `state_dict`. arrays: group -> values of its variables, in their order.
    """

    position: Position
    done: bool
    data_fingerprint: str
    best: Checkpoint | None
    history: str
    callbacks: dict[str, dict[str, Any]]
    arrays: dict[str, list[NDArray[Any]]]


def write_state(folder: Path, state: State, model: keras.Model, *, keep: int) -> None:
    """Save the state, with the model's variables as those arrays that it lacks. The newest `keep` states are kept."""
    path = folder / f"{state.position.file_stem}.npz"
    record = asdict(replace(state, arrays={}))
    with atomic_file(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            _write_array(archive, "record", np.frombuffer(json.dumps(record).encode(), np.uint8))
            for group, variables in {**_list_variables(model), **state.arrays}.items():
                for index, each in enumerate(variables):
                    _write_array(archive, f"{group}-{index}", each if isinstance(each, np.ndarray) else each.numpy())
        sha256 = compute_sha256(temporary)
    with atomic_file(path.with_suffix(".json")) as temporary:
        best = state.best.sha256 if state.best else None
        temporary.write_text(json.dumps({"sha256": sha256, "best_sha256": best}, indent=2) + "\n")
    _remove_states_but(folder, _find_positions(folder)[-keep:])


def read_newest_state(folder: Path, *, report: Callable[[str], None]) -> State | None:
    """The newest undamaged state. Its best weights are put back in place, and newer states are removed.

    Args:
        report: is given one line for every damaged state.
    """
    positions = _find_positions(folder)
    while positions:
        path = folder / f"{positions[-1].file_stem}.npz"
        try:
            state = _read_state(path)
            if not restore_best(folder, state.best):
                raise ValueError("its best weights are missing or damaged")
        except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
            report(f"{path}: damaged ({error})")
            positions.pop()
            continue
        _remove_states_but(folder, positions)
        return state
    return None


def read_state(folder: Path, position: Position) -> State:
    """The state at a position, as it was saved; nothing in the folder changes.

    Raises:
        ValueError, OSError: if it is missing or damaged.
    """
    return _read_state(folder / f"{position.file_stem}.npz")


def read_optimizer(folder: Path, checkpoint: Checkpoint) -> tuple[Position, list[NDArray[Any]]] | None:
    """The optimiser's variables, saved at the best weights' epoch, or else as soon after it as there is a state.

    Nothing in the folder changes. None if there is no undamaged state of the training that the weights are of.
    """
    phase: Phase = "refit" if checkpoint.refit else "selection"
    for position in _find_positions(folder):
        path = folder / f"{position.file_stem}.npz"
        if position.phase != phase or position.epoch < checkpoint.epoch:
            continue
        try:
            return position, _read_state(path, groups=("optimizer",)).arrays["optimizer"]
        except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile):
            continue
    return None


def find_newest_position(folder: Path) -> Position | None:
    """The position of the newest saved state, which may be damaged."""
    return next(reversed(_find_positions(folder)), None)


def restore_variables(state: State, model: keras.Model, groups: Sequence[str] = _VARIABLE_GROUPS) -> None:
    """Give the variables of a compiled model, whose optimiser is built, the values that they had.

    Args:
        groups: of `model`, `optimizer`, `metrics`.

    Raises:
        RunError: if the state belongs to another model.
    """
    variables = _list_variables(model)
    for group in groups:
        saved, own = state.arrays[group], variables[group]
        if [tuple(array.shape) for array in saved] != [tuple(variable.shape) for variable in own]:
            raise RunError(
                f"{state.position.file_stem}: the saved {group} does not fit the run's config; train the run again "
                "with --overwrite"
            )
        for variable, array in zip(own, saved, strict=True):
            variable.assign(array)


def _list_variables(model: keras.Model) -> dict[str, list[keras.Variable]]:
    """Every variable that training changes. The model's include the state of its seed generators."""
    lists = (model.variables, model.optimizer.variables, model.metrics_variables)
    return dict(zip(_VARIABLE_GROUPS, lists, strict=True))


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Add one array, so that a large model is not in memory twice."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def _read_state(path: Path, groups: Sequence[str] = _VARIABLE_GROUPS) -> State:
    if compute_sha256(path) != _read_state_record(path)["sha256"]:
        raise ValueError("its SHA-256 is not the one saved with it")
    with np.load(path, allow_pickle=False) as file:
        record = json.loads(file["record"].tobytes())
        sizes = {group: sum(name.startswith(f"{group}-") for name in file.files) for group in groups}
        arrays = {group: [file[f"{group}-{index}"] for index in range(size)] for group, size in sizes.items()}
    position, best = Position(**record["position"]), record["best"]
    changed = {"position": position, "best": Checkpoint(**best) if best else None, "arrays": arrays}
    return State(**{**record, **changed})


def _read_state_record(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = orjson.loads(path.with_suffix(".json").read_bytes())
    return record


def _find_positions(folder: Path) -> list[Position]:
    """The positions of the states that have a record, the oldest first."""
    found = [match for path in folder.glob("state-*.json") if (match := _STATE_NAME.fullmatch(path.name))]
    positions = [Position("refit" if match[1] else "selection", int(match[2]), int(match[3])) for match in found]
    return sorted(positions, key=lambda each: (each.phase == "refit", each.epoch, each.step))


def _remove_states_but(folder: Path, positions: Collection[Position]) -> None:
    """Remove the other states, and the replaced weights that none of these needs."""
    kept = {each.file_stem for each in positions}
    for suffix in (".json", ".npz"):  # in this order: a state without its record does not count
        for path in folder.glob(f"state-*{suffix}"):
            if path.stem not in kept:
                path.unlink()
    needed = set()
    for stem in kept:
        try:
            needed.add(_name_replaced(folder, str(_read_state_record(folder / f"{stem}.json")["best_sha256"] or "")))
        except (ValueError, TypeError, KeyError, OSError):
            return  # a damaged record: nobody can tell which weights it needs
    for path in folder.glob("replaced-*.weights.h5"):
        if path not in needed:
            path.unlink()
