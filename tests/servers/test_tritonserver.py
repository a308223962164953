"""The Triton folder behind the real `tritonserver` binary of nvidia-pytriton, which has the Python backend alone."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server_process import find_free_port, running_server
from v2_client import Client, build_request

pytestmark = pytest.mark.servers

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = REPOSITORY / ".venv-triton"
PYTHON = ENVIRONMENT / "bin/python"
SAY_WHERE = """
import json, sys
from importlib.util import find_spec
print(json.dumps([find_spec("pytriton").submodule_search_locations[0], sys.version_info[:2]]))
"""


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, str]]:
    """The command without its repository, and its environment. The Python backend needs its stub beside it."""
    if not (ENVIRONMENT / ".installed").exists():
        pytest.skip(f"no {ENVIRONMENT}: `make setup-triton` could not install nvidia-pytriton; Triton is not tested")
    package, version = json.loads(subprocess.run([PYTHON, "-c", SAY_WHERE], capture_output=True, check=True).stdout)
    server = Path(package) / "tritonserver"
    backends = tmp_path_factory.mktemp("triton") / "backends"
    shutil.copytree(server / "backends", backends)
    stub = server / "python_backend_stubs" / ".".join(map(str, version)) / "triton_python_backend_stub"
    if not stub.exists():
        pytest.skip(f"nvidia-pytriton has no Python backend for Python {version}; Triton is not tested")
    shutil.copy2(stub, backends / "python")
    environment = {
        "LD_LIBRARY_PATH": str(server.parents[1] / "nvidia_pytriton.libs"),
        "PATH": f"{PYTHON.parent}:{os.environ['PATH']}",
        "PYTHONPATH": "",
    }
    return [str(server / "bin/tritonserver"), f"--backend-directory={backends}"], environment


@pytest.fixture(scope="module")
def client(
    triton: tuple[list[str], dict[str, str]], artefact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A client of a server that has nothing but a copy of the export's folder `triton`."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(artefact / "triton", folder / "triton")
    command, environment = triton
    port = find_free_port()
    command = [
        *command,
        f"--model-repository={folder / 'triton'}",
        "--http-address=127.0.0.1",
        f"--http-port={port}",
        "--allow-grpc=false",
        "--allow-metrics=false",
    ]
    with running_server(command, port, folder / "log", environment):
        client = Client(port, json.loads((artefact / "export.json").read_bytes())["name"])
        yield client
        client.close()  # Triton waits 30 s for open connections before it ends


def test_the_golden_rows(client: Client, record: dict[str, Any]) -> None:
    for row in record["golden"]:
        answer = client.infer(build_request(record["inputs"], row["inputs"]))
        assert answer["logit"].size, row["name"]
        np.testing.assert_allclose(answer["logit"], row["logit"], rtol=1e-5, atol=1e-5, err_msg=row["name"])
        np.testing.assert_allclose(
            answer["click_probability"], row["click_probability"], rtol=1e-5, atol=1e-5, err_msg=row["name"]
        )


def test_the_metadata_are_those_of_the_export(client: Client, record: dict[str, Any]) -> None:
    metadata = client.describe()
    for kind in ("inputs", "outputs"):
        told = {each["name"]: (each["datatype"], len(each["shape"])) for each in metadata[kind]}
        assert told == {each["name"]: (each["datatype"], len(each["shape"])) for each in record[kind]}


def test_a_bad_request_is_refused_and_the_next_one_is_answered(client: Client, record: dict[str, Any]) -> None:
    golden = record["golden"][0]
    good = build_request(record["inputs"], golden["inputs"], ["logit"])
    without_item = [each for each in record["inputs"] if each["name"] != "item"]
    short = build_request(without_item, golden["inputs"])
    rows = {**golden["inputs"], "history": golden["inputs"]["history"] * (len(golden["inputs"]["item"]) + 2)}
    for bad in (b"", b"{", short, build_request(record["inputs"], rows), good.replace(b'"BYTES"', b'"FP32"', 1)):
        status, answer = client.post(bad)
        assert status in (400, 500), answer
        assert b"\\n" not in answer
        assert json.loads(answer)["error"]
        assert list(client.infer(good)) == ["logit"]


def test_the_config_of_tritons_own_onnx_backend_is_read(
    triton: tuple[list[str], dict[str, str]], artefact: Path
) -> None:
    """This binary lacks that backend, so the config is read, and then the backend is missed by its name."""
    command, environment = triton
    repository = f"--model-repository={artefact / 'triton'}"
    port = find_free_port()
    options = ["--model-config-name=onnxruntime", "--http-address=127.0.0.1", f"--http-port={port}"]
    done = subprocess.run(
        [*command, repository, *options, "--allow-grpc=false", "--allow-metrics=false"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "unable to find backend library for backend 'onnxruntime'" in done.stderr
