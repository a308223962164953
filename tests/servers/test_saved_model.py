"""The SavedModel with TensorFlow alone. TensorFlow Serving: layout and signature tested, server not run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.servers

SCRIPT = Path(__file__).with_name("saved_model_alone.py")


@pytest.fixture(scope="module")
def answered(artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process gives that can import neither din-train nor Keras."""
    command = [sys.executable, "-I", str(SCRIPT), str(artefact)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    folder = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answered: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answered


def test_the_golden_requests(answered: dict[str, Any], record: dict[str, Any]) -> None:
    for golden, answer in zip(record["golden"], answered["answers"], strict=True):
        for logit in answer.values():
            np.testing.assert_allclose(logit, golden["logit"], rtol=1e-5, atol=1e-5, err_msg=golden["name"])
    assert sum("rank" in answer for answer in answered["answers"]) >= 3


def test_the_signatures_take_the_inputs_of_the_export(answered: dict[str, Any], record: dict[str, Any]) -> None:
    names = sorted(each["name"] for each in record["inputs"])
    assert answered["signatures"] == {"serving_default": names, "rank": names}


def test_the_layout_is_tensorflow_servings(artefact: Path) -> None:
    """A folder of versions: it takes those with a number as their name, and each holds a SavedModel."""
    versions = [path.name for path in artefact.iterdir() if path.name.isdigit()]
    assert versions == ["1"]
    assert {path.name for path in (artefact / "1").iterdir()} >= {"saved_model.pb", "variables", "assets"}
    assert not list((artefact / "1").rglob("*.py"))
    assert not list((artefact / "1").rglob("*.keras"))
