"""Which run a warm start may begin from. What it carries over is in `training/test_warm_start.py`."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from log_factory import make_config
from record_factory import METRICS

from din_train import earlier_run
from din_train.checksums import indexed_file
from din_train.earlier_run import check_warm_start, set_warm_start
from din_train.errors import ConfigError
from din_train.run_directory import RunDirectory


def test_the_newest_run_is_kept_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "monday").mkdir()
    (tmp_path / "monday/config.yaml").touch()
    (tmp_path / "latest").symlink_to("monday")
    monkeypatch.setattr(RunDirectory, "read_config", lambda _: None)
    monkeypatch.setattr(RunDirectory, "read_metrics", lambda _: SimpleNamespace(data_fingerprint="f"))
    monkeypatch.setattr(earlier_run, "find_prepared", lambda *_: (Path("prepared/monday"), None))
    assert set_warm_start(tmp_path / "latest") == [
        f'training.warm_start.run="{tmp_path}/monday"',
        'vocabulary.base="prepared/monday"',
    ]


def test_a_day_of_a_backtest_begins_from_the_data_set_that_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path / "step1-warm-seed1")
    run.checkpoints.mkdir(parents=True)
    run.config_file.touch()
    with indexed_file(run.checkpoints / "best.json", run.path) as temporary:
        temporary.write_text('{"data_fingerprint": "step1"}')
    run.write_metrics(replace(METRICS, data_fingerprint="day1"))
    monkeypatch.setattr(RunDirectory, "read_config", lambda _: None)
    monkeypatch.setattr(earlier_run, "find_prepared", lambda _run, _config, fingerprint: (Path(fingerprint), None))
    assert set_warm_start(run.path)[1] == 'vocabulary.base="step1"'


def test_a_run_does_not_take_the_place_of_the_one_it_begins_from(tmp_path: Path) -> None:
    run = {"run": str(tmp_path / "runs/monday")}
    config = make_config(tmp_path, vocabulary={"base": str(tmp_path)}, training={"warm_start": run})
    with pytest.raises(ConfigError, match="is this run's own directory, so its weights would be gone"):
        check_warm_start(config, tmp_path / "runs/../runs/monday")
