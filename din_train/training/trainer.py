"""Fit a model: the trainer runs the epochs, from the first or from a saved state, and Keras takes their steps."""

import math
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from din_train.config import Config
from din_train.errors import RunError
from din_train.model.embedding import find_tables
from din_train.model.losses import build_loss
from din_train.model.ranking_model import RankingModel
from din_train.run_directory import RunDirectory
from din_train.signals import deferred_signals
from din_train.training.callbacks import (
    BestWeightsKeeper,
    EpochMeter,
    HistoryWriter,
    ResumableEarlyStopping,
    ResumableReduceLROnPlateau,
    TrainingCallback,
    Watched,
    WatchedScorer,
)
from din_train.training.checkpoint import Position, State, read_checkpoint, restore_variables, write_state
from din_train.training.chief import is_stopped
from din_train.training.optimizers import build_optimizer
from din_train.training.progress import ProgressBar, TensorBoardWriter
from din_train.training.regularization import TableRegularizer
from din_train.training.training_batches import TrainingBatches, check_batch_size
from din_train.training.unmoved_rows import UnmovedRows
from din_train.training.warm_start import EarlierModel
from din_train.training.workers import Workers


@dataclass(frozen=True)
class Refit:
    """The second training, on training and validation rows, which selects nothing.

    epochs: the number that the first training chose. learning_rates: those of the first training's epochs if a metric
    set them; None otherwise.
    """

    epochs: int
    learning_rates: tuple[float, ...] | None


# Several workers ask each other about signals, which takes a millisecond, after every so many steps.
_STEPS_BETWEEN_QUESTIONS = 8
# Whose statistics scoring has: as many as the moving averages look back, 1 / (1 - momentum).
_MEASURED_GROUPS = 100


def fit_model(
    model: RankingModel,
    batches: TrainingBatches,
    config: Config,
    run: RunDirectory,
    *,
    watched: Watched | None,
    data_fingerprint: str,
    regularizer: TableRegularizer | None = None,
    unmoved_rows: UnmovedRows | None = None,
    refit: Refit | None = None,
    state: State | None = None,
    workers: Workers = Workers(),  # noqa: B008 - immutable
    earlier: EarlierModel | None = None,
) -> None:
    """Train. Afterwards the run's best weights are the chosen epoch's, or the last epoch's if nothing selects.

    The state is saved at each epoch's end, every `training.checkpoint_steps`, and when a signal stops the training.

    Args:
        watched: None in a refit, and if no split is to be scored.
        regularizer: adds L2 to the embedding tables' gradients; None adds nothing.
        unmoved_rows: fills the rows that no training row looks up; None leaves them.
        refit: None if this is the first training.
        state: a saved state of this training to go on from; None begins.
        workers: all take the same steps, and the chief alone writes.
        earlier: whose optimiser's state a warm start takes over; the model has its weights already.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with the state saved.
        ConfigError: if there are more replicas than groups of a batch.
        RunError: if the loss is no longer a number, or the state belongs to another model.
    """
    training = config.training
    replicas = model.distribute_strategy.num_replicas_in_sync
    check_batch_size(training.batch_size, replicas)
    model.compile(
        batch_size=training.batch_size,
        optimizer=build_optimizer(
            training.optimizer,
            regularizer=regularizer,
            static_shapes=model.padded,
            epochs=training.epochs,
            steps_per_epoch=len(batches),
        ),
        loss=build_loss(training.loss.name, training.loss.positive_weight),
        steps_per_execution=1 if replicas > 1 else training.steps_per_execution,
        jit_compile=model.padded,
    )
    model.optimizer.exclude_from_weight_decay(find_tables(model))
    model.optimizer.build(model.trainable_variables)
    if state is not None:
        restore_variables(state, model)
    elif earlier is not None:
        earlier.carry_optimizer(model)
    trainer = _Trainer(
        model,
        batches,
        config,
        run,
        watched=watched,
        data_fingerprint=data_fingerprint,
        unmoved_rows=unmoved_rows,
        refit=refit,
        state=state,
        workers=workers,
    )
    trainer.train()


