"""KServe's server over a small model: in this process by REST and gRPC, and as a process that is told to end."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from fake_export import EXAMPLE, EXAMPLE_LOGITS, write_export

pytest.importorskip("kserve", reason="NO KSERVE: the server was not tested; `make test-server` runs these tests")

import grpc
import httpx
import uvicorn
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from prometheus_client import REGISTRY

from din_train.cli import cli
from din_train.serve import http_connection, server
from din_train.serve.exported_model import ExportedModel
from din_train.serve.http_connection import LimitedConnection
from din_train.serve.served_request import Limits, hash_text
from din_train.serve.server import ServedModel, build_application

INFER = "/v2/models/din/infer"
DATATYPES = {
    "item": "BYTES", "user": "BYTES", "history": "BYTES", "timestamp": "INT64", "price": "FP64", "device": "BYTES"
}  # fmt: skip


def build_request(**changes: Any) -> dict[str, Any]:
    """The example, changed."""
    values = {**EXAMPLE, "device": [""], **changes}
    shapes = {name: list(np.array(value, object).shape) for name, value in values.items()}
    return {
        "inputs": [
            {"name": name, "datatype": DATATYPES[name], "shape": shapes[name], "data": value}
            for name, value in values.items()
        ]
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export(tmp_path_factory.mktemp("served") / "export")


class RoutesClient:
    """Asks the routes in this process."""

    def __init__(self, folder: Path) -> None:
        exported = ExportedModel(folder, threads=1)
        model = ServedModel(exported, Limits(20, 10), workers=1)
        self._application, self.service = build_application(model, exported, with_page=True)

    def request(self, method: str, path: str, **what: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._application, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://din") as client:
                return await client.request(method, path, **what)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def client(folder: Path) -> RoutesClient:
    return RoutesClient(folder)


def read_outputs(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return {each["name"]: each["data"] for each in response.json()["outputs"]}


def test_one_history_ranks_candidates(client: RoutesClient) -> None:
    response = client.request("POST", INFER, json={**build_request(), "id": "mine"})
    outputs = read_outputs(response)
    assert response.json()["id"] == "mine"
    assert [*outputs] == ["click_probability", "logit"]
    np.testing.assert_allclose(outputs["logit"], EXAMPLE_LOGITS, rtol=1e-6)
    np.testing.assert_allclose(outputs["click_probability"], 1 / (1 + np.exp(-np.array(EXAMPLE_LOGITS))), rtol=1e-6)


def test_many_rows_are_scored_by_a_worker(client: RoutesClient) -> None:
    outputs = read_outputs(client.request("POST", INFER, json=build_request(item=["a", "b"] * 10)))
    np.testing.assert_allclose(outputs["logit"], [3.3, 4.3] * 10, rtol=1e-6)


def test_texts_are_hashed_by_the_server(client: RoutesClient) -> None:
    outputs = read_outputs(client.request("POST", INFER, json=build_request(device=["phone"])))
    np.testing.assert_allclose(outputs["logit"], np.array(EXAMPLE_LOGITS) + hash_text("phone", 5), rtol=1e-6)


def test_outputs_by_name(client: RoutesClient) -> None:
    asked = {**build_request(), "outputs": [{"name": "known"}, {"name": "activation_weights"}]}
    outputs = read_outputs(client.request("POST", INFER, json=asked))
    assert outputs == {"known": [True, False], "activation_weights": [2, 0, 0, 0, 0, 0]}
    response = client.request("POST", INFER, json={**build_request(), "outputs": [{"name": "nothing"}]})
    assert response.status_code == 400
    assert "no output is called 'nothing'" in response.json()["error"]
    response = client.request("POST", INFER, json={**build_request(), "outputs": [{"name": "logit"}] * 2})
    assert (response.status_code, response.json()["error"]) == (400, "an output is named twice")


def test_an_answer_may_not_be_a_thousand_times_its_request(
    client: RoutesClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_MOST_NUMBERS", 8)
    asked = {**build_request(), "outputs": [{"name": "activation_weights"}, {"name": "logit"}]}
    assert len(read_outputs(client.request("POST", INFER, json=asked))) == 2  # 6 and 2 numbers
    asked["outputs"].append({"name": "known"})
    response = client.request("POST", INFER, json=asked)
    assert response.status_code == 400
    assert response.json()["error"].startswith("the answer would have 10 numbers; the limit is 8")


def test_binary_tensors(client: RoutesClient) -> None:
    request = build_request()
    ids = [each.encode() for each in ("a", "new")]
    binary = b"".join(len(each).to_bytes(4, "little") + each for each in ids)
    request["inputs"][0] = {
        "name": "item", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(binary)}
    }  # fmt: skip
    request["outputs"] = [{"name": "logit", "parameters": {"binary_data": True}}]
    head = orjson.dumps(request)
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = client.request("POST", INFER, content=head + binary, headers=headers)
    assert response.status_code == 200, response.text
    json_bytes = int(response.headers["inference-header-content-length"])
    np.testing.assert_allclose(np.frombuffer(response.content[json_bytes:], np.float32), EXAMPLE_LOGITS, rtol=1e-6)

    odd = orjson.dumps({**request, "parameters": [5]})
    for content, length, line in (
        (head + binary[:-1], len(head), "inputs[0]: binary_data_size is 12, and 11 bytes are left"),
        (head + binary + b"1", len(head), "1 bytes after the JSON belong to no input"),
        (head, 5, "the body is not JSON"),
        (head, len(head) + 1, "Inference-Header-Content-Length is"),
        (head + binary, "x", "Inference-Header-Content-Length is 'x'"),
        (head + binary, "-5", "Inference-Header-Content-Length is '-5'"),
        (head + binary, "9" * 5000, "Inference-Header-Content-Length is '9"),
        (odd + binary, len(odd), '"parameters" must be an object'),
        (b"[]", 2, 'no list "inputs"'),
    ):
        headers = {"Inference-Header-Content-Length": str(length)}
        response = client.request("POST", INFER, content=content, headers=headers)
        assert (response.status_code, line in response.json()["error"]) == (400, True), response.text


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "line"),
    [
        ("POST", INFER, b"{", 400, "the body is not JSON"),
        ("POST", INFER, b"", 400, "the body is not JSON"),
        ("POST", INFER, b"[" * 100_000, 400, "the body is not JSON"),
        ("POST", INFER, b'{"inputs": [NaN]}', 400, "the body is not JSON"),
        ("POST", INFER, b'{"inputs": "\\ud800"}', 400, "the body is not JSON"),
        ("POST", INFER, b'{"inputs": []}', 400, "missing: item, user"),
        ("POST", INFER, orjson.dumps({**build_request(), "outputs": 5}), 400, '"outputs" is not a list'),
        ("POST", INFER, orjson.dumps({**build_request(), "outputs": [5]}), 400, '"outputs" is not a list'),
        ("POST", INFER, orjson.dumps({**build_request(), "outputs": [{"name": []}]}), 400, "no output is called"),
        (
            "POST",
            INFER,
            orjson.dumps({**build_request(), "outputs": [{"name": "logit", "parameters": 5}]}),
            400,
            "whose parameters are objects",
        ),
        ("POST", INFER, orjson.dumps({**build_request(), "parameters": []}), 400, '"parameters" must be an object'),
        ("POST", INFER, orjson.dumps({**build_request(), "id": 5}), 400, '"parameters" must be an object, and "id"'),
        ("POST", INFER, orjson.dumps(build_request(item=["a"] * 21)), 400, "21 rows; a request may have 1 to 20"),
        ("POST", INFER, orjson.dumps(build_request(timestamp=[None])), 400, "timestamp: data[0] is None"),
        ("GET", INFER, None, 405, "Method Not Allowed"),
        ("POST", "/v2/models/other/infer", orjson.dumps(build_request()), 404, "Model with name other does not exist"),
        ("POST", "/v2/models/din/versions/1/infer", b"{}", 400, "not as the protocol has it"),
        ("GET", "/v2/models/din/versions/1", None, 404, "one version"),
        ("GET", "/v2/models/other", None, 404, "Model with name other does not exist"),
        ("GET", "/nothing", None, 404, "Not Found"),
        ("POST", "/v2/repository/models/din/unload", None, 400, "this server holds one model"),
        ("POST", "/v2/repository/models/din/load", None, 400, "this server holds one model"),
    ],
)
def test_a_bad_request_is_one_line(
    client: RoutesClient, method: str, path: str, content: bytes | None, status: int, line: str
) -> None:
    response = client.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    assert line in response.json()["error"]
    assert [*response.json()] == ["error"]
    np.testing.assert_allclose(
        read_outputs(client.request("POST", INFER, json=build_request()))["logit"], EXAMPLE_LOGITS, rtol=1e-6
    )


class AbortError(Exception):
    """What ends a gRPC method: the status and the line."""


class Context:
    """As much of gRPC's context as the service asks for."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def abort(self, status: grpc.StatusCode, line: str) -> None:
        raise AbortError(status.name, line)


