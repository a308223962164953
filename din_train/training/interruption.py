"""Ctrl-C and SIGTERM during training: finish the step, keep what was finished, say where it is."""

import signal
from types import FrameType
from typing import Any

import keras

from din_train.errors import Interrupted
from din_train.run_directory import RunDirectory

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(keras.callbacks.Callback):
    """The first signal ends training after the step it came in; a second one ends the process at once.

    cut_epoch_short: the running epoch did not see all its batches.
    """

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self._run = run
        self._received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self.cut_epoch_short = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        del logs
        for number in _SIGNALS:
            self._previous[number] = signal.signal(number, self._receive)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        del logs
        if self._received is not None:
            self.cut_epoch_short = batch + 1 < self.params["steps"]
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del epoch, logs
        self.model.stop_training |= self._received is not None

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        del logs
        self._restore()

    def raise_if_stopped(self, *, finished_epochs: int) -> None:
        """Raise `Interrupted` if a signal came."""
        self._restore()
        if self._received is None:
            return
        name = "Ctrl-C" if self._received == signal.SIGINT else self._received.name
        where = self._run.path
        kept = (
            f"{finished_epochs} finished epoch(s) kept in {where}; score them with `din-train eval --run-dir {where}`"
            if finished_epochs
            else f"no epoch had finished; {where} holds the config only"
        )
        raise Interrupted(f"training stopped by {name}: {kept}", exit_code=128 + self._received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._received = signal.Signals(number)
        for each in _SIGNALS:
            signal.signal(each, self._previous[each])

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
