"""`din-train backtest` with trainings and scores that are stood in for: what runs, in which order, and what goes on."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backtest.conftest import DAY, START, list_events, make_steps
from click.testing import CliRunner
from record_factory import MANIFEST, METRICS

from din_train import sweep
from din_train.backtest import backtest as command
from din_train.backtest.steps import PreparedStep, StepConfigs
from din_train.cli import cli
from din_train.config import MetricsConfig
from din_train.dataset.names import hash_rows
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData
from din_train.evaluation.evaluate import compute_metrics
from din_train.evaluation.metrics import compute_gauc
from din_train.evaluation.scores import ScoredRows, read_scores
from din_train.run_directory import RunDirectory, create_run_directory
from din_train.run_metrics import RunMetrics
from din_train.sweep import Cell, Cost

QUALITY = {"cold": 2.0, "warm": 1.0, "stale": 0.0}


@dataclass
class Stage:
    """What was trained and scored. broken: cells that fail. stops: the cell in which Ctrl-C comes."""

    trained: list[str] = field(default_factory=list)
    scored: list[tuple[str, str]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    stops: str = ""


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()

    class Process:
        def __init__(self, cell: Cell, _lock: int, *options: str) -> None:
            assert options == ("--no-test",)
            self.cell = cell
            stage.trained.append(cell.name)

        def has_ended(self) -> bool:
            if self.cell.name == stage.stops:
                raise KeyboardInterrupt
            if self.cell.name not in stage.broken and not self.cell.run.config_file.exists():
                create_run_directory(self.cell.run.path, self.cell.config, overwrite=False)
                self.cell.run.append_history({"epoch": 1, "seconds": 4.0})
                self.cell.run.append_history({"epoch": 2, "seconds": 3.0})
                self.cell.add_cost(Cost(20.0, 1))
            return True

        def describe_failure(self) -> str | None:
            return "the loss is nan" if self.cell.name in stage.broken else None

    def score(run_dir: Path, data: PreparedData, split: Split) -> tuple[RunMetrics, ScoredRows]:
        """A model is the better, the more `QUALITY` its mode has; a stale one is cold's of step 0."""
        stage.scored.append((run_dir.name, data.folder.name))
        step, mode, _ = run_dir.name.split("-")
        stale = step == "step0" and data.folder.name != "day0"
        samples = data.samples(split, 50)
        noise = np.random.default_rng(5).normal(size=len(samples))
        rows = ScoredRows.of(samples, (QUALITY["stale" if stale else mode] * samples.labels + noise).astype(np.float32))
        metrics = replace(METRICS, **vars(compute_metrics(rows, MetricsConfig())), data_fingerprint=data.fingerprint,
                          rows_sha256=hash_rows(data, samples), best_epoch=1)  # fmt: skip
        return metrics, rows

    monkeypatch.setattr(sweep, "CellProcess", Process)
    monkeypatch.setattr(sweep, "stop_cells", lambda _: None)
    monkeypatch.setattr(command, "score_on", score)
    return stage


def run(file: Path, *options: str) -> tuple[int, str]:
    given = ["--config", str(file), "--from", "2014-05-18", "--every", "1d", "--out", str(file.parent / "out")]
    result = CliRunner().invoke(cli, ["backtest", *given, *options])
    return result.exit_code, result.output


