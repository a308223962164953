"""What the README and the shipped configs say works: every command runs, every config loads, every link leads there."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from din_train.cli import cli
from din_train.cli.init import DEFAULT_PATH
from din_train.config import load_config
from din_train.tensorflow_setup import start_tensorflow

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]  # fmt: skip
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/sample/README.md")

start_tensorflow("cpu")


def test_the_first_two_commands() -> None:
    assert COMMANDS[:2] == ["make quickstart", "make test"]


def test_every_make_target_named_is_there() -> None:
    text = "\n".join((REPOSITORY / name).read_text(encoding="utf-8") for name in DOCUMENTS)
    named = set(re.findall(r"`make ([\w-]+)", text)) | set(re.findall(r"^make ([\w-]+)", text, re.MULTILINE))
    targets = set(re.findall(r"^([\w-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert named - targets == set()
    assert {"help", "setup", "quickstart", "test", "check", "ci", "clean"} <= targets


def test_every_din_train_command_of_the_readme_runs_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rows = [f"u{n % 40},i{(n * 7 + n // 40) % 97},c{n % 5},{n}" for n in range(600)]
    (tmp_path / "data/events.csv").write_text("user_id,item_id,category,timestamp\n" + "\n".join(rows) + "\n")
    commands = [shlex.split(line) for line in COMMANDS if line.startswith("din-train ")]
    assert {command[1] for command in commands} == {"data", "init", "config", "fit", "eval", "prepare", "compare"}
    for command in commands:
        result = CliRunner().invoke(cli, command[1:])
        assert result.exit_code == 0, (command, result.output)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_loads_and_its_header_names_it(path: Path) -> None:
    config = load_config(path)
    header = path.read_text(encoding="utf-8").partition("\nname:")[0]
    assert f"din-train fit --config configs/{path.name}" in header
    assert all(line.startswith("#") for line in header.splitlines())
    assert str(config.data.prepared).startswith("prepared/")


def test_every_path_a_document_links_to_is_there() -> None:
    for name in DOCUMENTS:
        document = REPOSITORY / name
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{name}: {target}"


def test_the_tour_names_every_folder_and_the_import_rule_is_the_checked_one() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for folder in (REPOSITORY / "din_train").iterdir():
        if (folder / "__init__.py").exists():
            assert f"`din_train/{folder.name}/`" in text
    layers = re.findall(r'^  "(din_train\..+)",$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    rule = " -> ".join(layer.replace("din_train.", "").replace(" | ", ", ") for layer in layers)
    assert rule in text


def test_starters_name_the_file_that_the_readme_does() -> None:
    assert f"--config {DEFAULT_PATH}" in README
