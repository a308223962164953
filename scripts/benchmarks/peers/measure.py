"""What every worker shares: the samples and settings it is given, the clock, and the line it prints.

Imported in each peer's own environment, so it needs nothing but the standard library and NumPy.
"""

import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Settings:
    """One benchmark's sizes, the same for every worker.

    item_ids, category_ids: rows of the embedding tables, padding's and the unknown id's included.
    max_history_length: T, to which histories are padded.
    warm_up_steps: of the first pass, in which a peer's time is not taken.
    timed_epochs: further passes of ours that are timed; the first one is its warm-up.
    """

    item_ids: int
    category_ids: int
    max_history_length: int = 100
    item_embedding_size: int = 64
    category_embedding_size: int = 64
    unit_hidden_units: tuple[int, ...] = (80, 40)
    mlp_hidden_units: tuple[int, ...] = (80, 40)
    batch_size: int = 1024
    learning_rate: float = 0.001
    warm_up_steps: int = 10
    timed_epochs: int = 4
    seed: int = 1


@dataclass(frozen=True)
class Task:
    """What a worker's command line names: the padded samples, the settings, the prepared data set, room for files."""

    samples: Mapping[str, NDArray[np.int32]]
    settings: Settings
    prepared: Path
    scratch: Path


def read_task() -> Task:
    """From the one argument, a JSON file with `samples`, `settings`, `prepared` and `scratch`."""
    values = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with np.load(values["samples"], allow_pickle=False) as arrays:
        samples = {name: arrays[name] for name in arrays.files}
    settings = values["settings"]
    for name in ("unit_hidden_units", "mlp_hidden_units"):
        settings[name] = tuple(settings[name])
    return Task(samples, Settings(**settings), Path(values["prepared"]), Path(values["scratch"]))


class StepClock:
    """Takes the time between the end of the last warm-up step and the end of the last step."""

    def __init__(self, warm_up_steps: int) -> None:
        self._warm_up_steps = warm_up_steps
        self._started = 0.0
        self._ended = 0.0
        self.steps = 0

    def end_step(self) -> None:
        """Call after each step of training, also those of the warm-up."""
        self.steps += 1
        self._ended = time.perf_counter()
        if self.steps == self._warm_up_steps:
            self._started = self._ended

    @property
    def seconds(self) -> float:
        return self._ended - self._started

    @property
    def timed_steps(self) -> int:
        return self.steps - self._warm_up_steps


def print_result(*, samples: int, seconds: float, loss: float, threads: int | None, packages: Sequence[str]) -> None:
    """The worker's last line.

    Args:
        samples, seconds: timed, so without the warm-up.
        loss: mean over the first pass, the warm-up included.
        threads: that the library says it uses for one operation, None where it chooses by itself.
        packages: whose versions go with the figures.
    """
    result: dict[str, Any] = {
        "samples_per_second": samples / seconds,
        "timed_samples": samples,
        "timed_seconds": seconds,
        "loss": loss,
        "threads": threads,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }
    print(json.dumps(result), flush=True)
