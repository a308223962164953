"""A run directory: where one training's config, history, checkpoints and metrics stand.

runs/<name>/
    config.yaml       fully resolved
    history.jsonl     one object per epoch
    metrics.json      the test split, scored once by `fit`; written last, so a run that has it is finished
    metrics.<split>.json  what `eval` printed
    scores.<split>.parquet  every row's score, in stored order: what runs are compared by
    attention.json    activation weights of some test users' behaviours
    report.html       all of it with plots, on one page; plots/ has each plot by itself
    environment.json  versions, machine and command, and where run and prepared data stood
    audit.json        what `audit` found
    drift.json        what `drift` measured on the newest log; drift.html is its page
    mlflow.json       the run's id in MLflow, if `tracking.mlflow` is set
    checksums.json    SHA-256 of these files, and the config as it was: what is read is checked by it
    checkpoints/      best.weights.h5 and best.json (epoch, data fingerprint, SHA-256); state-*: for `fit --resume`
    tensorboard/      the history as TensorBoard reads it
runs/latest -> the newest
"""

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from din_train.checksums import INDEX, begin_index, indexed_file, read_index, read_indexed, write_indexed_json
from din_train.config import Config, dump_config, find_differences, load_config
from din_train.errors import ConfigError, DamagedError, RunError
from din_train.files import (
    MARK,
    atomic_folder,
    check_can_be_folder,
    follow_links,
    hold,
    make_folder,
    recover,
    replace_link,
)
from din_train.run_metrics import RunMetrics

RUNS = Path("runs")
LATEST = RUNS / "latest"

_NAMES = {
    "config.yaml", "history.jsonl", "attention.json", "report.html", "environment.json", "audit.json",
    "drift.json", "drift.html",
    "calibration.json", "mlflow.json", "plots", "checkpoints", "tensorboard",
}  # fmt: skip

_NAMES_IN_FIRST_EPOCH = {
    "config.yaml", "environment.json", "history.jsonl", "mlflow.json", "checkpoints", "tensorboard",
}  # fmt: skip

# What may differ from the training's config when a run is opened again: where the data are, how scores become numbers,
# how many rows of new data may be bad.
CHANGEABLE = (
    "data.prepared", "data.max_bad_share", "metrics.", "training.device", "training.evaluation_batch_size"
)  # fmt: skip