def read(file: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((file.parent / "out/backtest.json").read_text())
    return results


def list_runs(day: dict[str, Any], mode: str) -> list[dict[str, Any]]:
    return [each for each in day["runs"] if each["mode"] == mode]


def test_every_day_is_scored_once_by_each(write_config: Callable[..., Path], stage: Stage) -> None:
    file = write_config()
    exit_code, output = run(file, "--steps", "1")
    assert exit_code == 0, output
    assert (stage.trained, stage.scored) == (["step0-cold-seed1"], [("step0-cold-seed1", "day0")])

    # again, with one day more: what is finished is neither trained nor scored again
    del stage.trained[:], stage.scored[:]
    exit_code, output = run(file, "--steps", "2")
    assert exit_code == 0, output
    names = ["step1-cold-seed1", "step1-warm-seed1"]
    assert stage.trained == names
    assert stage.scored == [*((name, "day1") for name in names), ("step0-cold-seed1", "day1")]
    first, second = read(file)["days"]
    assert [each["mode"] for each in first["runs"]] == ["cold"]
    cold, warm_run, stale = (list_runs(second, mode)[0] for mode in ("cold", "warm", "stale"))
    assert cold["gauc"] > warm_run["gauc"] > stale["gauc"]
    assert (cold["training_seconds"], cold["process_seconds"]) == (4.0, 20.0)
    assert stale["training_seconds"] is None
    assert second["rows"] == 96
    assert second["new_users"] == 0.0
    difference = next(each for each in second["differences"] if each["mode"] == "warm")
    assert difference["gauc"]["value"] == pytest.approx(warm_run["gauc"] - cold["gauc"])
    low, high = difference["gauc"]["interval"]
    assert low <= difference["gauc"]["value"] <= high < 0
    # the log of day 4 has 16 items; day 5 has 18: what step 0's model, of the 14 items of days 0 to 3, does not know
    events = [list_events(day) for day in range(6)]
    known = [{item for day in events[:end] for _, item, _, _ in day} for end in (4, 5)]
    shares = [np.mean([item not in each for _, item, _, _ in events[5]]) for each in known]
    assert shares[0] > shares[1]
    assert (stale["new_items"], cold["new_items"]) == (pytest.approx(shares[0]), pytest.approx(shares[1]))
    assert "mean of 1" in output
    assert (file.parent / "out/backtest.html").exists()

    # another tracker changes no training; what does is refused at once
    exit_code, output = run(file, "--steps", "2", "--set", "tracking.mlflow=http://localhost:5000")
    assert exit_code == 0, output
    assert "3 trainings, 3 of them done" in output
    exit_code, output = run(file, "--steps", "2", "--set", "training.epochs=3")
    assert exit_code == 2
    assert "holds a backtest of another config (training.epochs: 2 there, 3 here)" in output
    exit_code, output = run(file, "--steps", "2", "--every", "2d")
    assert exit_code == 2
    assert "holds a backtest of another config (--every: 86400 there, 172800 here)" in output


def test_a_failure_leaves_the_others_alone_and_a_stop_goes_on(write_config: Callable[..., Path], stage: Stage) -> None:
    file = write_config()
    stage.broken, stage.stops = {"step0-cold-seed1"}, "step1-cold-seed2"
    exit_code, output = run(file, "--steps", "2", "--seeds", "1,2")
    assert exit_code == 130
    assert "interrupted; backtest stopped in step1-cold-seed2; go on with `din-train backtest --config" in output
    stage.stops = ""
    exit_code, output = run(file, "--steps", "2", "--seeds", "1,2")
    assert exit_code == 1
    errors = [line.removeprefix("error: ") for line in output.splitlines() if line.startswith("error: ")]
    assert errors[0].startswith("step0-cold-seed1: the loss is nan (see ")
    assert errors[1:] == [
        "step1-warm-seed1: begins with the weights of step0-cold-seed1, which has failed",
        "step1-stale-seed1: scores with the weights of step0-cold-seed1, which has failed",
    ]
    first, second = read(file)["days"]
    assert [each["seed"] for each in first["runs"]] == [2]
    assert [(each["mode"], each["seed"]) for each in second["runs"]] == [
        *(("cold", 1), ("cold", 2), ("warm", 2), ("stale", 2))
    ]
    assert read(file)["summary"]["pairs"] == 1

    stage.broken = set()
    exit_code, output = run(file, "--steps", "2", "--seeds", "1,2")
    assert exit_code == 0, output
    assert read(file)["summary"]["pairs"] == 2


def test_warm_models_begin_with_the_warm_ones_of_the_step_before(write_config: Callable[..., Path]) -> None:
    configs = StepConfigs.of(write_config(range(1)), [], [], START, DAY, Path("out"))
    prepared: list[PreparedStep] = []
    for step in make_steps(4, 3):
        prepared.append(PreparedStep(step, prepared[-1] if prepared else None, MANIFEST, MANIFEST, MANIFEST))
    trainings = command.plan_trainings(configs, prepared, (1, 2), ("cold", "warm", "stale"))
    starts = {each.cell.name: each.start and each.start.name for each in trainings}
    assert list(starts) == [
        *(f"step0-cold-seed{seed}" for seed in (1, 2)),
        *(f"step{step}-{mode}-seed{seed}" for step in (1, 2) for seed in (1, 2) for mode in ("cold", "warm")),
    ]
    assert [name for name, start in starts.items() if start is None] == [name for name in starts if "cold" in name]
    assert starts["step1-warm-seed2"] == "step0-cold-seed2"
    assert starts["step2-warm-seed2"] == "step1-warm-seed2"
    last = trainings[-1].cell.config
    assert last.training.warm_start is not None
    assert last.training.warm_start.run == Path("out/runs/step1-warm-seed2")
    alone = command.plan_trainings(configs, prepared, (1,), ("stale",))
    assert [each.cell.name for each in alone] == ["step0-cold-seed1"]


def test_scores_of_other_rows_are_noticed(write_config: Callable[..., Path], stage: Stage) -> None:
    file = write_config()
    assert run(file, "--steps", "1", "--modes", "cold")[0] == 0
    scored = RunDirectory(file.parent / "out/runs/step0-cold-seed1")
    scored.write_metrics(replace(scored.read_metrics(), data_fingerprint="of a shorter log"))
    exit_code, output = run(file, "--steps", "1", "--modes", "cold")
    assert exit_code == 1
    assert "scored on other rows than the day has now (the log has changed); remove it to run anew" in output
    assert len(stage.scored) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--from", "soon"], "--from: received 'soon', expected a date such as 2014-05-01 (UTC), or unix seconds"),
        (["--modes", "cold,hot"], "received 'cold,hot', expected some of cold, warm and stale"),
        (["--every", "day"], "--every: received 'day', expected a number and s, m, h, d or w"),
        (["--steps", "0"], "0 is not in the range"),
    ],
)
def test_wrong_options(write_config: Callable[..., Path], options: list[str], problem: str) -> None:
    exit_code, output = run(write_config(range(1)), "--steps", "1", *options)
    assert exit_code == 2
    assert problem in " ".join(output.split())


