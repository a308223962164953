"""The first command of the README: what `make quickstart` runs, for three epochs of the shipped sample and config."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from din_train.cli import cli
from din_train.tensorflow_setup import start_tensorflow

REPOSITORY = Path(__file__).parents[1]

start_tensorflow("cpu")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what is shipped for the commands to work on."""
    for name in ("configs", "data/sample"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(arguments: list[str]) -> Result:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return result


def test_quickstart_trains_both_models_and_compares_them(checkout: Path) -> None:
    make = ["make", "--dry-run", "--directory", str(REPOSITORY), "quickstart", "DIN_TRAIN=din-train"]
    recipe = subprocess.run(make, capture_output=True, text=True, check=True).stdout.splitlines()
    commands = [shlex.split(line)[1:] for line in recipe if line.startswith("din-train ")]
    assert [command[0] for command in commands] == ["fit", "fit", "compare"]
    fewer = ["--set", "training.epochs=3"]  # of up to 20, of which early stopping takes 7 and 11
    *_, compared = [run(command + (fewer if command[0] == "fit" else [])) for command in commands]
    assert (checkout / "runs/latest").resolve().name == "sample"
    base, din = (
        orjson.loads((checkout / "runs" / name / "metrics.json").read_bytes()) for name in ("sample-base", "sample")
    )
    for name, metrics in (("sample-base", base), ("sample", din)):
        assert (metrics["num_samples"], metrics["num_positives"]) == (22_000, 2_000)
        assert re.search(rf"runs/{name} .*{metrics['auc']:.6f} .*{metrics['gauc']:.6f}", compared.stdout)
    assert din["gauc"] - base["gauc"] >= 0.01  # it is about 0.06
    assert any("runs/sample" in line and "runs/latest" in line for line in recipe)
