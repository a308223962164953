"""What commands of many runs share: where they go, one experiment, and how they go on."""

from pathlib import Path

import pytest
from log_factory import make_config

from din_train.errors import ConfigError
from din_train.sweep_command import choose_folder, describe_command, join_experiment, list_seeds


def test_the_folder_is_the_one_given_or_that_of_the_name_and_no_runs_own(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    assert choose_folder(None, config, "sweep") == Path("runs/small")
    assert choose_folder(tmp_path, config, "sweep") == tmp_path
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ConfigError, match=r"a run's directory; give the backtest another name \(--set name=..., --out"):
        choose_folder(tmp_path, config, "backtest")


def test_runs_are_one_experiment_of_the_tracker(tmp_path: Path) -> None:
    mlflow = {"mlflow": "http://localhost:5000"}
    assert join_experiment(make_config(tmp_path), ["seed=2"]) == ["seed=2"]
    tracked = make_config(tmp_path, tracking=mlflow)
    assert join_experiment(tracked, ["seed=2"]) == ["seed=2", "tracking.experiment=small"]
    assert join_experiment(make_config(tmp_path, tracking={**mlflow, "experiment": "ours"}), []) == []


def test_a_command_can_be_given_to_a_shell() -> None:
    options = (("--set", ["name=a b", "seed=2"]), ("--seeds", list_seeds((1, 2))), ("--grid", []), ("--steps", [3]))
    assert describe_command("sweep", Path("c.yaml"), *options) == (
        "din-train sweep --config c.yaml --set 'name=a b' --set seed=2 --seeds 1,2 --steps 3"
    )
    assert list_seeds(None) == []
