"""`din-train launch`: one training on this machine by several workers, which resumes when one of them is killed."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from din_train.config import Config
from din_train.errors import ConfigError
from din_train.files import follow_links
from din_train.fit import check_request
from din_train.run_directory import RunDirectory, hold_run_directory, name_run_directories
from din_train.worker_processes import run_workers


def launch_fit(
    options: Sequence[str],
    config: Config,
    *,
    run_dir: Path | None,
    overwrite: bool,
    resume: bool,
    seeds: Sequence[int] | None,
    score_test: bool = True,
    workers: int,
    restarts: int,
) -> None:
    """Train with several workers by `din-train fit OPTIONS`.

    A restart resumes. With `--overwrite` it does so once the run has taken the place of what stood there.

    Args:
        options: those that `config` and all up to `score_test` were read from.

    Raises:
        ConfigError: if several runs are to be overwritten, which a restart would have to tell apart; see also
            `check_request`.
        Interrupted, RunError: see `run_workers`.
    """
    runs = [RunDirectory(follow_links(name)) for name in name_run_directories(config, run_dir, seeds)]
    if overwrite and len(runs) > 1:
        raise ConfigError(
            "launch: --overwrite and several --seeds exclude each other; remove the run directories, or choose another "
            "name (--set name=..., --run-dir)"
        )
    for run, seed in zip(runs, seeds or [config.seed], strict=True):
        one = config.model_copy(update={"seed": seed})
        check_request(run, one, overwrite=overwrite, resume=resume, score_test=score_test)
    others = [each for each in options if each not in ("--overwrite", "--resume")]
    before = _identify(runs[0]) if overwrite else None

    def build_command(is_restart: bool) -> list[str]:
        replaces = before is not None and _identify(runs[0]) == before
        how = [*others, "--resume"] if is_restart and not replaces else options
        strategy = ["--set", "training.strategy=multi_worker"]  # the last one counts
        return [sys.executable, "-m", "din_train", "fit", *how, *strategy]

    go_on = shlex.join(["din-train", "launch", "--workers", str(workers), "--", "fit", *others, "--resume"])
    run_workers(build_command, workers=workers, restarts=restarts, go_on=go_on)


def _identify(run: RunDirectory) -> tuple[int, int] | None:
    """What changes if another run takes the place of this one; None if there is none."""
    with hold_run_directory(run.path):  # which puts back what a killed worker had half replaced
        try:
            status = run.config_file.stat()
        except FileNotFoundError:
            return None
    return status.st_ino, status.st_mtime_ns
