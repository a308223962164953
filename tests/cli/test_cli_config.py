"""`din-train init` and `din-train config`: what they write and print."""

import os
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner, Result

from din_train.cli import cli
from din_train.cli.init import STARTERS
from din_train.config import load_config
from din_train.config.data import Source


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="din-train")


def test_init_writes_a_config_that_is_valid_as_it_is() -> None:
    result = run("init")
    assert (result.exit_code, result.output) == (
        0,
        "din-train.yaml: written; put your files' paths in its 'data' section, then: "
        "din-train fit --config din-train.yaml\n",
    )
    result = run("config", "validate", "din-train.yaml")
    assert (result.exit_code, result.output) == (
        0,
        "din-train.yaml: valid\nmy-first-run: model 'din' on 'table' logs, protocol 'holdout', epochs 5, seed 1\n",
    )


@pytest.mark.parametrize("source", STARTERS)
def test_init_writes_one_for_every_source(source: str) -> None:
    assert run("init", "new/folder/my config.yaml", "--source", source).exit_code == 0
    path = Path("new/folder/my config.yaml")
    assert load_config(path).data.source == source
    text = path.read_text(encoding="utf-8")
    assert "#   din-train fit --config 'new/folder/my config.yaml' " in text
    assert "din-train.yaml" not in text
    assert list(path.parent.iterdir()) == [path]


def test_there_is_a_starter_for_every_source_and_help_names_it() -> None:
    assert set(STARTERS) == set(get_args(Source))
    shown = run("init", "--help").output.partition("Sources:")[2].partition("Options:")[0]
    assert all(source in shown for source in STARTERS)


def test_a_starter_follows_its_source() -> None:
    for source, protocol, paths in (
        ("movielens", "user", ["data/ratings.csv", "data/movies.csv"]),
        ("taobao", "holdout", ["data/UserBehavior.csv"]),
        ("x1", "presampled", ["data/train.csv", "data/test.csv"]),
        ("rows", "presampled", ["data/train.parquet"]),
        ("amazon-2023", "holdout", ["data/reviews.jsonl.gz", "data/meta.jsonl.gz"]),
        ("amazon-2018", "holdout", ["data/reviews.json.gz", "data/meta.json.gz"]),
    ):
        run("init", "--source", source, "--force")
        data = load_config(Path("din-train.yaml")).data
        assert data.protocol == protocol
        given = (data.reviews, data.events, data.path_of("items"), data.train, data.test)
        assert [str(path) for path in given if path is not None] == paths
        drawn = "\nnegatives:" in Path("din-train.yaml").read_text(encoding="utf-8")
        assert drawn == (source not in ("movielens", "x1"))


def test_init_never_overwrites_unless_told() -> None:
    path = Path("mine.yaml")
    path.write_text("mine")
    result = run("init", "mine.yaml")
    assert result.exit_code == 2
    assert result.stderr == "error: mine.yaml: already there; choose another path, or replace it with --force\n"
    assert path.read_text() == "mine"
    assert run("init", "mine.yaml", "--force").exit_code == 0
    assert load_config(path).name == "my-first-run"


def test_init_leaves_what_is_not_a_file_alone() -> None:
    Path("folder").mkdir()
    os.mkfifo("pipe")
    for path, line in (
        ("folder", "error: folder: is a folder; give the path of a file, such as folder/din-train.yaml\n"),
        ("pipe", "error: pipe: is not an ordinary file; choose another path\n"),
    ):
        result = run("init", path, "--force")
        assert (result.exit_code, result.stderr) == (2, line)
    assert Path("folder").is_dir()
    assert Path("pipe").is_fifo()


def test_init_under_a_file_fails() -> None:
    Path("file").touch()
    result = run("init", "file/new.yaml")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: file: cannot be made a folder, because file is a file; move it or choose another path\n"
    )


def test_show_prints_yaml_that_loads_to_the_same_config() -> None:
    run("init")
    result = run("config", "show", "din-train.yaml", "--set", "training.epochs=9", "--set", "data.protocol=paper")
    assert result.exit_code == 0
    Path("shown.yaml").write_text(result.stdout, encoding="utf-8")
    shown = load_config(Path("shown.yaml"))
    assert shown == load_config(Path("din-train.yaml"), ["training.epochs=9", "data.protocol=paper"])
    assert (shown.training.epochs, shown.training.select_on) == (9, "none")
    assert run("config", "show", "shown.yaml").stdout == result.stdout


@pytest.mark.parametrize("command", ["validate", "show"])
def test_every_problem_is_a_line(command: str) -> None:
    run("init")
    result = run("config", command, "din-train.yaml", "--set", "training.epochs=no", "--set", "data.events=")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: din-train.yaml: data.events: missing; source 'table' needs it\n"
        "error: din-train.yaml: training.epochs: received false, expected a whole number\n"
    )
