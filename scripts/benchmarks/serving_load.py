"""Load on `din-train serve` by REST: latency, throughput, answers that are wrong, memory.

    .venv/bin/python scripts/benchmarks/serving_load.py --export DIR --server .venv-serving/bin/din-train

The golden rows are the requests, and every answer is compared with the logits that `export` wrote. Between them,
malformed requests come, which must be 4xx.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CLIENTS = 8
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Server:
    """pid: of the process."""

    host: str
    port: int
    grpc_port: int
    pid: int

    def read_megabytes(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def read_cpu_seconds(self) -> float:
        """Of all its threads, since it began."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running_server(command: str, export: Path, *options: str) -> Iterator[tuple[Server, float]]:
    """`din-train serve` on free ports, ended by SIGTERM; and the seconds until it was ready."""
    begun = time.perf_counter()
    arguments = [command, "serve", "--export", str(export), "--port", "0", "--grpc-port", "0", *options]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)  # noqa: S603
    try:
        line = process.stderr.readline()
        address = re.match(r"http://(.*):(\d+) answers REST, .*:(\d+) gRPC", line)
        if address is None:
            raise SystemExit(f"the server did not start: {line}{process.stderr.read()}")
        yield Server(address[1], int(address[2]), int(address[3]), process.pid), time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait(60)


def read_requests(export: Path) -> tuple[str, list[tuple[bytes, np.ndarray]]]:
    """The model's path, and the golden rows as bodies with the logits that they must have."""
    about = json.loads((export / "export.json").read_text())
    datatypes = {each["name"]: each["datatype"] for each in about["inputs"]}
    requests = [(build_body(row["inputs"], datatypes), np.array(row["logit"], np.float32)) for row in about["golden"]]
    return f"/v2/models/{about['name']}/infer", requests


def build_body(inputs: dict[str, Any], datatypes: dict[str, str]) -> bytes:
    """A V2 request of nested lists by input."""
    tensors = []
    for name, value in inputs.items():
        array = np.array(value, object)
        flat = array.ravel().tolist()
        tensors.append({"name": name, "shape": list(array.shape), "datatype": datatypes[name], "data": flat})
    return json.dumps({"inputs": tensors}).encode()


def spoil(body: bytes) -> list[bytes]:
    """Requests that cannot be answered, made of one that can."""

    def change(key: str, value: Any, number: int = 0) -> bytes:
        request = json.loads(body)
        request["inputs"][number][key] = value
        return json.dumps(request).encode()

    request = json.loads(body)
    return [
        body[: len(body) // 2],
        b"",
        b"\xff\xfe{",
        b"[" * 100_000,
        b"null",
        b'{"inputs": {}}',
        json.dumps({"inputs": request["inputs"][1:]}).encode(),
        json.dumps({"inputs": request["inputs"] * 2}).encode(),
        json.dumps({**request, "outputs": [{"name": "nothing"}]}).encode(),
        change("name", "itme"),
        change("name", None),
        change("datatype", "FP32"),
        change("datatype", 5),
        change("shape", [-1]),
        change("shape", [2**62, 2**62]),
        change("shape", [1.5]),
        change("shape", "three"),
        change("data", [1]),
        change("data", [None]),
        change("data", [["a"], []]),
        change("data", {"a": 1}),
        change("data", [float("nan")]),
        change("data", ["\ud800"]),
        change("data", ["x"] * 100_000),
        b" " * (5 << 20),
    ]


def run_load(
    server: Server,
    path: str,
    requests: Sequence[tuple[bytes, np.ndarray]],
    goes_on: Callable[[int], bool],
    *,
    clients: int = CLIENTS,
    malformed: Sequence[bytes] = (),
) -> dict[str, float]:
    """Ask until `goes_on`, given the number of a client's requests, says no; every fifth is malformed, if any is."""
    seconds: list[float] = []
    wrong: list[str] = []
    refused: list[int] = []

    def ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes, float]:
        begun = time.perf_counter()
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(), time.perf_counter() - begun

    def be_client(first: int) -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        connection.connect()
        count = -1
        while goes_on(count := count + 1):
            if malformed and count % 5 == 4:
                try:
                    status = ask(connection, malformed[(first + count) % len(malformed)])[0]
                except (BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
                    status = 413
                    connection.close()
                if not 400 <= status < 500:
                    wrong.append(f"status {status} for a malformed request")
                refused.append(status)
            else:
                body, expected = requests[(first + count) % len(requests)]
                try:
                    status, text, taken = ask(connection, body)
                except (OSError, http.client.HTTPException) as error:
                    wrong.append(f"no answer: {error!r}")
                    connection.close()
                    continue
                seconds.append(taken)
                logits = status == 200 and next(
                    each["data"] for each in json.loads(text)["outputs"] if each["name"] == "logit"
                )
                if status != 200 or not np.allclose(logits, expected, rtol=0, atol=TOLERANCE):
                    wrong.append(f"status {status}: {text[:200]!r}")
        connection.close()

    begun, cpu_seconds = time.perf_counter(), server.read_cpu_seconds()
    threads = [threading.Thread(target=be_client, args=(number,)) for number in range(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    passed = time.perf_counter() - begun
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    for each in wrong[:5]:
        print(f"WRONG: {each}")
    return {
        "requests": len(seconds),
        "malformed": len(refused),
        "wrong": len(wrong),
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "requests_per_second": round(len(seconds) / passed),
        "server_cpu_ms": round((server.read_cpu_seconds() - cpu_seconds) / (len(seconds) + len(refused)) * 1e3, 2),
    }


def measure(export: Path, command: str, seconds: float, total: int = 10_000) -> dict[str, Any]:
    """One client; 8 clients; and 8 clients for some seconds with malformed requests in between."""
    path, requests = read_requests(export)
    malformed = spoil(requests[0][0])
    with running_server(command, export) as (server, cold_start):
        run_load(server, path, requests, lambda count: count < 100)
        results = {
            "cold_start_s": round(cold_start, 2),
            "one_client": run_load(server, path, requests, lambda count: count < 1000, clients=1),
            "eight_clients": run_load(server, path, requests, lambda count: count < total // CLIENTS),
        }
        run_load(server, path, requests, lambda count: count < 100, malformed=malformed)
        before, end = server.read_megabytes(), time.perf_counter() + seconds
        results["mixed"] = run_load(server, path, requests, lambda _: time.perf_counter() < end, malformed=malformed)
        results["memory_mb"] = {"before": round(before), "after": round(server.read_megabytes())}
    return results


def main() -> None:
    """Print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", type=Path, required=True, help="the folder that `din-train export` wrote")
    parser.add_argument("--server", default=".venv-serving/bin/din-train", help="the command")
    parser.add_argument("--seconds", type=float, default=60, help="of the load with malformed requests")
    parser.add_argument("--requests", type=int, default=10_000, help="of the 8 clients")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.export, asked.server, asked.seconds, asked.requests), indent=2))


if __name__ == "__main__":
    main()
