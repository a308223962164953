"""`din-train serve` as a command: what it refuses, in one line, and with which exit code."""

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_export import write_export

from din_train.cli import cli


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["serve", *arguments])
    return result.exit_code, result.output


def test_without_kserve_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "kserve" else find(name))
    exit_code, output = run("--export", str(write_export(tmp_path / "export")))
    assert exit_code == 2
    assert output.startswith("error: serve: KServe is not installed here; `make setup-serving`")
    assert output.count("\n") == 1


def test_a_damaged_export_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    folder = write_export(tmp_path / "export")
    (folder / "onnx/model.onnx").write_bytes(b"")
    exit_code, output = run("--export", str(folder))
    assert exit_code == 1
    assert output == (
        f"error: {folder}/onnx/model.onnx: its SHA-256 is not the one in export.json; export the run again, or copy "
        "the whole folder again\n"
    )


def test_options_are_checked(tmp_path: Path) -> None:
    assert run()[0] == 2
    assert run("--export", str(tmp_path), "--port", "70000")[0] == 2
    assert run("--export", str(tmp_path), "--workers", "0")[0] == 2
