"""What the documents and the shipped configs say works: every command runs, every config loads, every path is there."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from scripts_factory import load_script
from tensorflow.errors import ResourceExhaustedError

from din_train.cli import COMMANDS as COMMAND_NAMES
from din_train.cli import cli, describe_failure
from din_train.cli.init import DEFAULT_PATH
from din_train.config import load_config
from din_train.config.yaml_text import parse_yaml
from din_train.errors import ConfigError
from din_train.plan import plan
from din_train.plan.probe import Probe
from din_train.tensorflow_setup import start_tensorflow

REPOSITORY = Path(__file__).parents[1]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([\w-]+):.*## ", MAKEFILE, re.MULTILINE))
PAGES = sorted(path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "docs").rglob("*.md"))
DOCUMENTS = ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/sample/README.md", *PAGES)
RESULTS = sorted((REPOSITORY / "docs/results").glob("*.yaml"))

start_tensorflow("cpu")


def read(document: str) -> str:
    return (REPOSITORY / document).read_text(encoding="utf-8")


def list_commands(document: str) -> list[str]:
    """The lines of its shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", read(document).replace("\\\n", " "), re.DOTALL)
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]


COMMANDS = list_commands("README.md")


def test_the_readmes_begin_with_the_two_commands() -> None:
    assert COMMANDS[:2] == ["make quickstart", "make test"]
    assert set(list_commands("README.zh-CN.md")) <= set(COMMANDS)
    assert f"--config {DEFAULT_PATH}" in read("README.md")


def test_every_make_target_named_is_there() -> None:
    text = "\n".join(map(read, DOCUMENTS))
    named = set(re.findall(r"`make ([\w-]+)", text)) | set(re.findall(r"^make ([\w-]+)", text, re.MULTILINE))
    assert named - TARGETS == set()


def test_every_din_train_command_of_the_readme_runs_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rows = [f"u{n % 40},i{(n * 7 + n // 40) % 97},c{n % 5},{n}" for n in range(600)]
    (tmp_path / "data/events.csv").write_text("user_id,item_id,category,timestamp\n" + "\n".join(rows) + "\n")
    later = [f"u{n % 50},i{n % 110},c1,{n}" for n in range(600, 700)]
    (tmp_path / "data/tomorrow.csv").write_text(
        "user_id,item_id,category,timestamp\n" + "\n".join([*rows, *later]) + "\n"
    )
    monkeypatch.setattr(plan, "run_probe", lambda _: Probe(10_000.0, 1, 10**9))
    commands = [shlex.split(line) for line in COMMANDS if line.startswith("din-train ")]
    (tmp_path / "data/candidates.csv").write_text("user_id,item_id,timestamp\nu7,i49,600\nu7,i50,600\nnobody,i1,600\n")
    assert {command[1] for command in commands} == set(COMMAND_NAMES) - {"reproduce"}  # that has a make target
    for command in commands:
        # `serve` serves until it is stopped (tests/servers), `launch` is two processes (test_several_workers.py), and
        # the others start many trainings (tests/tune, tests/backtest)
        if command[1] in ("serve", "launch", "tune", "sweep", "backtest"):
            continue
        result = CliRunner().invoke(cli, command[1:])
        assert result.exit_code == 0, (command, result.output)


@pytest.mark.parametrize("page", [page for page in PAGES if "din-train " in "\n".join(list_commands(page))])
def test_every_din_train_command_of_a_page_has_its_options(page: str) -> None:
    for line in list_commands(page):
        if line.startswith("din-train "):
            command: click.Command | None = cli
            context, arguments = click.Context(cli), shlex.split(line)[1:]
            while isinstance(command, click.Group):
                name, command, arguments = command.resolve_command(context, arguments)
            assert command is not None
            try:
                command.make_context(name, arguments, parent=context)
            except click.BadParameter as error:  # files that only an example has
                if "does not exist" not in str(error):
                    raise


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_command_of_a_result_file_is_there(path: Path) -> None:
    command = parse_yaml(path.read_text(encoding="utf-8")).get("command")
    if command is not None:
        assert set(re.findall(r"\bmake ([\w-]+)", command)) <= TARGETS
        assert set(re.findall(r"\bdin-train (\w+)", command)) <= set(COMMAND_NAMES)
        assert re.match(r"(time )?(make |python scripts/|din-train )", command)
        for named in re.findall(r"\b(?:scripts|configs)/[\w./-]+", command):
            assert (REPOSITORY / named).exists()


def test_every_path_a_document_names_is_there() -> None:
    for name in DOCUMENTS:
        text = read(name)
        links = {(REPOSITORY / name).parent / target for target in re.findall(r"\]\((?!https?://)([^)#]+)", text)}
        named = set(re.findall(r"\b(?:din_train|scripts|configs|tests)/[\w./-]*\w", text))
        if name == "CHANGELOG.md":
            named.clear()  # it tells of the past
        paths = links | {REPOSITORY / each for each in named}
        assert [str(path) for path in paths if not path.exists()] == [], name


def test_the_gpu_page_has_the_lines_that_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda _kind: [])
    with pytest.raises(ConfigError) as no_gpu:
        start_tensorflow("gpu")
    lines = [f"error: {no_gpu.value.problems[0]}", load_script("gpu_check").NO_GPU]
    for other in ("deterministic=true", "strategy=mirrored"):
        with pytest.raises(ConfigError) as excluded:
            load_config(REPOSITORY / "configs/sample.yaml", [f"training.{other}", "training.jit_compile=on"])
        lines.append(str(excluded.value.problems[0]).partition(": ")[2])
    full, _ = describe_failure(ResourceExhaustedError(None, None, "..."))
    bug, _ = describe_failure(ZeroDivisionError())
    page = read("docs/gpu.md")
    for line in (*lines, *full, bug[0].partition(" (")[0]):
        assert line in page


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_loads_and_its_header_names_it(path: Path) -> None:
    config = load_config(path)
    header = path.read_text(encoding="utf-8").partition("\nname:")[0]
    assert f"din-train fit --config configs/{path.name}" in header
    assert all(line.startswith("#") for line in header.splitlines())
    assert str(config.data.prepared).startswith("prepared/")


def test_the_tour_names_every_folder_and_the_import_rule_is_the_checked_one() -> None:
    text = read("CONTRIBUTING.md")
    for folder in (REPOSITORY / "din_train").iterdir():
        if (folder / "__init__.py").exists():
            assert f"`din_train/{folder.name}/`" in text
    layers = re.findall(r'^  "(din_train\..+)",$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    rule = "\n-> ".join(layer.replace("din_train.", "").replace(" | ", ", ") for layer in layers)
    assert f"```text\n{rule}\n```" in text
