"""`make reproduce-paper`: the command it runs, and what is said where logs can neither be found nor fetched."""

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from scripts_factory import REPOSITORY, SCRIPTS

from din_train.cli import cli


@pytest.mark.parametrize(
    ("variables", "command"),
    [
        (["DATA=sample"], '.venv/bin/din-train reproduce --suite all --data "sample" --seeds 1'),
        ([], '.venv/bin/din-train reproduce --suite all --data "electronics,movielens" --seeds 5'),
        (
            ["DATA=sports", "SEEDS=3", "DATA_DIR=my logs"],
            '.venv/bin/din-train reproduce --suite all --data "sports" --seeds 3 --data-dir "my logs"',
        ),
    ],
)
def test_the_command_that_make_runs(variables: list[str], command: str) -> None:
    clean = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    make = ["make", "-n", "reproduce-paper", *variables]
    done = subprocess.run(make, cwd=REPOSITORY, env=clean, capture_output=True, text=True, check=True)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[-1] == command
    assert any("fetch_for_paper.sh" in line for line in lines) == ("DATA_DIR=my logs" not in variables)


def test_missing_logs_without_a_network_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nobody = {**os.environ, "DIN_TRAIN_MIRROR": "http://127.0.0.1:9"}
    fetch = [SCRIPTS / "data" / "fetch_for_paper.sh", "electronics,movielens"]
    fetched = subprocess.run(fetch, env=nobody, capture_output=True, text=True, check=False, timeout=60)
    assert (fetched.returncode, fetched.stdout, fetched.stderr) == (0, "", "")
    done = CliRunner().invoke(cli, ["reproduce", "--suite", "all", "--data", "electronics,movielens,sample"])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    for part in (
        "reviews_Electronics_5.json.gz and meta_Electronics.json.gz in data/electronics (fetch with `make data-",
        "ratings.csv and movies.csv in data/ml-20m (fetch with `scripts/data/download_movielens.sh`",
        "name their folder with --data-dir (`make reproduce-paper DATA_DIR=...`)",
        "`make reproduce-paper DATA=sample`",
    ):
        assert part in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
