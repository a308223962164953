"""Ctrl-C and SIGTERM during training: the step at hand is the last, and the state after it is saved."""

from collections.abc import Callable
from typing import Any

import keras

from din_train.signals import received_signal


class StopOnSignal(keras.callbacks.Callback):
    """Leaves `fit` after the step in which a signal came; for use inside `deferred_signals`.

    After an epoch's last step it lets the epoch end first, where scoring may stop at any point.

    Args:
        save_state: called before leaving.
    """

    def __init__(self, save_state: Callable[[], None]) -> None:
        super().__init__()
        self._save_state = save_state

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        del logs
        if received_signal() is not None and batch + 1 < self.params["steps"]:
            self._save_state()
            raise KeyboardInterrupt