# The names of files in these folders.
_INSIDE = {
    "checkpoints": re.compile(r"best\.(weights\.h5|json)|state-.+\.(npz|json)|replaced-.+\.weights\.h5"),
    "plots": re.compile(r".+\.(svg|png)"),
}
_TEMPORARY = re.compile(r"\.\d+-(.+)")  # left by `atomic_file` if the process was killed


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
    def calibration_file(self) -> Path:
        return self.path / "calibration.json"

    @property
    def environment_file(self) -> Path:
        return self.path / "environment.json"

    @property
    def audit_file(self) -> Path:
        return self.path / "audit.json"

    @property
    def drift_file(self) -> Path:
        return self.path / "drift.json"

    @property
    def drift_page(self) -> Path:
        return self.path / "drift.html"

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
            environment: dict[str, Any] = orjson.loads(read_indexed(path, self.again))
        except FileNotFoundError:
            raise RunError(f"{path}: no such file; only training writes it") from None
        return environment

    @property
    def again(self) -> str:
        """What to do if a file of the run is damaged."""
        command = ["din-train", "fit", "--config", "...", "--run-dir", str(self.path), "--overwrite"]
        return f"restore it from a copy, or train the run again with `{shlex.join(command)}`"

    def read_config(self) -> Config:
        """The config that the run was trained with.

        Raises:
            DamagedError: if the config has changed since, or cannot be compared.
        """
        trained = read_index(self.path, self.again).get("config")
        try:
            config, before = load_config(self.config_file), Config.model_validate(trained)
        except (ConfigError, ValidationError) as error:
            what = error.problems[0] if isinstance(error, ConfigError) else f"{INDEX} has no config"
            raise DamagedError(f"{self.config_file}: damaged ({what}); {self.again}") from None
        differences = find_differences(before, config)
        if differences:
            shown = "; ".join(f"{key}: {was} when it was trained, {now} now" for key, was, now in differences[:3])
            raise DamagedError(
                f"{self.config_file}: changed since the run was trained ({shown}); undo the change, or train a run of "
                "the new config (a key that may differ is given by --set)"
            )
        return config

    def append_history(self, epoch: dict[str, Any]) -> None:
        """Add one epoch's line."""
        before = self.history_file.read_text(encoding="utf-8") if self.history_file.exists() else ""
        self.write_history(f"{before}{orjson.dumps(epoch).decode()}\n")

    def read_history(self) -> list[dict[str, Any]]:
        """One record for each epoch that has finished.

        Raises:
            DamagedError: if it is not as it was written.
        """
        if not self.history_file.exists():
            return []
        return [orjson.loads(line) for line in read_indexed(self.history_file, self.again).splitlines()]

    def write_history(self, lines: str) -> None:
        """Replace the history."""
        with indexed_file(self.history_file) as temporary:
            temporary.write_text(lines, encoding="utf-8")

    def compute_identity(self) -> str:
        """A hash of the config and the chosen weights, which changes if the run is replaced or trained further."""
        digest = hashlib.sha256()
        for path in (self.config_file, self.checkpoints / "best.json"):
            with suppress(FileNotFoundError, NotADirectoryError):
                digest.update(path.read_bytes())
            digest.update(b"\0")
        return digest.hexdigest()

    @property
    def has_state(self) -> bool:
        """Whether a state to go on from was ever saved; it may be damaged."""
        return any(self.checkpoints.glob("state-*.json"))

    @property
    def is_barely_begun(self) -> bool:
        """Whether it holds its first epoch at most: all there can be before the first state is saved."""
        names = set(filter(_belongs_to_run, _list_names(self.path))) - _NAMES_IN_FIRST_EPOCH
        try:
            best = orjson.loads((self.checkpoints / "best.json").read_bytes())["epoch"]
        except FileNotFoundError:
            best = 0
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return False
        epochs = self.history_file.read_bytes().count(b"\n") if self.history_file.exists() else 0
        return not names and not self.has_state and max(best, epochs) <= 1

    @property
    def is_finished(self) -> bool:
        return self.metrics_file().exists()

    def write_report(self, page: str) -> None:
        with indexed_file(self.report_file) as temporary:
            temporary.write_text(page, encoding="utf-8")

    def write_metrics(self, metrics: RunMetrics, split: str | None = None) -> None:
        write_indexed_json(self.metrics_file(split), metrics.to_json())

    def read_metrics(self) -> RunMetrics:
        """What `fit` wrote.

        Raises:
            RunError: if the run has not finished, or the file is damaged.
        """
        path = self.metrics_file()
        try:
            said: dict[str, Any] = orjson.loads(read_indexed(path, self.again))
        except FileNotFoundError:
            raise RunError(f"{path}: no such file; the run has not finished, train it with `din-train fit`") from None
        if said.get("protocol") != "user":
            said["gauc_by_history"] = None
        said = {"loss": "logloss", "calibration": "none", **said}  # older versions had no others
        names = [each.name for each in fields(RunMetrics)]
        missing = names - said.keys()
        if missing:  # an older version wrote it
            raise RunError(f"{path}: without {', '.join(sorted(missing))}; train the run again")
        return RunMetrics(**{name: said[name] for name in names})


def name_run_directories(config: Config, run_dir: Path | None, seeds: Sequence[int] | None) -> list[Path]:
    """Where `fit` with these options has its run, or one run per seed."""
    folder = run_dir or RUNS / config.name
    return [folder.with_name(f"{folder.name}-seed{seed}") for seed in seeds] if seeds else [folder]


@contextmanager
def hold_run_directory(path: Path) -> Iterator[None]:
    """Keep other processes from training in it or replacing it; what a killed one left half replaced is restored.

    Raises:
        ConfigError: if another process has it.
        RunError: if something else stands in its place, or in that of its temporary files.
    """
    with hold(path):
        recover(path)
        yield


def check_run_directory(path: Path, config: Config, *, overwrite: bool, resume: bool) -> None:
    """Refuse, before any work, a run directory that is in use or belongs to another run.

    Raises:
        ConfigError: if it holds something and neither is asked for, is not a run's to overwrite, has another config, or
            is the current folder.
        RunError: if something stands in its place, or in that of `runs/latest`.
    """
    check_can_be_folder(path)
    _check_latest(path)
    stays = resume and (path / "config.yaml").is_file()
    if not stays and Path.cwd().is_relative_to(path.resolve()):
        raise ConfigError(f"{path}: the current folder lies in it, so it cannot be replaced; choose another --run-dir")
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
        others = _list_others(path, names)
        if others and overwrite:
            raise ConfigError(
                f"{path}: holds '{others[0]}', which is not a run's, so --overwrite leaves it alone; "
                "move it away, or choose another --run-dir"
            )
        if resume:
            _check_config(RunDirectory(path), config)


def find_training_differences(one: Config, other: Config) -> list[tuple[str, str, str]]:
    """`find_differences`, without those of the tracker, which changes no training."""
    return [each for each in find_differences(one, other) if not each[0].startswith("tracking.")]


