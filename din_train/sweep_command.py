"""What the commands that make many runs share (`sweep`, `tune`, `backtest`): folder, experiment, how to go on."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from din_train.config import Config
from din_train.errors import ConfigError
from din_train.files import check_can_be_folder
from din_train.run_directory import RUNS


def choose_folder(out: Path | None, config: Config, called: str) -> Path:
    """Where the runs go: `out`, or runs/<name>.

    Args:
        called: what the sweep is to the user.

    Raises:
        ConfigError: if it cannot be a folder, or is a run's own.
    """
    out = out or RUNS / config.name
    check_can_be_folder(out)
    if (out / "config.yaml").exists():
        raise ConfigError(f"{out}: a run's directory; give the {called} another name (--set name=..., --out)")
    return out


def join_experiment(config: Config, overrides: Sequence[str]) -> list[str]:
    """The overrides of all runs: the tracker has them in one experiment, by default under the config's name."""
    has_own = config.tracking is None or config.tracking.experiment is not None
    return [*overrides, *([] if has_own else [f"tracking.experiment={config.name}"])]


def describe_command(name: str, config_file: Path, *options: tuple[str, Sequence[object]]) -> str:
    """A command as a shell takes it: an option with each of its values, in this order."""
    words = [str(word) for option, values in options for value in values for word in (option, value)]
    return shlex.join(["din-train", name, "--config", str(config_file), *words])


def list_seeds(seeds: Sequence[int] | None) -> list[str]:
    """The one value of `--seeds`; none if it was not given."""
    return [",".join(map(str, seeds))] if seeds else []
