"""A benchmark's child process: what it printed at last and what it took, or one line about how it failed."""

import sys
from pathlib import Path

import click
import pytest
from scripts_factory import load_script


def test_the_last_line_and_what_it_took(tmp_path: Path) -> None:
    run_child = load_script("child_process").run_child
    done = run_child([sys.executable, "-c", "print('log'); print('{\"loss\": 0.5}')"], tmp_path)
    assert done["loss"] == 0.5
    assert set(done) == {"loss", "seconds", "cores_used", "peak_mb", "load_before"}
    assert done["seconds"] > 0
    assert done["peak_mb"] > 1
    assert set(run_child([sys.executable, "-c", "print('no figures')"], tmp_path)) == set(done) - {"loss"}
    assert not list(tmp_path.iterdir())


def test_a_failure_is_one_line_that_ends_a_command(tmp_path: Path) -> None:
    module = load_script("child_process")
    program = tmp_path / "worker.py"
    program.write_text("import sys\nprint('first')\nsys.exit('error: no such log')\n")
    with pytest.raises(module.MeasurementError) as caught:
        module.run_child([sys.executable, program], tmp_path)
    assert str(caught.value) == "worker.py ended with exit code 1: error: no such log"
    assert isinstance(caught.value, click.ClickException)
    with pytest.raises(
        module.MeasurementError, match=r"^din_train ended with exit code 2: .*No such command 'prepair'"
    ):
        module.run_child([sys.executable, "-m", "din_train", "prepair"], tmp_path)
