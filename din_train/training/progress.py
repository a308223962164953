"""How a training shows its progress: a bar and one line per epoch in the terminal, and TensorBoard."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from din_train.files import named_errors
from din_train.training.callbacks import TrainingCallback
from din_train.training.training_batches import TrainingBatches


class ProgressBar(TrainingCallback):
    """Shows loss, samples per second and the time left while an epoch runs, and one line that stays after it.

    It writes to standard error. As a context manager it opens and closes the display.

    Args:
        epochs: at most this many. title: stands before the epoch's number.
    """

    def __init__(self, batches: TrainingBatches, epochs: int, *, title: str = "epoch") -> None:
        super().__init__()
        self._batches = batches
        self._epochs = epochs
        self._title = title
        self._started = 0.0
        self._task: TaskID | None = None
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  loss {task.fields[loss]:.4f}  {task.fields[rate]:,.0f} samples/s"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        del logs
        self._started = time.perf_counter()
        self._task = self._progress.add_task(
            f"{self._title} {epoch + 1}/{self._epochs}", total=self._batches.num_samples, loss=0.0, rate=0.0
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._task is None or logs is None:
            return
        of_step = self._batches.num_samples / len(self._batches)
        before = self._batches.first_step * of_step
        seen = min(before + (batch + 1) * of_step, self._batches.num_samples)
        rate = (seen - before) / (time.perf_counter() - self._started)
        self._progress.update(self._task, completed=seen, loss=logs["loss"], rate=rate)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._task is None or logs is None:
            return
        self._progress.remove_task(self._task)
        self._task = None
        line = f"{self._title} {epoch + 1}/{self._epochs}  loss {logs['loss']:.4f}  {logs['seconds']:.1f} s"
        line += f"  {logs['samples_per_second']:,.0f} samples/s"
        for metric in ("auc", "gauc"):
            for name, value in logs.items():
                if name.endswith(f"_{metric}") and value is not None:
                    line += f"  {name.removesuffix('_' + metric)} {metric.upper()} {value:.4f}"
        self._progress.console.print(line, highlight=False, soft_wrap=True)


class TensorBoardWriter(TrainingCallback):
    """Writes the numbers of the epoch's record as scalars for TensorBoard, to disk at the epoch's end.

    Keras's own callback writes to disk when `fit` ends, which a killed run never reaches, and it shows the next epoch's
    learning rate with this epoch.

    Args:
        folder: for the event files; the first epoch's end makes it.
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
                    if name != "epoch" and value is not None:
                        tf.summary.scalar(name, value)
            self._writer.flush()
