"""`din-train tune` and `sweep`, with trials that only pretend to train: what it asks of them, and what it leaves."""

from pathlib import Path

import fake_fit
import orjson
import pytest
import yaml
from click.testing import CliRunner, Result
from log_factory import write_log
from page_reader import PageReader
from record_factory import METRICS
from search_factory import RATE, list_starts

from din_train import sweep_plan
from din_train.cli import cli
from din_train.config import load_config
from din_train.sweep_plan import Probe

EVENTS = [(f"u{n % 20}", f"i{(n * 7 + n // 20) % 41}", f"c{n % 3}", n) for n in range(200)]
CONFIG = """
name: found
data:
  source: table
  events: log.tsv
  columns: {user: user, item: item, category: category, timestamp: time}
  prepared: prepared/small
model: {name: lr}
training: {epochs: 4}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "log.tsv", EVENTS)
    (tmp_path / "small.yaml").write_text(CONFIG)
    (tmp_path / "space.yaml").write_text(f"{RATE}: [0.01, 0.05, 0.9]\n")
    return tmp_path


def tune(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["tune", "--config", "small.yaml", "--space", "space.yaml", *arguments])


def test_the_winner_alone_is_trained_again_and_scored_and_only_once(folder: Path) -> None:
    searched = tune("--trials", "3", "--no-test")
    assert searched.exit_code == 0, searched.output
    study = orjson.loads((folder / "runs/found/study.json").read_bytes())
    assert (study["test"], study["winner_run"], len(study["trials"])) == (None, None, 3)
    result = tune("--trials", "5", "--workers", "2")
    assert result.exit_code == 0, result.output
    starts = list_starts(folder / "runs/found")
    winner = starts.pop(next(name for name in starts if name.startswith("winner")))
    assert winner == ["--resume refit=True"]
    assert all(each == ["--resume --no-test refit=False"] for each in starts.values())
    assert len(starts) == 5

    study = orjson.loads((folder / "runs/found/study.json").read_bytes())
    values = {each["number"]: each["value"] for each in study["trials"] if each["state"] == "complete"}
    assert study["winner"]["number"] == min(values, key=lambda number: (-values[number], number))
    rate = study["winner"]["keys"][RATE]
    assert study["winner"]["value"] == pytest.approx(fake_fit.value(rate, 4))
    assert study["test"]["gauc"] == METRICS.gauc
    config = load_config(folder / "runs/found/winner.yaml")
    assert (config.name, config.training.optimizer.learning_rate, config.training.refit) == ("found-winner", rate, True)
    page = PageReader((folder / "runs/found/study.html").read_text())
    assert f"learning_rate: {rate}" in page.text
    assert "The test split was scored once" in page.text

    before = list_starts(folder / "runs/found")
    assert tune("--trials", "5").exit_code == 0  # shows the study again
    more = tune("--trials", "6")
    assert more.exit_code == 2
    assert "is scored on the test split, so a search with 1 more trials would be one that has seen it" in more.stderr
    assert list_starts(folder / "runs/found") == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--set", "training.select_on=none"), "training.select_on: received 'none', but trials are compared on"),
        (("--set", "data.protocol=paper"), "training.select_on: received 'none', but trials are compared on"),
        (("--out", "run"), "run: a run's directory; give the study another name (--set name=..., --out)"),
    ],
)
def test_what_cannot_be_searched_honestly_is_refused(folder: Path, arguments: tuple[str, ...], line: str) -> None:
    (folder / "run").mkdir()
    (folder / "run/config.yaml").write_text("")
    result = tune("--trials", "1", *arguments)
    assert result.exit_code == 2
    assert line in result.stderr
    assert not (folder / "prepared").exists()


def test_a_study_without_a_complete_trial_has_no_winner(folder: Path) -> None:
    (folder / "space.yaml").write_text(yaml.safe_dump({RATE: [0.8, 0.9]}))
    result = tune("--trials", "2")
    assert result.exit_code == 1
    assert "none of 2 trials is complete, so there is no winner; the last failure: <b>training</b>" in result.stderr
    assert "&lt;b&gt;training&lt;/b&gt;: the loss is nan" in (folder / "runs/found/study.html").read_text()


def test_a_sweep_trains_every_point_with_every_seed_and_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_plan, "run_probe", lambda _: Probe(100.0, 1_000, 10**9))
    command = ["sweep", "--config", "small.yaml", "--grid", f"{RATE}=0.01,0.9", "--seeds", "1,2"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 1  # of 0.9, whose trainings fail
    assert "0.9-seed1: <b>training</b>: the loss is nan (see runs/found/cells/0.9-seed1.log)" in result.stderr
    assert "2 of 2" in result.stdout
    assert "0 of 2" in result.stdout
    results = orjson.loads((folder / "runs/found/sweep.json").read_bytes())
    assert results["points"][0]["metrics"]["gauc"]["by_seed"] == {"1": METRICS.gauc, "2": METRICS.gauc}
    again = CliRunner().invoke(cli, [*command, "--set", "tracking.mlflow=http://localhost:1"])
    assert again.exit_code == 1
    assert "finished with another config" not in again.stderr
    starts = {name: len(each) for name, each in list_starts(folder / "runs/found").items()}
    assert starts == {"0.01-seed1": 1, "0.01-seed2": 1, "0.9-seed1": 2, "0.9-seed2": 2}