@pytest.mark.slow
def test_a_real_backtest(write_config: Callable[..., Path], tmp_path: Path) -> None:
    file = write_config()
    given = ["--steps", "2", "--set", "model.name=lr", "--set", "training.batch_size=64"]
    exit_code, output = run(file, *given)
    assert exit_code == 0, output
    log = (tmp_path / "out/cells/step1-warm-seed1.log").read_text()
    assert f"warm start from {tmp_path}/out/runs/step0-cold-seed1, epoch 2: 14 of 16 items are known" in log
    results = read(file)
    second = results["days"][1]
    assert [each["mode"] for each in second["runs"]] == ["cold", "warm", "stale"]
    for each in second["runs"]:
        rows = read_scores(RunDirectory(Path(each["run"])).scores_file("test"))
        assert compute_gauc(rows.user_id, rows.label, rows.logit).value == each["gauc"]
    names = [each["run"] for each in second["runs"][:2]]
    compared = CliRunner().invoke(cli, ["compare", *names, "--json"])
    assert compared.exit_code == 0, compared.output
    difference = next(each for each in json.loads(compared.stdout)["differences"] if each["metric"] == "gauc")
    mine = second["differences"][0]["gauc"]
    assert (difference["value"], [difference["low"], difference["high"]]) == (mine["value"], mine["interval"])
    exit_code, output = run(file, *given)
    assert "3 trainings, 3 of them done" in output
    assert read(file) == results
