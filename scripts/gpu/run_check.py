"""A whole run on the device against the same run on the CPU: test GAUC, equal within the noise of the test users."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from comparison import Check, Say

from din_train.compare.compare import compare_runs
from din_train.evaluation.scores import read_scores
from din_train.run_directory import open_run_directory

SAMPLE = Path(__file__).parents[2] / "configs" / "sample.yaml"


def check_run(device: str, say: Say, *settings: str) -> Iterator[Check]:
    """The shipped sample, trained twice.

    It passes if the 95 % interval of the difference, over the same resampled users, has 0 in it.

    Args:
        device: `training.device` of the first run; the second one has `cpu`.
        settings: further overrides of the config.
    """
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for name, on in (("cpu", "cpu"), (f"on {device}", device)):
            say(f"training the sample on {on}")
            problem = train(Path(folder) / name, f"training.device={on}", f"data.prepared={folder}/prepared", *settings)
            if problem is not None:
                yield Check("test GAUC of a run", "sample", f"{device} against cpu", "float32", None, 0, False, problem)
                return
            runs[name], config = open_run_directory(Path(folder) / name)
        rows = {name: read_scores(run.scores_file("test")) for name, run in runs.items()}
        compared = compare_runs({name: run.read_metrics() for name, run in runs.items()}, rows, config.metrics)
    found = next(each for each in compared.differences if each.metric == "gauc")
    noise = (found.high - found.low) / 2
    yield Check(
        "test GAUC of a run",
        "sample",
        f"{device} against cpu",
        "float32",
        abs(found.value),
        noise,
        found.low <= 0 <= found.high,
    )


def train(run: Path, *settings: str) -> str | None:
    """`din-train fit` in a process of its own; its last line if it failed."""
    given = [part for each in settings for part in ("--set", each)]
    command = [sys.executable, "-m", "din_train", "fit", "--config", SAMPLE, "--run-dir", run, *given]
    done = subprocess.run(command, cwd=SAMPLE.parents[1], capture_output=True, text=True, check=False)  # noqa: S603
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]
