"""`make reproduce-paper`: the command it runs, and what is said where logs can neither be found nor fetched."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from din_train.cli import cli

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "fetch_for_paper.sh"


def fetch(folder: Path, data: str, mirror: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SCRIPT, data],
        cwd=folder,
        env={**os.environ, "DIN_TRAIN_MIRROR": mirror},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize(
    ("variables", "command"),
    [
        (["DATA=sample"], '.venv/bin/din-train reproduce --suite all --data "sample" --seeds 1'),
        (["DATA=sample", "SEEDS=2"], '.venv/bin/din-train reproduce --suite all --data "sample" --seeds 2'),
        ([], '.venv/bin/din-train reproduce --suite all --data "electronics,movielens" --seeds 5'),
        (
            ["DATA=sports", "SEEDS=3", "DATA_DIR=my logs"],
            '.venv/bin/din-train reproduce --suite all --data "sports" --seeds 3 --data-dir "my logs"',
        ),
    ],
)
def test_the_command_that_make_runs(variables: list[str], command: str) -> None:
    clean = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(
        ["make", "-n", "reproduce-paper", *variables],
        cwd=REPOSITORY,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[-1] == command
    assert any("fetch_for_paper.sh" in line for line in lines) == ("DATA_DIR=my logs" not in variables)


def test_nothing_is_said_without_a_network(tmp_path: Path) -> None:
    done = fetch(tmp_path, "electronics,movielens", "http://127.0.0.1:9")  # nobody listens there
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_nothing_is_fetched_that_is_there_or_not_asked_for(tmp_path: Path) -> None:
    for name in ("electronics/reviews_Electronics_5.json", "electronics/meta_Electronics.json.gz"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    before = sorted(tmp_path.rglob("*"))
    done = fetch(tmp_path, "electronics,sports", (tmp_path / "mirror").as_uri())  # it would answer
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl: wget reads no file:// address")
def test_what_the_download_says_is_shown_where_something_answers(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    done = fetch(tmp_path, "electronics", mirror.as_uri())
    assert done.returncode == 0  # din-train says the rest
    assert "reviews_Electronics_5.json.gz: fetching" in done.stdout
    assert "error: " in done.stderr


def test_missing_logs_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["reproduce", "--suite", "all", "--data", "electronics,movielens,sample"])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    for part in (
        "reviews_Electronics_5.json.gz and meta_Electronics.json.gz in data/electronics (fetch with `make data-",
        "ratings.csv and movies.csv in data/ml-20m (fetch with `scripts/download_movielens.sh`",
        "name their folder with --data-dir (`make reproduce-paper DATA_DIR=...`)",
        "`make reproduce-paper DATA=sample`",
    ):
        assert part in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
