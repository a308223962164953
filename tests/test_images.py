"""The Dockerfiles, read: what they copy and run is there. `make images-check` lints them, `make images` builds them."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest
import yaml

from din_train.cli import COMMANDS, cli

REPOSITORY = Path(__file__).parents[1]
IGNORED = (REPOSITORY / ".dockerignore").read_text().splitlines()
DOCKERFILES = sorted(REPOSITORY.glob("docker/*/Dockerfile"))
YAML = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs/serving.md").read_text(encoding="utf-8"), re.DOTALL)


def read_steps(path: Path) -> list[tuple[str, str]]:
    """Each instruction with what follows it."""
    lines = [line for line in path.read_text().replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def list_copied(path: Path) -> list[str]:
    """The sources of COPY."""
    return [source for name, rest in read_steps(path) if name == "COPY" for source in rest.split()[:-1]]


def is_sent_to_docker(source: str) -> bool:
    """By .dockerignore, whose last line that matches counts."""
    sent = True
    for line in IGNORED:
        if line and not line.startswith("#") and fnmatch(source, line.removeprefix("!")):
            sent = line.startswith("!")
    return sent


def resolve(arguments: list[str]) -> click.Command:
    """The command of `din-train ARGUMENTS`, whose options are there."""
    name, command, rest = cli.resolve_command(click.Context(cli), arguments)
    assert command is not None
    command.make_context(name, rest, parent=click.Context(cli))
    return command


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_what_an_image_is_made_from(path: Path) -> None:
    steps = read_steps(path)
    copied = list_copied(path)
    assert {"din_train", "pyproject.toml", "README.md", "LICENSE"} < {*copied}  # what a build of the package reads
    assert [source for source in copied if not (REPOSITORY / source).exists() or not is_sent_to_docker(source)] == []
    for name, rest in steps:
        if name == "RUN":
            assert {*re.findall(r"--(?:requirement|constraint) (\S+)", rest)} <= {*copied}
        if name == "FROM":  # a tag, and neither `latest` nor a registry's host
            assert re.fullmatch(r"python:3\.\d+-slim-\w+", rest)
    assert [int(rest.split(":")[0]) for name, rest in steps if name == "USER"] == [10001]
    names = [name for name, _ in steps]
    assert names.index("USER") > max(place for place, name in enumerate(names) if name in ("COPY", "RUN"))
    assert "HEALTHCHECK" in names


def test_nothing_else_is_sent_to_docker() -> None:
    allowed = {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    assert allowed == {source for path in DOCKERFILES for source in list_copied(path)}
    assert not is_sent_to_docker("runs")
    assert not is_sent_to_docker(".git")


def test_the_server_of_the_image(tmp_path: Path) -> None:
    steps = dict(read_steps(REPOSITORY / "docker/serving/Dockerfile"))
    program, *arguments = json.loads(steps["ENTRYPOINT"])
    assert program == "din-train"
    arguments[arguments.index("--export") + 1] = str(tmp_path)  # /export is there in a container alone
    options = {option for each in resolve(arguments).params for option in each.opts}
    (port, grpc_port) = steps["EXPOSE"].split()
    defaults = {each.name: each.default for each in resolve(arguments).params}
    assert (defaults["port"], defaults["grpc_port"]) == (int(port), int(grpc_port))
    assert f"http://127.0.0.1:{port}/v2/health/ready" in steps["HEALTHCHECK"]
    for page in YAML:
        for what in yaml.safe_load_all(page):
            pod = what["spec"].get("predictor") or what["spec"].get("template", {}).get("spec", {})
            for container in pod.get("containers", ()):
                assert {each for each in container["args"] if each.startswith("--")} <= options
                assert container["volumeMounts"][0]["mountPath"] == "/export"
                assert container["ports"][0]["containerPort"] == int(port)
                probes = (container["readinessProbe"], container["livenessProbe"])
                assert [each["httpGet"]["port"] for each in probes] == [int(port)] * 2
                assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": int(steps["USER"].split(":")[0])}


def test_the_training_image_has_all_commands() -> None:
    steps = dict(read_steps(REPOSITORY / "docker/training/Dockerfile"))
    assert json.loads(steps["ENTRYPOINT"]) == ["din-train"]
    header = (REPOSITORY / "docker/training/Dockerfile").read_text().partition("\nFROM")[0]
    assert re.search(r" din-train (\w+)", header.split("/work")[1])[1] in COMMANDS  # type: ignore[index]