class _Trainer(keras.callbacks.Callback):
    """Runs the epochs of one training; as a Keras callback it hears of every execution of steps.

    Args: see `fit_model`.
    """

    def __init__(
        self,
        model: RankingModel,
        batches: TrainingBatches,
        config: Config,
        run: RunDirectory,
        *,
        watched: Watched | None,
        data_fingerprint: str,
        unmoved_rows: UnmovedRows | None,
        refit: Refit | None,
        state: State | None,
        workers: Workers,
    ) -> None:
        super().__init__()
        self.set_model(model)
        self._is_alone = model.distribute_strategy.num_replicas_in_sync == 1
        self._batches = batches
        self._config = config.training
        self._run = run
        self._data_fingerprint = data_fingerprint
        self._unmoved_rows = unmoved_rows
        self._refit = refit
        self._workers = workers
        self._epochs = refit.epochs if refit else config.training.epochs
        self._resumed = state
        self._position = state.position if state else Position("refit" if refit else "selection", 0, 0)
        self._saved_position = self._position if state else None
        self._done = False
        best = state.best if state else None
        if refit and state is None and workers.is_chief:
            best = read_checkpoint(run.checkpoints)  # the first training's, which the refit replaces
        self._best_weights = BestWeightsKeeper(
            run.checkpoints,
            watched,
            data_fingerprint=data_fingerprint,
            refit_epochs=self._epochs if refit else None,
            checkpoint=best,
        )
        self._progress = ProgressBar(batches, self._epochs, title="refit, epoch" if refit else "epoch")
        callbacks: list[TrainingCallback] = [
            EpochMeter(batches),
            *([WatchedScorer(watched, self._save_state, is_prompt=workers.count == 1)] if watched else []),
            self._best_weights,
            HistoryWriter(run, self._position.phase),
            TensorBoardWriter(run.tensorboard / ("refit" if refit else "train")),
            *_build_selection(config, watched),
            self._progress,
        ]
        self._callbacks = [each for each in callbacks if workers.is_chief or each.runs_everywhere]

    def train(self) -> None:
        """Train the epochs that are left."""
        for each in self._callbacks:
            each.set_model(self.model)
            each.on_train_begin()  # Keras's own forget their state here
            if self._resumed is not None:
                each.load_state_dict(self._resumed.callbacks[type(each).__name__])
        with deferred_signals(), self._progress:
            for epoch in range(self._position.epoch, self._epochs):
                self._train_epoch(epoch)
                if is_stopped(self._workers):
                    raise KeyboardInterrupt
                if self._done:
                    break

    def _train_epoch(self, epoch: int) -> None:
        """The steps that are left of an epoch, and its end."""
        first_step = self._position.step
        self._batches.start_epoch(epoch, first_step)
        if self._refit and self._refit.learning_rates:
            self.model.optimizer.learning_rate = self._refit.learning_rates[epoch]
        for each in self._callbacks:
            each.on_epoch_begin(epoch)
        if first_step < len(self._batches):
            self.model.fit(
                self._batches.to_dataset(first_step),
                initial_epoch=epoch,
                epochs=epoch + 1,
                steps_per_epoch=None if self._is_alone else len(self._batches) - first_step,
                shuffle=False,
                verbose=0,
                callbacks=[self],
            )
        loss = float(self.model.get_metrics_result()["loss"])
        if not math.isfinite(loss):
            raise RunError(
                f"training: the loss is {loss} after epoch {epoch + 1}; lower training.optimizer.learning_rate"
            )
        self.model.measure_statistics(self._batches.read_groups(_MEASURED_GROUPS))
        if self._unmoved_rows is not None:
            self._unmoved_rows.fill(self.model, epoch)
        record: dict[str, Any] = {"epoch": epoch + 1, "loss": loss}
        for each in self._callbacks:
            each.on_epoch_end(epoch, record)
        self._position = replace(self._position, epoch=epoch + 1, step=0)
        self._done = self.model.stop_training or epoch + 1 >= self._epochs
        self._save_state()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by Keras, which has just reset the running metrics: those of earlier steps come back."""
        del epoch, logs
        if self._resumed is not None and self._position.step > 0:
            restore_variables(self._resumed, self.model, ["metrics"])
        self._resumed = None

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by Keras after an execution, of one or several steps: save the state if it is due, stop on a signal.

        After an epoch's last step the epoch ends first.
        """
        for each in self._callbacks:
            each.on_train_batch_end(batch, logs)
        before, every = self._position.step, self._config.checkpoint_steps
        step = min(self._batches.first_step + batch + 1, len(self._batches))  # the last execution may have fewer steps
        self._position = replace(self._position, step=step)
        is_due = every is not None and step // every > before // every
        is_last = step >= len(self._batches)
        asks = self._workers.count == 1 or (step % _STEPS_BETWEEN_QUESTIONS == 0 and not is_last)
        stops = asks and is_stopped(self._workers)
        if not is_last and (is_due or stops):
            self._save_state()
            if stops:
                self._workers.barrier()  # when the chief has saved it
                raise KeyboardInterrupt

    def _save_state(self) -> None:
        """Save the state at the position, unless it is saved already."""
        if self._saved_position == self._position:
            return
        self._saved_position = self._position
        metrics = [np.asarray(each.numpy()) for each in self.model.metrics_variables]  # a sum over workers, maybe
        if not self._workers.is_chief:
            return
        history = self._run.history_file
        state = State(
            position=self._position,
            done=self._done,
            data_fingerprint=self._data_fingerprint,
            best=self._best_weights.checkpoint,
            history=history.read_text(encoding="utf-8") if history.exists() else "",
            callbacks={type(each).__name__: each.state_dict() for each in self._callbacks},
            arrays={"metrics": metrics},
        )
        write_state(self._run.checkpoints, state, self.model, keep=self._config.keep_checkpoints)


def _build_selection(config: Config, watched: Watched | None) -> list[TrainingCallback]:
    """What looks at the metric that selects: early stopping, and the schedule `plateau`."""
    if watched is None or watched.selection_metric is None:
        return []
    schedule, monitor, mode = config.training.optimizer.schedule, watched.monitor, watched.mode
    stopping = ResumableEarlyStopping(monitor, mode=mode, patience=config.training.early_stopping.patience)
    if schedule.name != "plateau":
        return [stopping]
    plateau = ResumableReduceLROnPlateau(
        monitor, mode=mode, factor=schedule.factor, patience=schedule.patience, min_delta=0.0, min_lr=0.0
    )
    return [stopping, plateau]