def test_a_fault_of_the_server_is_one_line_on_stderr_with_the_requests_id(
    client: RoutesClient, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(ExportedModel, "score", fail)
    response = client.request("POST", INFER, json={**build_request(), "id": "mine\u001b[31m"})
    told = "request mine\\x1b[31m: RuntimeError: out of\\nmemory"
    assert (response.status_code, response.json()) == (500, {"error": told})
    assert re.fullmatch(re.escape(f"error: {told}") + r" \(test_server\.py:\d+\)\n", capfd.readouterr().err)
    assert client.request("POST", INFER, json=build_request()).status_code == 500
    assert re.match("error: request [0-9a-f-]{36}: RuntimeError", capfd.readouterr().err)
    with pytest.raises(AbortError) as aborted:
        asyncio.run(client.service.ModelInfer(build_message(), Context()))
    assert aborted.value.args == ("INTERNAL", "request mine: RuntimeError: out of\\nmemory")
    assert capfd.readouterr().err.count("\n") == 1
    assert client.request("POST", INFER, content=b"{").status_code == 400
    assert capfd.readouterr().err == ""  # a bad request is the client's fault


def test_health_and_metadata(client: RoutesClient) -> None:
    assert client.request("GET", "/").json() == {"status": "alive"}
    assert client.request("GET", "/v2/health/live").json() == {"live": True}
    assert client.request("GET", "/v2/health/ready").json() == {"ready": True}
    assert client.request("GET", "/v2/models/din/ready").json() == {"name": "din", "ready": True}
    assert client.request("GET", "/v2").json()["name"] == "din-train"
    assert client.request("GET", "/v2/models").json() == {"models": ["din"]}
    metadata = client.request("GET", "/v2/models/din").json()
    assert metadata["inputs"][2] == {"name": "history", "datatype": "BYTES", "shape": [-1, -1]}
    assert metadata["inputs"][5] == {"name": "device", "datatype": "BYTES", "shape": [-1]}
    assert metadata["outputs"][0] == {"name": "click_probability", "datatype": "FP32", "shape": [-1]}


def test_unknown_ids_are_counted(client: RoutesClient) -> None:
    names = ("rows", "unknown_items", "behaviours", "unknown_behaviours")

    def count() -> list[float]:
        return [REGISTRY.get_sample_value(f"din_train_{name}_total") or 0 for name in names]

    before = count()
    read_outputs(client.request("POST", INFER, json=build_request()))
    assert np.subtract(count(), before).tolist() == [2, 1, 2, 1]
    read_outputs(client.request("POST", INFER, json=build_request(history=[[]])))
    assert np.subtract(count(), before).tolist() == [4, 2, 2, 1]
    assert "din_train_rows_total" in client.request("GET", "/metrics").text


def test_the_page_comes_from_the_server_alone(client: RoutesClient) -> None:
    page = client.request("GET", "/ui")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    for path in re.findall(r'(?:src|href)="(/[^"]*)"', page.text):
        assert client.request("GET", path).status_code == 200, path
    assert "//" not in re.sub(r"(?m)^//.*$", "", client.request("GET", "/ui/page.js").text)
    assert [each["name"] for each in client.request("GET", "/ui/about.json").json()["golden"]] == [
        "unknown ids",
        "empty history",
    ]


class Process:
    """`din-train serve`, started on free ports."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "din_train", "serve", "--export", str(folder), *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.errors = self.process.stderr
        line = self.errors.readline()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+) answers REST, 127\.0\.0\.1:(\d+) gRPC; Ctrl-C ends it\n", line)
        assert found, line
        self.port, self.grpc_port = int(found[1]), int(found[2])
        self.url = f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Process]:
    served = Process(folder, "--port", "0", "--grpc-port", "0", *options)
    try:
        yield served
    finally:
        served.process.kill()
        served.process.wait()
        served.errors.close()


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Process]:
    """Ctrl-C ends it."""
    with serving(folder, "--max-body-mb", "1", "--max-rows", "500") as process:
        yield process
        os.kill(process.process.pid, signal.SIGINT)
        assert process.process.wait(60) == 130


def build_message(**changes: Any) -> messages.ModelInferRequest:
    contents = {"BYTES": "bytes_contents", "INT64": "int64_contents", "FP64": "fp64_contents"}
    request = messages.ModelInferRequest(model_name="din", id="mine")
    for each in build_request(**changes)["inputs"]:
        tensor = request.inputs.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        flat = np.array(each["data"], object).ravel().tolist()
        flat = [value.encode() if isinstance(value, str) else np.nan if value is None else value for value in flat]
        getattr(tensor.contents, contents[each["datatype"]]).extend(flat)
    return request


def test_grpc(served: Process) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(messages.ServerReadyRequest()).ready
        assert stub.ModelReady(messages.ModelReadyRequest(name="din")).ready
        assert stub.ModelMetadata(messages.ModelMetadataRequest(name="din")).inputs[2].name == "history"
        answer = stub.ModelInfer(build_message())
        assert answer.id == "mine"
        assert answer.outputs[1].name == "logit"
        np.testing.assert_allclose(np.frombuffer(answer.raw_output_contents[1], np.float32), EXAMPLE_LOGITS, rtol=1e-6)

        raw = build_message()
        for each in raw.inputs:
            each.ClearField("contents")
        texts = [b"\1\0\0\0a\3\0\0\0new", b"\0\0\0\0", b"\1\0\0\0b\0\0\0\0\4\0\0\0gone", b"\0\0\0\0"]
        numbers = [(10).to_bytes(8, "little"), np.array([np.nan]).tobytes()]
        raw.raw_input_contents.extend([*texts[:3], *numbers, texts[3]])  # what tritonclient sends
        answer = stub.ModelInfer(raw)
        np.testing.assert_allclose(np.frombuffer(answer.raw_output_contents[1], np.float32), EXAMPLE_LOGITS, rtol=1e-6)
        raw.raw_input_contents[0] = b"\x05\0\0\0a"
        wrong = messages.ModelInferRequest(model_name="din")
        wrong.inputs.add(name="item", datatype="NOTHING", shape=[1])
        other = build_message()
        other.model_name = "other"
        older = build_message()
        older.model_version = "7"
        refusals = [
            (build_message(item=["a"] * 501), "INVALID_ARGUMENT", "501 rows; a request may have 1 to 500"),
            (build_message(price=[float("inf")]), "INVALID_ARGUMENT", "price: infinite numbers cannot be scored"),
            (build_message(timestamp=[1_700_000_000_000]), "INVALID_ARGUMENT", "unix seconds, not milliseconds"),
            (raw, "INVALID_ARGUMENT", "item: its binary data end within a text"),
            (wrong, "INVALID_ARGUMENT", "invalid content type"),
            (other, "NOT_FOUND", "Model with name other does not exist"),
            (older, "NOT_FOUND", "one version; leave the version out"),
            (messages.ModelInferRequest(model_name="din"), "INVALID_ARGUMENT", "missing: item, user"),
            (build_message(item=["a" * 1_100_000]), "RESOURCE_EXHAUSTED", "larger than max"),
        ]
        for request, code, line in refusals:
            with pytest.raises(grpc.RpcError) as refused:
                stub.ModelInfer(request)
            assert (refused.value.code().name, line in refused.value.details()) == (code, True), refused.value
        for ask in (
            lambda: stub.ModelReady(messages.ModelReadyRequest(name="din", version="7")),
            lambda: stub.ModelMetadata(messages.ModelMetadataRequest(name="din", version="7")),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                ask()
            assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError, match="this server holds one model"):
            stub.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name="din"))
        assert len(stub.ModelInfer(build_message()).outputs) == 2
    counted = httpx.get(f"{served.url}/metrics").text
    assert 'din_train_requests_total{protocol="grpc",status="OK"} 3.0' in counted
    assert 'din_train_requests_total{protocol="grpc",status="INVALID_ARGUMENT"} 6.0' in counted


def test_rest_over_one_connection(served: Process) -> None:
    with httpx.Client(base_url=served.url) as client:
        for _ in range(3):
            assert client.post(INFER, content=b"{").status_code == 400
            np.testing.assert_allclose(
                read_outputs(client.post(INFER, json=build_request()))["logit"], EXAMPLE_LOGITS, rtol=1e-6
            )
        assert client.get("/ui").status_code == 404  # without --ui
    assert httpx.post(f"{served.url}{INFER}", content=b" " * (1 << 20) + b"{}").status_code == 413


def test_many_clients_at_once(served: Process) -> None:
    """Each request has a logit of its own, and every fourth is malformed."""

    def be_client(number: int) -> list[int]:
        statuses = []
        with httpx.Client(base_url=served.url, timeout=60) as client:
            for turn in range(40):
                day, rows = (number + turn) % 7, 1 + (number * turn) % 20  # more rows than one thread scores at once
                request = build_request(timestamp=[day], item=["a", "new"] * rows)
                response = client.post(INFER, content=orjson.dumps(request)[: -1 if turn % 4 == 3 else None])
                statuses.append(response.status_code)
                if response.status_code == 200:
                    expected = np.tile(EXAMPLE_LOGITS, rows) + (day - 3) / 10
                    np.testing.assert_allclose(read_outputs(response)["logit"], expected, rtol=1e-5)
        return statuses

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(be_client, range(8))) == [[200, 200, 200, 400] * 10] * 8


def test_a_head_without_end_is_not_kept(served: Process) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"a" * 100_000_000)  # more than the system's buffers hold


async def _ask_in_pieces(port: int) -> tuple[bytes, float]:
    """A request whose body and pause are longer than a head may take, then half a head: what came, and seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n" + b" " * 1_000_000)
    await asyncio.sleep(0.4)
    writer.write(b" " * 1_000_000)
    answer = await reader.readuntil(b"done")
    begun = time.perf_counter()
    writer.write(b"GET / HT")
    answer += await reader.read()
    writer.close()
    return answer, time.perf_counter() - begun


def test_half_a_head_is_waited_for_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "_HEAD_SECONDS", 0.2)

    async def application(_: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(0.4)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})

    async def check() -> None:
        config = uvicorn.Config(application, log_level="critical", lifespan="off", ws="none", http=LimitedConnection)
        config.load()
        state = uvicorn.server.ServerState()
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: LimitedConnection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        async with listener:
            answer, seconds = await asyncio.wait_for(_ask_in_pieces(listener.sockets[0].getsockname()[1]), 20)
        assert answer.endswith(b"done")
        assert 0.05 < seconds < 15

    asyncio.run(check())


def test_a_port_that_is_taken(folder: Path, served: Process) -> None:
    for port, option in ((served.port, "port"), (served.grpc_port, "grpc-port")):
        result = CliRunner().invoke(
            cli, ["serve", "--export", str(folder), "--port", "0", "--grpc-port", "0", f"--{option}", str(port)]
        )
        line = rf"error: 127\.0\.0\.1:{port}: .*; choose another --{option} or --host\n"
        assert (result.exit_code, bool(re.fullmatch(line, result.output))) == (1, True), result.output


def test_requests_in_flight_are_answered_when_it_ends(folder: Path) -> None:
    with serving(folder) as served:
        answers: list[int] = []

        def ask() -> None:
            parts = [orjson.dumps(build_request())]

            def send_slowly() -> Iterator[bytes]:
                yield parts[0][:10]
                time.sleep(2)
                yield parts[0][10:]

            answers.append(httpx.post(f"{served.url}{INFER}", content=send_slowly()).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.7)
        os.kill(served.process.pid, signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(httpx.ConnectError):  # it listens no more
            httpx.get(f"{served.url}/v2/health/ready")
        asking.join()
        assert answers == [200]
        assert served.process.wait(60) == 143
        assert served.errors.read() == "interrupted; requests in flight were answered\n"
