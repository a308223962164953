"""The first command of the README: what `make quickstart` runs, on the shipped sample with the shipped config."""

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
    *_, compared = [run(command) for command in commands]
    assert (checkout / "runs/latest").resolve().name == "sample"
    for name in ("sample-base", "sample"):
        metrics = orjson.loads((checkout / "runs" / name / "metrics.json").read_bytes())
        assert re.search(rf"runs/{name} .*{metrics['auc']:.6f} .*{metrics['gauc']:.6f}", compared.stdout)
    assert any("runs/sample" in line and "runs/latest" in line for line in recipe)


def test_din_beats_base_model_by_a_hundredth_of_gauc(checkout: Path) -> None:
    means = {}
    for model in ("base", "din"):
        fit = ["fit", "--config", "configs/sample.yaml", "--set", f"model.name={model}", "--set", f"name={model}"]
        run([*fit, "--seeds", "1,2,3"])
        runs = [orjson.loads((checkout / f"runs/{model}-seed{k}/metrics.json").read_bytes()) for k in (1, 2, 3)]
        assert {(each["num_samples"], each["num_positives"]) for each in runs} == {(22_000, 2_000)}
        means[model] = sum(each["gauc"] for each in runs) / len(runs)
    assert means["din"] - means["base"] >= 0.01, means
