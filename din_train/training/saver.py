"""When the whole state of a training is saved, and how `fit` goes on from a saved one."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from din_train.batches import TrainingBatches
from din_train.run_directory import RunDirectory
from din_train.training.recorder import EpochRecorder
from din_train.training.state import Phase, Position, State, restore_variables, write_state

# What Keras's callbacks remember from epoch to epoch, and forget when `fit` begins.
_REMEMBERED: Mapping[type[keras.callbacks.Callback], tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}


class StateSaver(keras.callbacks.Callback):
    """Saves the state at each epoch's end, and at the end of the execution that reaches a multiple of `every` steps.

    The last callback of all: at an epoch's end the others have seen the epoch, and when `fit` begins they have
    forgotten everything, so that what they remembered can be given back to them.

    Args:
        recorder: knows the best weights, and has a memory of its own.
        others: callbacks, of which those with a memory are remembered.
        epochs: of the phase, at most.
        every: None saves at epoch ends only. keep: the last so many stay.
        state: where to go on from; None begins. Its variables are the caller's to restore, but for the running
            metrics, which `fit` resets.
    """

    def __init__(
        self,
        run: RunDirectory,
        batches: TrainingBatches,
        recorder: EpochRecorder,
        others: Sequence[keras.callbacks.Callback],
        *,
        phase: Phase,
        epochs: int,
        every: int | None,
        keep: int,
        data_fingerprint: str,
        state: State | None,
    ) -> None:
        super().__init__()
        self._run = run
        self._batches = batches
        self._recorder = recorder
        self._others = {type(each).__name__: each for each in others if type(each) in _REMEMBERED}
        self._phase: Phase = phase
        self._epochs = epochs
        self._every = every
        self._keep = keep
        self._data_fingerprint = data_fingerprint
        self._resumed = state
        self._remembered = state.callbacks if state else None
        self._position = state.position if state else Position(phase, 0, 0)
        self._saved = self._position if state else None
        self.done = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        del logs
        if self._remembered is not None:
            self._recall(self._remembered)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        del logs
        self._remembered = self._remember()  # for another `fit` after this one

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del logs
        self._position = Position(self._phase, epoch, self._batches.first_step)
        if self._resumed is not None and self._resumed.position.step > 0:
            restore_variables(self._resumed, self.model, ["metrics"])
        self._resumed = None

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        del logs
        before, first = self._position.step, self._batches.first_step
        step = min(first + batch + 1, len(self._batches))  # the last execution may be a shorter one
        self._position = Position(self._phase, self._position.epoch, step)
        if self._every is not None and step // self._every > before // self._every and step < len(self._batches):
            self.save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del logs
        self._position = Position(self._phase, epoch + 1, 0)
        self.done = self.model.stop_training or epoch + 1 >= self._epochs
        self.save()

    def save(self) -> None:
        """Save the state as it is after the last step, unless that is done already."""
        if self._saved == self._position:
            return
        history = self._run.history_file
        state = State(
            position=self._position,
            done=self.done,
            data_fingerprint=self._data_fingerprint,
            best=self._recorder.best_checkpoint,
            history=history.read_text(encoding="utf-8") if history.exists() else "",
            callbacks=self._remember(),
            arrays={},
        )
        write_state(self._run.checkpoints, state, self.model, keep=self._keep)
        self._saved = self._position

    def _remember(self) -> dict[str, dict[str, Any]]:
        others = {
            name: {attribute: getattr(each, attribute) for attribute in _REMEMBERED[type(each)]}
            for name, each in self._others.items()
        }
        return {**others, "EpochRecorder": self._recorder.get_state()}

    def _recall(self, remembered: dict[str, dict[str, Any]]) -> None:
        self._recorder.set_state(remembered["EpochRecorder"])
        for name, each in self._others.items():
            for attribute, value in remembered[name].items():
                setattr(each, attribute, value)
