"""Runs `din-train data inspect` on small files in the working directory."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import yaml
from click.testing import CliRunner

from din_train.cli import cli
from din_train.config import Config, load_config

START = 1_400_000_000  # 2014-05-13


def write(name: str, *lines: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    data = "".join(f"{line}\n" for line in lines).encode()
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def inspect(path: str) -> tuple[str, Config]:
    """The comments, without their marks, and the config that stdout is."""
    result = CliRunner().invoke(cli, ["data", "inspect", path])
    assert (result.exit_code, result.stderr) == (0, "")
    assert isinstance(yaml.safe_load(result.stdout), dict)
    Path("din-train.yaml").write_bytes(result.stdout_bytes)
    findings = result.stdout.partition("\n\n")[0].splitlines()
    assert all(line.startswith("#") for line in findings)
    return "\n".join(line[2:] for line in findings), load_config(Path("din-train.yaml"))


def edits() -> list[str]:
    """The keys that the config marks EDIT."""
    lines = Path("din-train.yaml").read_text(encoding="utf-8").partition("\nname:")[2].splitlines()
    return [line.partition(":")[0].strip() for line in lines if "# EDIT" in line]


def fail(path: str) -> str:
    """The one line that it ends with."""
    result = CliRunner().invoke(cli, ["data", "inspect", path])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def assert_rows(findings: str, *rows: tuple[str, str]) -> None:
    """That the findings have these rows, whatever their alignment."""
    found = [" ".join(line.split()) for line in findings.splitlines()]
    assert [row for row in rows if " ".join(row) not in found] == [], findings


def times(rows: int) -> list[int]:
    return [START + 60 * n for n in range(rows)]


def write_columns(name: str, **columns: Sequence[object]) -> None:
    """A CSV of users, items and times, and these columns."""
    count = len(next(iter(columns.values())))
    every = {"user": [f"u{n % 5}" for n in range(count)], "item": [f"i{n}" for n in range(count)], "time": times(count)}
    rows = zip(*{**every, **columns}.values(), strict=True)
    write(name, ",".join({**every, **columns}), *(",".join(map(str, row)) for row in rows))


def prepare() -> str:
    """What `prepare` says on stderr."""
    result = CliRunner().invoke(cli, ["prepare", "--config", "din-train.yaml"])
    assert result.exit_code == 0, result.stderr
    return result.stderr
