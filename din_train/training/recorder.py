"""What is recorded at each epoch's end, and which weights are kept."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from din_train.batches import TrainingBatches
from din_train.dataset.protocols import Split
from din_train.dataset.vocabulary import FIRST_REAL_ID
from din_train.errors import DataError, RunError
from din_train.evaluation.evaluate import Metrics
from din_train.model.ranking_model import RankingModel
from din_train.run_directory import RunDirectory
from din_train.signals import prompt_signals
from din_train.training.checkpoint import Checkpoint, write_checkpoint
from din_train.training.state import Phase


@dataclass(frozen=True)
class Watched:
    """A split scored after every epoch: what `history.jsonl` records, and what selection may look at.

    select: whether it chooses the epoch (`training.select_on`) or is only recorded.
    """

    split: Split
    evaluate: Callable[[], Metrics]
    select: bool

    @property
    def name(self) -> str:
        return self.split.name.lower()


class EpochRecorder(keras.callbacks.Callback):
    """After each epoch: score the watched split, keep the weights if they are the ones to keep, add to the history.

    Args:
        metric: chooses the epoch on the watched split, if that is to select.
        epochs: at most this many; a refit keeps the last one's weights.
        save_state: called where a signal cuts the scoring short, when the epoch's steps are done.
        first_step: of the first epoch, whose earlier steps another process has done.
        best: the best weights so far.
    """

    def __init__(
        self,
        batches: TrainingBatches,
        run: RunDirectory,
        *,
        phase: Phase,
        epochs: int,
        watched: Watched | None,
        metric: str,
        data_fingerprint: str,
        save_state: Callable[[], None],
        first_step: int,
        best: Checkpoint | None,
    ) -> None:
        super().__init__()
        self._batches = batches
        self._run = run
        self._phase = phase
        self._epochs = epochs
        self._watched = watched
        self._metric = metric
        self._data_fingerprint = data_fingerprint
        self._save_state = save_state
        self._first_step = first_step
        self._best = -math.inf
        self._started: float | None = None  # None between epochs
        self._seconds_before = self._wait_before = 0.0  # of the first epoch, in another process
        self.best_checkpoint = best

    def get_state(self) -> dict[str, Any]:
        """What it takes to go on in another process."""
        inside = self._started is not None
        return {
            "best": self._best if math.isfinite(self._best) else None,
            "seconds": self._elapsed() if inside else 0.0,
            "wait_seconds": self._waited() if inside else 0.0,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._best = -math.inf if state["best"] is None else state["best"]
        self._seconds_before, self._wait_before = state["seconds"], state["wait_seconds"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del logs
        self._batches.start_epoch(epoch, self._first_step)
        self._first_step = 0
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        seconds, waited = self._elapsed(), self._waited()
        if not math.isfinite(logs["loss"]):
            raise RunError(
                f"training: the loss is {logs['loss']} after epoch {epoch + 1}; lower training.optimizer.learning_rate"
            )
        record = {
            **({} if self._phase == "selection" else {"phase": self._phase}),
            "epoch": epoch + 1,
            "loss": logs["loss"],
            "learning_rate": read_learning_rate(self.model),
            "embedding_norm": compute_embedding_norm(self.model),
            "seconds": seconds,
            "samples_per_second": self._batches.num_samples / seconds,
            "input_wait": waited / seconds,
            **({"xla_programs": len(self._batches.shapes)} if self.model.padded else {}),
        }
        if self._watched is not None:
            metrics = self._evaluate(self._watched)
            watched = {f"{self._watched.name}_{key}": metrics[key] for key in ("auc", "gauc", "logloss")}
            record.update(watched)
        if self._is_to_keep(record):
            self.best_checkpoint = write_checkpoint(
                self._run.checkpoints,
                self.model,
                epoch=epoch + 1,
                data_fingerprint=self._data_fingerprint,
                refit=self._phase == "refit",
            )
        self._run.append_history(record)
        self._started = None
        self._seconds_before = self._wait_before = 0.0
        logs.update({key: value for key, value in record.items() if isinstance(value, (int, float))})

    def _evaluate(self, watched: Watched) -> dict[str, Any]:
        try:
            with prompt_signals():
                return asdict(watched.evaluate())
        except KeyboardInterrupt:
            self._save_state()
            raise

    def _elapsed(self) -> float:
        return self._seconds_before + time.perf_counter() - (self._started or 0.0)

    def _waited(self) -> float:
        return self._wait_before + self._batches.wait_seconds

    def _is_to_keep(self, record: dict[str, Any]) -> bool:
        if self._phase == "refit":
            return bool(record["epoch"] == self._epochs)
        if self._watched is None or not self._watched.select:
            return True
        value = record[f"{self._watched.name}_{self._metric}"]
        if value is None:
            raise DataError(
                f"training.early_stopping.metric: {self._metric} is undefined on the {self._watched.name} split "
                "(it needs a clicked and a sampled item); use a longer log or training.select_on=none"
            )
        signed = -value if self._metric == "logloss" else value
        improved: bool = signed > self._best
        self._best = max(signed, self._best)
        return improved


def read_learning_rate(model: keras.Model) -> float:
    """The rate of the step to come."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def compute_embedding_norm(model: RankingModel) -> float:
    """Mean L2 norm of the item table's rows that are looked up, those of padding and the unknown item left out."""
    embedding = model.item_embedding
    rows = keras.ops.convert_to_numpy(embedding.items)[FIRST_REAL_ID:]  # [items, width]
    if embedding.item_row_ids is not None:
        own = keras.ops.convert_to_numpy(embedding.item_row_ids)[FIRST_REAL_ID:] >= FIRST_REAL_ID
        rows = rows[own]
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    return float(np.sqrt(squares).mean()) if len(rows) else 0.0
