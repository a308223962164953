"""A run directory: where one training's config, history, checkpoints and metrics stand.

runs/<name>/
    config.yaml       fully resolved
    history.jsonl     one object an epoch
    metrics.json      the test split, scored once by `fit`; written last, so a run that has it is finished
    metrics.<split>.json  what `eval` printed
    scores.<split>.parquet  every row's score, in stored order: what runs are compared by
    attention.json    activation weights of some test users' behaviours
    report.html       all of it with plots, on one page; plots/ has each plot by itself
    environment.json  versions, machine and command
    audit.json        what `audit` found
    checkpoints/      best.weights.h5 and best.json (epoch, data fingerprint, SHA-256); state-*: for `fit --resume`
    tensorboard/      the history as TensorBoard reads it
runs/latest -> the newest
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from din_train.config import Config, dump_config, find_differences, load_config
from din_train.errors import ConfigError, RunError
from din_train.files import atomic_file, make_folder, remove_leftovers

RUNS = Path("runs")
LATEST = RUNS / "latest"

# What `metrics.json` holds at least: what runs are compared by.
METRICS_KEYS = {
    "model", "protocol", "split", "selected_on", "auc", "gauc", "logloss", "gauc_weighting", "rows_sha256",
    "metric_definition",
}  # fmt: skip

_NAMES = {
    "config.yaml", "history.jsonl", "attention.json", "report.html", "environment.json", "audit.json",
    "plots", "checkpoints", "tensorboard",
}  # fmt: skip

# Of `atomic_file` and of `atomic_folder`, where a process was killed.
_TEMPORARY = re.compile(r"\.\d+-.+|\.plots\.(tmp|old)")


@dataclass(frozen=True)
class RunDirectory:
    """One run's files."""

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def history_file(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def report_file(self) -> Path:
        return self.path / "report.html"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def metrics_file(self, split: str | None = None) -> Path:
        """`metrics.json`, or `metrics.<split>.json`."""
        return self.path / (f"metrics.{split}.json" if split else "metrics.json")

    def scores_file(self, split: str) -> Path:
        """`scores.<split>.parquet`."""
        return self.path / f"scores.{split}.parquet"

    @property
    def attention_file(self) -> Path:
        return self.path / "attention.json"

    @property
    def environment_file(self) -> Path:
        return self.path / "environment.json"

    @property
    def audit_file(self) -> Path:
        return self.path / "audit.json"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    def read_environment(self) -> dict[str, Any]:
        """What `fit` ran on.

        Raises:
            RunError: if it is missing or damaged.
        """
        path = self.environment_file
        try:
            environment = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            raise RunError(f"{path}: no such file; an older version has not written it") from None
        except (OSError, orjson.JSONDecodeError) as error:
            raise RunError(f"{path}: damaged ({error})") from None
        if not isinstance(environment, dict):
            raise RunError(f"{path}: damaged (not an object)")
        return environment

    def append_history(self, epoch: dict[str, Any]) -> None:
        """Add one epoch's line."""
        with self.history_file.open("ab") as file:
            file.write(orjson.dumps(epoch) + b"\n")

    def read_history(self) -> list[dict[str, Any]]:
        """One record for each epoch that has finished."""
        lines = self.history_file.read_bytes().splitlines() if self.history_file.exists() else []
        return [orjson.loads(line) for line in lines]

    def write_history(self, lines: str) -> None:
        """Put these in place of what there is."""
        with atomic_file(self.history_file) as temporary:
            temporary.write_text(lines, encoding="utf-8")

    @property
    def is_finished(self) -> bool:
        return self.metrics_file().exists()

    def write_report(self, page: str) -> None:
        with atomic_file(self.report_file) as temporary:
            temporary.write_text(page, encoding="utf-8")

    def write_metrics(self, metrics: dict[str, Any], split: str | None = None) -> None:
        with atomic_file(self.metrics_file(split)) as temporary:
            temporary.write_bytes(orjson.dumps(metrics, option=orjson.OPT_INDENT_2) + b"\n")

    def read_metrics(self) -> dict[str, Any]:
        """What `fit` wrote.

        Raises:
            RunError: if the run has not finished, or the file is damaged.
        """
        path = self.metrics_file()
        try:
            metrics: dict[str, Any] = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            raise RunError(f"{path}: no such file; the run has not finished, train it with `din-train fit`") from None
        except (OSError, orjson.JSONDecodeError) as error:
            raise RunError(f"{path}: damaged ({error}); train the run again") from None
        missing = METRICS_KEYS - metrics.keys() if isinstance(metrics, dict) else METRICS_KEYS
        if missing:
            raise RunError(f"{path}: damaged (without {', '.join(sorted(missing))}); train the run again")
        return metrics


def check_run_directory(path: Path, config: Config, *, overwrite: bool, resume: bool) -> None:
    """Refuse a run directory that is in use, or is another run's to resume, before any work is done for it.

    Raises:
        ConfigError: if it holds something and neither is asked for, is not a run's to overwrite, or has another config.
        RunError: if a file stands in its place.
    """
    names = _list_names(path)
    if names:
        if not overwrite and not resume:
            raise ConfigError(
                f"{path}: already used; give --resume to go on with it, --overwrite to replace it, or another name "
                "(--set name=..., --run-dir)"
            )
        if not (path / "config.yaml").is_file():
            option = "--overwrite leaves it alone" if overwrite else "there is nothing to --resume"
            raise ConfigError(f"{path}: not a run directory (no config.yaml), so {option}")
        others = [name for name in names if not _is_of_a_run(name)]
        if others and overwrite:
            raise ConfigError(
                f"{path}: holds '{others[0]}', which is not a run's, so --overwrite leaves it alone; "
                "move it away, or choose another --run-dir"
            )
        if resume:
            _check_config(RunDirectory(path), config)
    for each in (path, *path.parents):
        if each.exists() and not each.is_dir():
            raise RunError(f"{path}: cannot be made a folder, because {each} is a file; move it or choose another path")


def _check_config(run: RunDirectory, config: Config) -> None:
    differences = find_differences(load_config(run.config_file), config)
    if differences:
        shown = "; ".join(f"{key}: {there} there, {here} here" for key, there, here in differences[:3])
        more = f" (and {len(differences) - 3} more)" if len(differences) > 3 else ""
        raise ConfigError(
            f"{run.path}: trained with another config, so --resume cannot go on with it: {shown}{more}; resume with "
            f"--config {run.config_file}, or give --overwrite to train anew"
        )


def _list_names(path: Path) -> list[str]:
    """What a folder holds, but for temporary files; nothing where there is none."""
    if not path.is_dir():
        return []
    return sorted(each.name for each in path.iterdir() if not _TEMPORARY.fullmatch(each.name))


def _is_of_a_run(name: str) -> bool:
    return name in _NAMES or re.fullmatch(r"metrics(\..+)?\.json|scores\..+\.parquet", name) is not None


def create_run_directory(path: Path, config: Config) -> RunDirectory:
    """Make a run directory in place of what stood there, with the resolved config; point `runs/latest` at it.

    Raises:
        RunError: if it cannot be made.
    """
    remove_leftovers(path)
    if path.is_dir():
        retired = path.with_name(f".{path.name}.old")
        path.rename(retired)  # first: a run that is half removed would look like one to resume
        shutil.rmtree(retired)
    run = RunDirectory(path)
    make_folder(path)
    with atomic_file(run.config_file) as temporary:
        temporary.write_text(dump_config(config), encoding="utf-8")
    make_folder(run.checkpoints)
    _point_latest_at(path)
    return run


def reopen_run_directory(path: Path) -> RunDirectory:
    """A run directory to go on in: without what a killed process left half-written; `runs/latest` points at it."""
    run = RunDirectory(path)
    make_folder(run.checkpoints)
    remove_leftovers(run.plots)
    for folder in (path, run.checkpoints):
        for each in folder.iterdir():
            if _TEMPORARY.fullmatch(each.name):
                each.unlink()
    _point_latest_at(path)
    return run


def open_run_directory(path: Path, overrides: Sequence[str] = ()) -> tuple[RunDirectory, Config]:
    """A run directory and the config it was trained with, but for overrides (`key=value`).

    Raises:
        ConfigError: if there is none.
    """
    run = RunDirectory(path)
    if not run.config_file.is_file():
        what = "no run yet" if path == LATEST else "not a run directory (no config.yaml)"
        raise ConfigError(f"{path}: {what}; train one with `din-train fit --config ...`, or give --run-dir")
    return run, load_config(run.config_file, overrides)


def _point_latest_at(path: Path) -> None:
    """A relative link that survives moving the project; only runs under `runs/` or elsewhere by absolute path."""
    make_folder(RUNS)
    if LATEST.exists() and not LATEST.is_symlink():
        raise RunError(f"{LATEST}: expected a link that din-train made; move it away")
    target = path.resolve()
    runs = RUNS.resolve()
    with atomic_file(LATEST) as temporary:
        temporary.symlink_to(target.relative_to(runs) if target.is_relative_to(runs) else target)
