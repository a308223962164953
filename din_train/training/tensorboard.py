"""The history as TensorBoard reads it.

Keras's own callback writes at the end of `fit` what it was given meanwhile, which a killed run never sees, and shows
the learning rate of the next epoch under this one.
"""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from din_train.files import named_errors


class EpochSummaries(keras.callbacks.Callback):
    """One scalar an epoch for each number of its record in `history.jsonl`, on disk when the epoch ends.

    Args:
        folder: for the event files; made when the first epoch ends.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._writer: tf.summary.SummaryWriter | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with named_errors(self._folder, self._folder):
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self._folder))
            with self._writer.as_default(step=epoch + 1):
                for name, value in (logs or {}).items():
                    if name != "epoch":
                        tf.summary.scalar(name, value)
            self._writer.flush()
