"""What happens at the end of a training's epoch, one class for each job.

The trainer calls its callbacks in the order of its list. Each receives the epoch's record as `logs`, and may add to it:
the loss is there at first, then measured values, then the metrics of the watched split. Callbacks that only show the
progress are in `progress.py`.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from din_train.dataset.protocols import Split
from din_train.dataset.vocabulary import FIRST_REAL_ID
from din_train.model.ranking_model import RankingModel
from din_train.run_directory import RunDirectory
from din_train.run_metrics import Metrics
from din_train.signals import prompt_signals
from din_train.training.checkpoint import Checkpoint, Phase, write_checkpoint
from din_train.training.training_batches import TrainingBatches


class TrainingCallback(keras.callbacks.Callback):
    """A Keras callback whose state is saved with the training's, so that a resumed training goes on from it.

    A subclass names the attributes that are its state, or overrides both methods. Of several workers, only the chief
    has those callbacks that do not run everywhere.
    """

    saved_attributes: ClassVar[tuple[str, ...]] = ()
    runs_everywhere: ClassVar[bool] = False

    def state_dict(self) -> dict[str, Any]:
        """The state, made of JSON values."""
        return {name: getattr(self, name) for name in self.saved_attributes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `state_dict` gave."""
        for name in self.saved_attributes:
            setattr(self, name, state[name])


class ResumableEarlyStopping(TrainingCallback, keras.callbacks.EarlyStopping):
    """Keras's early stopping, with a state."""

    saved_attributes = ("wait", "best", "best_epoch", "stopped_epoch")
    runs_everywhere = True


class ResumableReduceLROnPlateau(TrainingCallback, keras.callbacks.ReduceLROnPlateau):
    """Keras's plateau schedule, with a state."""

    saved_attributes = ("wait", "best", "cooldown_counter")
    runs_everywhere = True


@dataclass(frozen=True)
class Watched:
    """A split that is scored after every epoch.

    evaluate: scores it with the model as it is now. selection_metric: the metric on this split that chooses the epoch;
    None if the split's metrics are only recorded. recorded: which metrics an epoch's record gets; logloss is none of
    them if scores are no probabilities.
    """

    split: Split
    evaluate: Callable[[], Metrics]
    selection_metric: str | None
    recorded: tuple[str, ...] = ("auc", "gauc", "logloss")

    @property
    def monitor(self) -> str:
        """The name of the selection metric in an epoch's record."""
        return f"{self.split.name.lower()}_{self.selection_metric}"

    @property
    def mode(self) -> str:
        """Whether a better value of the selection metric is a smaller or a larger one: `min` or `max`."""
        return "min" if self.selection_metric == "logloss" else "max"


