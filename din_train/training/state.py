"""The whole state of a training, saved so that it can go on as if it had never stopped.

checkpoints/
    state-2-40.npz         after 2 epochs and 40 steps of the third; `state-refit-...` during the refit
    state-2-40.json        its SHA-256, written last: without it the other is not there
    (the best weights so far are `best.weights.h5`, or kept as `replaced-*` where newer ones took their place)

The data need no state: their order, replaced ids and negatives are functions of seed, epoch and step.
"""

import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import orjson
from numpy.typing import NDArray

from din_train.errors import RunError
from din_train.files import atomic_file, compute_sha256
from din_train.training.checkpoint import Checkpoint, remove_replaced, restore_best

Phase = Literal["selection", "refit"]
Array = NDArray[Any]

_NAME = re.compile(r"state-(refit-)?(\d+)-(\d+)\.(npz|json)")
_GROUPS = ("model", "optimizer", "metrics")


@dataclass(frozen=True)
class Position:
    """A place in a run: `epoch` epochs of the phase done, and `step` steps of the next."""

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
    """What a training is made of at a position.

    done: whether the phase ends here. best: the best weights so far. history: `history.jsonl` so far.
    callbacks: what each callback remembers, by its name. arrays: group -> its variables' values, in their order.
    """

    position: Position
    done: bool
    data_fingerprint: str
    best: Checkpoint | None
    history: str
    callbacks: dict[str, dict[str, Any]]
    arrays: dict[str, list[Array]]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The history as objects."""
        return [orjson.loads(line) for line in self.history.splitlines()]


def write_state(folder: Path, state: State, model: keras.Model, *, keep: int) -> None:
    """Save the state with the model's variables as its arrays; the last `keep` stay."""
    path = folder / f"{state.position.file_stem}.npz"
    record = asdict(replace(state, arrays={}))
    with atomic_file(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            _write_array(archive, "record", np.frombuffer(json.dumps(record).encode(), np.uint8))
            for group, variables in _list_variables(model).items():
                for index, variable in enumerate(variables):
                    _write_array(archive, f"{group}-{index}", variable.numpy())
        sha256 = compute_sha256(temporary)
    with atomic_file(path.with_suffix(".json")) as temporary:
        best = state.best.sha256 if state.best else None
        temporary.write_text(json.dumps({"sha256": sha256, "best_sha256": best}, indent=2) + "\n")
    _remove_all_but(folder, _find_positions(folder)[-keep:])


def read_newest_state(folder: Path, *, report: Callable[[str], None]) -> State | None:
    """The newest state that is whole, with its best weights put back in place; newer ones are removed.

    Args:
        report: told of every damaged one.
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
        _remove_all_but(folder, positions)
        return state
    return None


def find_newest_position(folder: Path) -> Position | None:
    """Where the newest saved state stands, whole or not."""
    return next(reversed(_find_positions(folder)), None)


def restore_variables(state: State, model: keras.Model, groups: Sequence[str]) -> None:
    """Give the variables of a compiled model, with a built optimiser, the values they had.

    Args:
        groups: of `model`, `optimizer`, `metrics`.

    Raises:
        RunError: if they are those of another model.
    """
    variables = _list_variables(model)
    for group in groups:
        there, here = state.arrays[group], variables[group]
        shapes = [tuple(array.shape) for array in there], [tuple(variable.shape) for variable in here]
        if shapes[0] != shapes[1]:
            raise RunError(
                f"{state.position.file_stem}: the saved {group} does not fit the run's config; it was saved by another "
                "version of din-train, train the run again with --overwrite"
            )
        for variable, array in zip(here, there, strict=True):
            variable.assign(array)


def _list_variables(model: keras.Model) -> dict[str, list[keras.Variable]]:
    """Every variable that training changes; the model's include the state of its seed generators."""
    lists = (model.variables, model.optimizer.variables, model.metrics_variables)
    return dict(zip(_GROUPS, lists, strict=True))


def _write_array(archive: zipfile.ZipFile, name: str, array: Array) -> None:
    """One array at a time, so that a large model is not in memory twice."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def _read_state(path: Path) -> State:
    expected = _read_record(path)["sha256"]
    if compute_sha256(path) != expected:
        raise ValueError("its SHA-256 is not the one saved with it")
    with np.load(path, allow_pickle=False) as file:
        record = json.loads(file["record"].tobytes())
        arrays = {
            group: [
                file[f"{group}-{index}"] for index in range(sum(name.startswith(f"{group}-") for name in file.files))
            ]
            for group in _GROUPS
        }
    best = record["best"]
    return State(
        **{
            **record,
            "position": Position(**record["position"]),
            "best": best and Checkpoint(**best),
            "arrays": arrays,
        }
    )


def _read_record(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = orjson.loads(path.with_suffix(".json").read_bytes())
    return record


def _find_positions(folder: Path) -> list[Position]:
    """Of the states with a record, the oldest first."""
    found = [match for path in folder.glob("state-*.json") if (match := _NAME.fullmatch(path.name))]
    positions = [Position("refit" if match[1] else "selection", int(match[2]), int(match[3])) for match in found]
    return sorted(positions, key=lambda each: (each.phase == "refit", each.epoch, each.step))


def _remove_all_but(folder: Path, positions: Sequence[Position]) -> None:
    """Remove other states, and the replaced weights that none of these names."""
    keep = {each.file_stem for each in positions}
    for suffix in (".json", ".npz"):  # in this order: a state without its record is not there
        for path in folder.glob(f"state-*{suffix}"):
            if path.stem not in keep:
                path.unlink()
    needed = set()
    for stem in keep:
        try:
            needed.add(str(_read_record(folder / f"{stem}.json")["best_sha256"] or ""))
        except (ValueError, TypeError, KeyError, OSError):
            return  # a damaged record: there is no telling which weights it needs
    remove_replaced(folder, needed)
