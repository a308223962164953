"""Fit a model with Keras: what is recorded at each epoch's end, which weights are kept, when to stop."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import keras

from din_train.batches import TrainingBatches
from din_train.config import Config
from din_train.errors import DataError, RunError
from din_train.evaluation.evaluate import Metrics
from din_train.model.ranking_model import RankingModel
from din_train.run_directory import RunDirectory
from din_train.samples.split import Split
from din_train.signals import deferred_signals, prompt_signals, received_signal
from din_train.training.checkpoint import write_checkpoint
from din_train.training.interruption import StopOnSignal
from din_train.training.progress import ProgressBar
from din_train.training.regularization import TableRegularizer
from din_train.training.sparse_optimizers import build_optimizer


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


def fit_model(
    model: RankingModel,
    batches: TrainingBatches,
    config: Config,
    run: RunDirectory,
    *,
    watched: Watched | None,
    data_fingerprint: str,
    regularizer: TableRegularizer | None = None,
) -> None:
    """Train; afterwards the run's checkpoint holds the chosen epoch's weights, the last one's without selection.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with the finished epochs' work kept.
        RunError: if the loss is no longer a number.
        DataError: if the metric that selects is undefined on the split it looks at.
    """
    training = config.training
    model.compile(
        optimizer=build_optimizer(training.optimizer, regularizer=regularizer, static_shapes=model.padded),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        steps_per_execution=training.steps_per_execution,
        jit_compile=model.padded,
    )
    stopping = training.early_stopping
    recorder = EpochRecorder(batches, run, watched=watched, metric=stopping.metric, data_fingerprint=data_fingerprint)
    callbacks: list[keras.callbacks.Callback] = [StopOnSignal(), recorder]
    if watched is not None and watched.select:
        monitor = f"{watched.name}_{stopping.metric}"
        mode = "min" if stopping.metric == "logloss" else "max"
        callbacks.append(keras.callbacks.EarlyStopping(monitor, mode=mode, patience=stopping.patience))
    callbacks.append(keras.callbacks.TensorBoard(run.tensorboard, write_graph=False))
    with deferred_signals(), ProgressBar(batches.num_samples, training.batch_size, training.epochs) as progress:
        model.fit(
            batches.to_dataset(), epochs=training.epochs, shuffle=False, verbose=0, callbacks=[*callbacks, progress]
        )
    if received_signal() is not None:
        raise KeyboardInterrupt


class EpochRecorder(keras.callbacks.Callback):
    """After each epoch: score the watched split, keep the weights if they are the ones to keep, add to the history."""

    def __init__(
        self,
        batches: TrainingBatches,
        run: RunDirectory,
        *,
        watched: Watched | None,
        metric: str,
        data_fingerprint: str,
    ) -> None:
        super().__init__()
        self._batches = batches
        self._run = run
        self._watched = watched
        self._metric = metric
        self._data_fingerprint = data_fingerprint
        self._best = -math.inf
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del logs
        self._batches.start_epoch(epoch)
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        seconds = time.perf_counter() - self._started
        if not math.isfinite(logs["loss"]):
            raise RunError(
                f"training: the loss is {logs['loss']} after epoch {epoch + 1}; lower training.optimizer.learning_rate"
            )
        record = {
            "epoch": epoch + 1,
            "loss": logs["loss"],
            "seconds": seconds,
            "samples_per_second": self._batches.num_samples / seconds,
            "input_wait": self._batches.wait_seconds / seconds,
        }
        if self._watched is not None:
            with prompt_signals():
                metrics = asdict(self._watched.evaluate())
            watched = {f"{self._watched.name}_{key}": metrics[key] for key in ("auc", "gauc", "logloss")}
            record.update(watched)
        if self._is_to_keep(record):
            write_checkpoint(
                self._run.checkpoints, self.model, epoch=epoch + 1, data_fingerprint=self._data_fingerprint
            )
        self._run.append_history(record)
        logs.update({key: value for key, value in record.items() if value is not None})  # callbacks expect numbers

    def _is_to_keep(self, record: dict[str, Any]) -> bool:
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
