"""The best weights of a run: written atomically, checked by SHA-256 when read.

`best.weights.h5` and `best.json` are two files, and one may be newer than the other where a run was killed, or newer
than the state that training goes on from. So weights that are replaced stay under a name of their own for as long as a
saved state names them, and `restore_best` puts them back.
"""

import os
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import orjson

from din_train.checksums import indexed_file, read_indexed
from din_train.errors import RunError
from din_train.files import atomic_file, compute_sha256
from din_train.model.ranking_model import RankingModel

WEIGHTS = "best.weights.h5"
RECORD = "best.json"


@dataclass(frozen=True)
class Checkpoint:
    """What `best.json` says of the weights beside it.

    epoch: the chosen one, from 1. data_fingerprint: of the prepared data set the model was trained on.
    refit: whether they were trained again on training and validation rows, for `epoch` epochs.
    """

    epoch: int
    data_fingerprint: str
    sha256: str
    refit: bool = False


def write_checkpoint(
    folder: Path, model: RankingModel, *, epoch: int, data_fingerprint: str, refit: bool = False
) -> Checkpoint:
    """Save the weights, then the record that makes them valid; the weights they replace are kept beside them."""
    with atomic_file(folder / WEIGHTS) as temporary:
        model.save_weights(temporary)
        sha256 = compute_sha256(temporary)
        if (folder / WEIGHTS).exists():
            _link(folder / WEIGHTS, _replaced_file(folder, compute_sha256(folder / WEIGHTS)))
    checkpoint = Checkpoint(epoch, data_fingerprint, sha256, refit)
    _write_record(folder, checkpoint)
    return checkpoint


def restore_best(folder: Path, checkpoint: Checkpoint | None) -> bool:
    """Make these the best weights again, whatever was saved since; None: there were none yet.

    Returns:
        Whether they are still there.
    """
    weights = folder / WEIGHTS
    if checkpoint is None:
        remove_best(folder)
        return True
    files = (weights, _replaced_file(folder, checkpoint.sha256))
    there = [each for each in files if each.is_file() and compute_sha256(each) == checkpoint.sha256]
    if not there:
        return False
    if there[0] != weights:
        _link(there[0], weights)
    _write_record(folder, checkpoint)
    return True


def remove_best(folder: Path) -> None:
    """Be without best weights."""
    for name in (WEIGHTS, RECORD):
        (folder / name).unlink(missing_ok=True)


def remove_replaced(folder: Path, needed: Collection[str]) -> None:
    """Remove replaced weights but those with the given SHA-256."""
    keep = {_replaced_file(folder, sha256) for sha256 in needed}
    for path in folder.glob("replaced-*.weights.h5"):
        if path not in keep:
            path.unlink()


def read_checkpoint(folder: Path) -> Checkpoint:
    """The record of the saved weights, after checking the weights against it.

    Raises:
        RunError: if there are no weights, or they are damaged.
    """
    checkpoint = read_record(folder)
    weights = folder / WEIGHTS
    if not weights.is_file() or compute_sha256(weights) != checkpoint.sha256:
        raise RunError(_describe_damage(weights))
    return checkpoint


def read_record(folder: Path) -> Checkpoint:
    """What is said of the saved weights; they are not looked at.

    Raises:
        RunError: if there are none, or it is damaged.
    """
    record = folder / RECORD
    try:
        checkpoint = Checkpoint(**orjson.loads(read_indexed(record, "train the run again", folder.parent)))
    except FileNotFoundError:
        raise RunError(
            f"{folder}: no weights saved; the run stopped before its first epoch ended, go on with it by "
            f"`din-train fit --config {folder.parent / 'config.yaml'} --run-dir {folder.parent} --resume`"
        ) from None
    return checkpoint


def load_weights(folder: Path, model: RankingModel) -> Checkpoint:
    """Load the saved weights into a built model.

    What is checked is what is loaded, a copy of our own: another process may give the run other weights meanwhile.

    Returns:
        Their record.

    Raises:
        RunError: if there are no weights, they are damaged, or of another model.
    """
    checkpoint = read_record(folder)
    with tempfile.TemporaryDirectory(prefix="din-train-") as place:
        copy = Path(place) / WEIGHTS
        for each in (folder / WEIGHTS, _replaced_file(folder, checkpoint.sha256)):  # there between two renames
            if each.is_file():
                shutil.copyfile(each, copy)
                if compute_sha256(copy) == checkpoint.sha256:
                    break
        else:
            raise RunError(_describe_damage(folder / WEIGHTS))
        _load(copy, folder / WEIGHTS, model)
    return checkpoint


def _load(copy: Path, weights: Path, model: RankingModel) -> None:
    try:
        model.load_weights(copy)
    except (ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(f"{weights}: the weights do not fit the run's config ({reason})") from None


def _describe_damage(weights: Path) -> str:
    return f"{weights}: missing or damaged (its SHA-256 is not the one in {RECORD}); train the run again"


def _write_record(folder: Path, checkpoint: Checkpoint) -> None:
    with indexed_file(folder / RECORD, folder.parent) as temporary:
        temporary.write_bytes(orjson.dumps(checkpoint, option=orjson.OPT_INDENT_2) + b"\n")


def _replaced_file(folder: Path, sha256: str) -> Path:
    return folder / f"replaced-{sha256[:16]}.weights.h5"


def _link(source: Path, target: Path) -> None:
    """A second name for the file, a copy where the file system has no links."""
    with atomic_file(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
