"""A rich progress bar an epoch, on standard error, and one line that stays for each finished epoch."""

import time
from types import TracebackType
from typing import Any, Self

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from din_train.batches import TrainingBatches


class ProgressBar(keras.callbacks.Callback):
    """Loss, samples a second and the time left, while `fit` runs; a context manager that closes the display.

    Args:
        batch_size: samples a step. epochs: at most this many. title: of an epoch.
    """

    def __init__(self, batches: TrainingBatches, batch_size: int, epochs: int, *, title: str = "epoch") -> None:
        super().__init__()
        self._batches = batches
        self._batch_size = batch_size
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
        before = self._batches.first_step * self._batch_size
        seen = min(before + (batch + 1) * self._batch_size, self._batches.num_samples)
        rate = (seen - before) / (time.perf_counter() - self._started)
        self._progress.update(self._task, completed=seen, loss=logs["loss"], rate=rate)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        if logs and "samples_per_second" in logs:
            line = f"{self._title} {epoch + 1}/{self._epochs}  loss {logs['loss']:.4f}  {logs['seconds']:.1f} s"
            line += f"  {logs['samples_per_second']:,.0f} samples/s"
            for key in ("auc", "gauc"):
                line += "".join(
                    f"  {name.removesuffix('_' + key)} {key.upper()} {value:.4f}"
                    for name, value in logs.items()
                    if name.endswith(f"_{key}") and value is not None
                )
            self._progress.console.print(line, highlight=False, soft_wrap=True)
