"""docs/serving.md: the requests on the page are sent to real servers, and the names it gives are theirs."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server_process import Served
from v2_client import Client, build_request

pytestmark = pytest.mark.servers

PAGE = (Path(__file__).parents[2] / "docs/serving.md").read_text(encoding="utf-8")
# The rows of the page: two candidates of a user with two behaviours.
VALUES = {
    "item": ["B001GBKZK6", "B002J3U9NG"],
    "user": ["AETUWY37S8W2K1"],
    "history": [["B003MV3KPQ", "B001GBKZK6"]],
    "item_category": [""],
}


def find_block(language: str, words: str) -> str:
    """The one block of the page with these words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (block,) = (each for each in blocks if words in each)
    return block


def test_curl_and_python_get_the_same_answer(din_train_serve: Served, record: dict[str, Any]) -> None:
    here = f"127.0.0.1:{din_train_serve.port}"
    client = Client(din_train_serve.port, "din")
    expected = client.infer(build_request(record["inputs"], VALUES))["click_probability"]
    metrics = client.get("/metrics")[1].decode()
    paths = re.findall(r"^\| `(/[\w/]+)`", PAGE, re.MULTILINE) + re.findall(r"`(/v2/health/\w+)`", PAGE)
    statuses = {path: client.get(path)[0] for path in {*paths} - {"/ui", "/v2/models/din/infer"}}
    client.close()
    assert set(statuses.values()) == {200}
    assert len(statuses) >= 4
    named = {*re.findall(r"din_train_\w+", PAGE)}
    assert {name for name in named if not re.search(rf"^{name}(_bucket)?[ {{]", metrics, re.MULTILINE)} == set()

    curl = find_block("sh", "/v2/models/din/infer").replace("127.0.0.1:8080", here)
    done = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    answer = {each["name"]: each["data"] for each in json.loads(done.stdout)["outputs"]}
    assert list(answer) == ["click_probability", "logit"]
    np.testing.assert_allclose(answer["click_probability"], expected, rtol=0, atol=1e-6)

    script = find_block("python", "urllib").replace("127.0.0.1:8080", here)
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    printed = dict(line.split() for line in done.stdout.splitlines())
    assert [float(printed[item]) for item in VALUES["item"]] == pytest.approx(expected.tolist(), abs=1e-6)


def test_the_saved_model_of_the_page_is_that_of_the_onnx_file(workplace: Path, record: dict[str, Any]) -> None:
    import onnxruntime

    script = find_block("python", "tf.saved_model.load")
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, check=True)
    printed = [float(each) for each in done.stdout.strip().strip("[]").split()]
    session = onnxruntime.InferenceSession(str(workplace / "exports/sample/onnx/model.onnx"))
    (expected,) = session.run(["click_probability"], {name: np.array(each, object) for name, each in VALUES.items()})
    assert printed == pytest.approx(expected.tolist(), abs=1e-6)
    request = json.loads(re.search(r"--data '(.*?)'", find_block("sh", "tensorflow/serving"), re.DOTALL)[1])  # type: ignore[index]
    assert request == {"signature_name": "rank", "inputs": {**VALUES, "history": VALUES["history"][0]}}
    assert {each["name"] for each in record["inputs"]} == {*VALUES}