class EpochMeter(TrainingCallback):
    """Measures the epoch: learning rate, norm of the item embeddings, time, samples per second, share of time waiting.

    If several processes trained the epoch, its time is the sum of theirs.
    """

    def __init__(self, batches: TrainingBatches) -> None:
        super().__init__()
        self._batches = batches
        self._started: float | None = None  # None between epochs
        self._earlier_seconds = self._earlier_wait = 0.0  # of this epoch, in an earlier process

    def state_dict(self) -> dict[str, Any]:
        if self._started is None:
            return {"seconds": 0.0, "wait_seconds": 0.0}
        seconds, waited = self._read_clock(self._started)
        return {"seconds": seconds, "wait_seconds": waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._earlier_seconds, self._earlier_wait = state["seconds"], state["wait_seconds"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del epoch, logs
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del epoch
        if logs is None or self._started is None:
            return
        seconds, waited = self._read_clock(self._started)
        logs.update(
            learning_rate=read_learning_rate(self.model),
            embedding_norm=compute_embedding_norm(self.model),
            seconds=seconds,
            samples_per_second=self._batches.num_samples / seconds,
            input_wait=waited / seconds,
        )
        if self.model.padded:
            logs["xla_programs"] = len(self._batches.shapes)
        self._started = None
        self._earlier_seconds = self._earlier_wait = 0.0

    def _read_clock(self, started: float) -> tuple[float, float]:
        """Seconds since the epoch began, and those of them in which the training waited for its input."""
        seconds = self._earlier_seconds + time.perf_counter() - started
        return seconds, self._earlier_wait + self._batches.wait_seconds


class WatchedScorer(TrainingCallback):
    """Adds the watched split's metrics to the record.

    Args:
        save_state: is called before a signal stops the training here, after the epoch's steps.
        is_prompt: whether a signal may stop it here; several workers have to agree, which they do later.
    """

    runs_everywhere = True

    def __init__(self, watched: Watched, save_state: Callable[[], None], *, is_prompt: bool = True) -> None:
        super().__init__()
        self._watched = watched
        self._save_state = save_state
        self._is_prompt = is_prompt

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del epoch
        try:
            with prompt_signals() if self._is_prompt else nullcontext():
                metrics = self._watched.evaluate()
        except KeyboardInterrupt:
            self._save_state()
            raise
        if logs is not None:
            split = self._watched.split.name.lower()
            logs.update({f"{split}_{name}": getattr(metrics, name) for name in self._watched.recorded})


class BestWeightsKeeper(TrainingCallback):
    """Saves the epoch's weights if it is the best epoch so far; a refit saves its last epoch's.

    Args:
        folder: the run's checkpoints.
        watched: without a metric that selects, every epoch is better than the one before.
        refit_epochs: the number of a refit's epochs; None if this is no refit.
        checkpoint: the best weights so far, if there are any.
    """

    saved_attributes = ("best_value",)

    def __init__(
        self,
        folder: Path,
        watched: Watched | None,
        *,
        data_fingerprint: str,
        refit_epochs: int | None,
        checkpoint: Checkpoint | None,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._watched = watched
        self._data_fingerprint = data_fingerprint
        self._refit_epochs = refit_epochs
        self.checkpoint = checkpoint
        self.best_value: float | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._is_to_keep(epoch, logs or {}):
            self.checkpoint = write_checkpoint(
                self._folder,
                self.model,
                epoch=epoch + 1,
                data_fingerprint=self._data_fingerprint,
                refit=self._refit_epochs is not None,
            )

    def _is_to_keep(self, epoch: int, record: Mapping[str, Any]) -> bool:
        if self._refit_epochs is not None:
            return epoch + 1 == self._refit_epochs
        if self._watched is None or self._watched.selection_metric is None:
            return True
        value, best = record[self._watched.monitor], self.best_value
        is_better = best is None or (value < best if self._watched.mode == "min" else value > best)
        self.best_value = value if is_better else best
        return is_better


class HistoryWriter(TrainingCallback):
    """Adds the record, as it is by now, to `history.jsonl`."""

    def __init__(self, run: RunDirectory, phase: Phase) -> None:
        super().__init__()
        self._run = run
        self._phase = phase

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del epoch
        self._run.append_history({**({"phase": "refit"} if self._phase == "refit" else {}), **(logs or {})})


def read_learning_rate(model: keras.Model) -> float:
    """The learning rate of the next step."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def compute_embedding_norm(model: RankingModel) -> float:
    """Mean L2 norm of the item table's rows that are looked up, without those of padding and of the unknown item."""
    embedding = model.item_embedding
    rows = keras.ops.convert_to_numpy(embedding.items)  # [rows, width]
    if embedding.item_row_ids is None:
        rows = rows[FIRST_REAL_ID:]
    else:  # several items may share a row, and hashed ones leave rows out
        looked_up = np.unique(keras.ops.convert_to_numpy(embedding.item_row_ids))
        rows = rows[looked_up[looked_up >= FIRST_REAL_ID]]
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    return float(np.sqrt(squares).mean()) if len(rows) else 0.0
