"""The best weights of a run: written atomically, checked by SHA-256 when read."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from din_train.errors import RunError
from din_train.files import atomic_file, compute_sha256
from din_train.model.ranking_model import RankingModel

WEIGHTS = "best.weights.h5"
RECORD = "best.json"


@dataclass(frozen=True)
class Checkpoint:
    """What `best.json` says of the weights beside it.

    epoch: from 1. data_fingerprint: of the prepared data set the model was trained on.
    """

    epoch: int
    data_fingerprint: str
    sha256: str


def write_checkpoint(folder: Path, model: RankingModel, *, epoch: int, data_fingerprint: str) -> None:
    """Save the weights, then the record that makes them valid."""
    with atomic_file(folder / WEIGHTS) as temporary:
        model.save_weights(temporary)
        sha256 = compute_sha256(temporary)
    with atomic_file(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(asdict(Checkpoint(epoch, data_fingerprint, sha256)), indent=2) + "\n")


def read_checkpoint(folder: Path) -> Checkpoint:
    """The record of the saved weights, after checking the weights against it.

    Raises:
        RunError: if there are no weights, or they are damaged.
    """
    record, weights = folder / RECORD, folder / WEIGHTS
    try:
        checkpoint = Checkpoint(**json.loads(record.read_text()))
    except FileNotFoundError:
        raise RunError(
            f"{folder}: no weights saved; the run stopped before its first epoch ended, train it again"
        ) from None
    except (ValueError, TypeError) as error:
        raise RunError(f"{record}: damaged ({error}); train the run again") from None
    if not weights.is_file() or compute_sha256(weights) != checkpoint.sha256:
        raise RunError(f"{weights}: missing or damaged (its SHA-256 is not the one in {RECORD}); train the run again")
    return checkpoint


def load_weights(folder: Path, model: RankingModel) -> Checkpoint:
    """Load the saved weights into a built model.

    Raises:
        RunError: if there are no weights, they are damaged, or of another model.
    """
    checkpoint = read_checkpoint(folder)
    try:
        model.load_weights(folder / WEIGHTS)
    except (ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(f"{folder / WEIGHTS}: the weights do not fit the run's config ({reason})") from None
    return checkpoint
