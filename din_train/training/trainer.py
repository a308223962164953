"""Fit a model with Keras, from the beginning or from a saved state."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from din_train.batches import TrainingBatches
from din_train.config import Config
from din_train.model.ranking_model import RankingModel
from din_train.run_directory import RunDirectory
from din_train.signals import deferred_signals, received_signal
from din_train.training.checkpoint import Checkpoint, read_checkpoint
from din_train.training.interruption import StopOnSignal
from din_train.training.loss import LogLoss
from din_train.training.progress import ProgressBar
from din_train.training.recorder import EpochRecorder, Watched
from din_train.training.regularization import TableRegularizer
from din_train.training.saver import StateSaver
from din_train.training.sparse_optimizers import build_optimizer, find_tables
from din_train.training.state import Phase, State, restore_variables
from din_train.training.tensorboard import EpochSummaries


@dataclass(frozen=True)
class Refit:
    """A second training, on training and validation rows, that selects nothing.

    epochs: the number that the first training chose. learning_rates: what it used in each, where a metric set them.
    """

    epochs: int
    learning_rates: tuple[float, ...] | None


def fit_model(
    model: RankingModel,
    batches: TrainingBatches,
    config: Config,
    run: RunDirectory,
    *,
    watched: Watched | None,
    data_fingerprint: str,
    regularizer: TableRegularizer | None = None,
    refit: Refit | None = None,
    state: State | None = None,
) -> None:
    """Train; afterwards the run's best weights are the chosen epoch's, the last one's without selection.

    The state is saved at each epoch's end, every `training.checkpoint_steps`, and where a signal stops the training.

    Args:
        regularizer: of the embedding tables; None without one.
        refit: what this training is if it is the second; `watched` is None then.
        state: of this training, where it goes on; None begins.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with the state saved.
        RunError: if the loss is no longer a number, or the state is another model's.
        DataError: if the metric that selects is undefined on the split it looks at.
    """
    training = config.training
    model.compile(
        batch_size=training.batch_size,
        optimizer=build_optimizer(training.optimizer, regularizer=regularizer, static_shapes=model.padded),
        loss=LogLoss(),
        steps_per_execution=1 if training.strategy == "mirrored" else training.steps_per_execution,
        jit_compile=model.padded,
    )
    model.compute_loss(None, tf.zeros([1]), tf.zeros([1]))  # built here; replicas would trace it on ids as floats
    model.optimizer.exclude_from_weight_decay(find_tables(model))
    model.optimizer.build(model.trainable_variables)
    if state is not None:
        restore_variables(state, model, ["model", "optimizer"])
    epoch, step = (state.position.epoch, state.position.step) if state else (0, 0)
    epochs = refit.epochs if refit else training.epochs
    phase: Phase = "refit" if refit else "selection"
    recorder = EpochRecorder(
        batches,
        run,
        phase=phase,
        epochs=epochs,
        watched=watched,
        metric=training.early_stopping.metric,
        data_fingerprint=data_fingerprint,
        save_state=lambda: saver.save(),
        first_step=step,
        best=_find_best(run, refit, state),
    )
    summaries = EpochSummaries(run.tensorboard / ("refit" if refit else "train"))
    watching = [*_build_selection(config, watched), *_build_given_rates(refit)]
    saver = StateSaver(
        run,
        batches,
        recorder,
        watching,
        phase=phase,
        epochs=epochs,
        every=training.checkpoint_steps,
        keep=training.keep_checkpoints,
        data_fingerprint=data_fingerprint,
        state=state,
    )
    with (
        deferred_signals(),
        ProgressBar(batches, training.batch_size, epochs, title="refit, epoch" if refit else "epoch") as progress,
    ):
        callbacks = [recorder, summaries, *watching, progress, saver, StopOnSignal(saver.save)]
        if step == len(batches):
            _end_epoch(model, callbacks, epoch)
            epoch += 1
        elif step > 0:
            _fit(model, batches, callbacks, first_step=step, epochs=range(epoch, epoch + 1))
            epoch += 1
        # iterators of replicas read ahead, into an epoch before it begins: there an epoch is a call of its own
        length = 1 if training.strategy == "mirrored" else max(epochs - epoch, 1)
        for start in range(epoch, epochs, length):
            if not saver.done:
                batches.start_epoch(start)
                _fit(model, batches, callbacks, first_step=0, epochs=range(start, start + length))
    if received_signal() is not None:
        raise KeyboardInterrupt


def _find_best(run: RunDirectory, refit: Refit | None, state: State | None) -> Checkpoint | None:
    """The best weights so far; a refit begins with those that it is to replace."""
    if state is not None:
        return state.best
    return read_checkpoint(run.checkpoints) if refit else None


def _fit(
    model: RankingModel,
    batches: TrainingBatches,
    callbacks: list[keras.callbacks.Callback],
    *,
    first_step: int,
    epochs: range,
) -> None:
    """The given epochs, each from `first_step` on: Keras asks for the number of steps once."""
    model.fit(
        batches.to_dataset(first_step),
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )


def _end_epoch(model: RankingModel, callbacks: list[keras.callbacks.Callback], epoch: int) -> None:
    """An epoch whose steps are all done: what `fit` does around them."""
    model.stop_training = False
    everyone = keras.callbacks.CallbackList(callbacks, model=model)
    everyone.on_train_begin()
    model.reset_metrics()
    everyone.on_epoch_begin(epoch)
    everyone.on_epoch_end(epoch, model.get_metrics_result())
    everyone.on_train_end()


def _build_selection(config: Config, watched: Watched | None) -> list[keras.callbacks.Callback]:
    """What looks at the metric that selects: early stopping, and the schedule `plateau`."""
    if watched is None or not watched.select:
        return []
    stopping, schedule = config.training.early_stopping, config.training.optimizer.schedule
    monitor = f"{watched.name}_{stopping.metric}"
    mode = "min" if stopping.metric == "logloss" else "max"
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.EarlyStopping(monitor, mode=mode, patience=stopping.patience)
    ]
    if schedule.name == "plateau":
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor, mode=mode, factor=schedule.factor, patience=schedule.patience, min_delta=0.0, min_lr=0.0
            )
        )
    return callbacks


def _build_given_rates(refit: Refit | None) -> list[keras.callbacks.Callback]:
    rates = refit.learning_rates if refit else None
    return [keras.callbacks.LearningRateScheduler(lambda epoch, _: rates[epoch])] if rates else []