def _check_config(run: RunDirectory, config: Config) -> None:
    differences = find_training_differences(run.read_config(), config)
    if differences:
        shown = "; ".join(f"{key}: {there} there, {here} here" for key, there, here in differences[:3])
        more = f" (and {len(differences) - 3} more)" if len(differences) > 3 else ""
        raise ConfigError(
            f"{run.path}: trained with another config, so --resume cannot go on with it: {shown}{more}; resume with "
            f"--config {run.config_file}, or give --overwrite to train anew"
        )


def _list_names(path: Path) -> list[str]:
    """What a folder holds, but for temporary files and the index of the others; nothing if there is no folder."""
    if not path.is_dir():
        return []
    return sorted(each.name for each in path.iterdir() if each.name != INDEX and not _is_temporary(each))


def _list_others(path: Path, names: Sequence[str]) -> list[str]:
    """Names that do not belong to a run."""
    others = [name for name in names if not _belongs_to_run(name)]
    for folder, ours in _INSIDE.items():
        inside = _list_names(path / folder)
        others += [f"{folder}/{name}" for name in inside if not ours.fullmatch(name)]
    return others


def _belongs_to_run(name: str) -> bool:
    return name in _NAMES or re.fullmatch(r"metrics(\..+)?\.json|scores\..+\.parquet", name) is not None


def _is_temporary(path: Path) -> bool:
    """Whether a killed din-train left it: a file by its name, a folder by its mark."""
    if path.name == ".plots.tmp":
        return (path / MARK).is_file()
    match = _TEMPORARY.fullmatch(path.name)
    return (
        match is not None
        and path.is_file()
        and (match[1] == INDEX or _belongs_to_run(match[1]) or bool(_INSIDE["checkpoints"].fullmatch(match[1])))
    )


def create_run_directory(path: Path, config: Config, *, overwrite: bool) -> RunDirectory:
    """Make a run directory in place of what stood there, with the resolved config; point `runs/latest` at it.

    Raises:
        ConfigError: see `check_run_directory`: preparation may have taken hours.
        RunError: if it cannot be made.
    """
    check_run_directory(path, config, overwrite=overwrite, resume=False)
    with atomic_folder(path) as new:
        run = RunDirectory(new)
        begin_index(new, config=config.model_dump(mode="json", exclude_none=True, exclude={"preset"}))
        with indexed_file(run.config_file) as temporary:
            temporary.write_text(dump_config(config), encoding="utf-8")
        make_folder(run.checkpoints)
    _point_latest_at(path)
    return RunDirectory(path)


def reopen_run_directory(path: Path) -> RunDirectory:
    """A run directory to go on in: without what a killed process left half-written; `runs/latest` points at it."""
    run = RunDirectory(path)
    make_folder(run.checkpoints)
    recover(run.plots)
    for folder in (path, run.checkpoints):
        for each in folder.iterdir():
            if _is_temporary(each):
                each.unlink()
    _point_latest_at(path)
    return run


def open_run_directory(
    path: Path, overrides: Sequence[str] = (), *, otherwise: str = "give --run-dir"
) -> tuple[RunDirectory, Config]:
    """A run directory, by its own name if the path is a link, and the config it was trained with, but for overrides.

    Args:
        overrides: `key=value` of `CHANGEABLE` keys.
        otherwise: what to do if there is no run and none is to be trained.

    Raises:
        ConfigError: if there is none, or another key is to change.
        DamagedError: if its config is no longer the one it was trained with.
    """
    for each in overrides:
        if not each.startswith(CHANGEABLE):
            raise ConfigError(
                f"--set {each}: would change what was trained; a run that is opened again takes "
                f"{', '.join(key + '*' if key.endswith('.') else key for key in CHANGEABLE)}"
            )
    run = RunDirectory(follow_links(path))
    if not run.config_file.is_file():
        what = "no run yet" if path == LATEST else "not a run directory (no config.yaml)"
        raise ConfigError(f"{path}: {what}; train one with `din-train fit --config ...`, or {otherwise}")
    config = run.read_config()
    return run, load_config(run.config_file, overrides) if overrides else config


def _check_latest(path: Path) -> None:
    """Refuse a file in the place of the link `runs/latest`, and a run with its name."""
    check_can_be_folder(RUNS)
    if os.path.lexists(LATEST) and not LATEST.is_symlink():
        raise RunError(f"{LATEST}: expected a link that din-train made; move it away")
    if path.resolve() == RUNS.resolve() / LATEST.name:
        raise ConfigError(f"{path}: is the link to the newest run; choose another name (--set name=..., --run-dir)")


def _point_latest_at(path: Path) -> None:
    """A relative link that survives moving the project; only runs under `runs/` or elsewhere by absolute path."""
    make_folder(RUNS)
    target = path.resolve()
    runs = RUNS.resolve()
    replace_link(LATEST, target.relative_to(runs) if target.is_relative_to(runs) else target)
