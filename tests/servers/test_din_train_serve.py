"""`din-train serve` in a process of its own: golden requests, 8 clients at once, malformed requests, SIGTERM.

LOAD_REQUESTS and LOAD_SECONDS scale it; figures are printed.
"""

import http.client
import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server_process import Served
from v2_client import Client, Floats, Scored, build_request

pytestmark = pytest.mark.servers

REQUESTS = int(os.environ.get("LOAD_REQUESTS", "10000"))
SECONDS = float(os.environ.get("LOAD_SECONDS", "60"))
CLIENTS = 8
TOLERANCE = 1e-5  # in logits; of one beyond 1, that share of it


@contextmanager
def connected(served: Served) -> Iterator[Client]:
    with closing(Client(served.port, "din")) as client:
        yield client


def run_clients(work: Callable[[int], Any]) -> list[Any]:
    """What `work(number)` gives in each of the clients' threads."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(work, range(CLIENTS)))


def ask(client: Client, request: Scored) -> tuple[float, float]:
    """Seconds, and the largest difference from `predict`, as the tolerance counts it."""
    begun = time.perf_counter()
    logit = client.infer(request.body)["logit"]
    seconds = time.perf_counter() - begun
    assert logit.shape == request.logit.shape
    return seconds, float((np.abs(logit - request.logit) / np.maximum(1, np.abs(request.logit))).max())


def read_memory(served: Served) -> int:
    """Bytes of memory that the server has in use."""
    pages = Path(f"/proc/{served.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def describe(seconds: Floats) -> str:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return f"{len(seconds):,} requests of 1 to 8 candidates from {CLIENTS} clients: p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def test_the_golden_requests(din_train_serve: Served, record: dict[str, Any]) -> None:
    with connected(din_train_serve) as client:
        for row in record["golden"]:
            answer = client.infer(build_request(record["inputs"], row["inputs"]))
            for name in ("logit", "click_probability"):
                np.testing.assert_allclose(answer[name], row[name], rtol=TOLERANCE, atol=TOLERANCE, err_msg=row["name"])


def test_many_clients_get_what_predict_writes(
    din_train_serve: Served, scored: list[Scored], capsys: pytest.CaptureFixture[str]
) -> None:
    def work(number: int) -> list[tuple[float, float]]:
        with connected(din_train_serve) as client:
            mine = range(number, REQUESTS, CLIENTS)
            return [ask(client, scored[each % len(scored)]) for each in mine]

    begun = time.perf_counter()
    answers = np.array(list(itertools.chain.from_iterable(run_clients(work))))
    lasted = time.perf_counter() - begun
    assert len(answers) == REQUESTS
    assert answers[:, 1].max() <= TOLERANCE
    with capsys.disabled():
        print(f"\n{describe(answers[:, 0])}, {REQUESTS / lasted:,.0f} requests per second")


def list_malformed(inputs: list[dict[str, Any]], good: Scored) -> list[bytes]:
    """Bodies that no server can answer."""

    def change(place: int, **keys: Any) -> bytes:
        body = json.loads(good.body)
        body["inputs"][place].update(keys)
        return json.dumps(body).encode()

    values = json.loads(good.body)["inputs"][0]["data"]
    return [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b'{"inputs": 1}',
        b'{"inputs": [{}]}',
        b'{"inputs": []}',
        b"[" * 100_000,
        good.body[:-5],
        change(0, shape=[10**12]),
        change(0, shape=[-1]),
        change(0, shape=[[1]]),
        change(0, datatype="FP32"),
        change(0, datatype=None),
        change(0, data=[1.5] * len(values)),
        change(0, data=[None] * len(values)),
        change(0, data=[["deep"]] * len(values)),
        change(0, name="no such input"),
        change(0, name="user"),
        change(2, shape=[10_000_000, 0], data=[]),
        json.dumps({**json.loads(good.body), "outputs": [{"name": "no such output"}]}).encode(),
        build_request(
            inputs,
            {"item": ["a", "b", "c"], "user": ["u", "v"], "history": [["a"]], "item_category": [""]},
        ),
    ]


def test_malformed_requests_harm_nobody(
    din_train_serve: Served, scored: list[Scored], record: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    malformed = list_malformed(record["inputs"], scored[1])
    ends = time.monotonic() + SECONDS
    memory = {}

    def work(number: int) -> list[tuple[float, float]]:
        answers = []
        with connected(din_train_serve) as client:
            for turn in itertools.count(number):
                answers.append(ask(client, scored[turn * 7 % len(scored)]))
                if turn % 4 == 0:
                    status, answer = client.post(malformed[turn // 4 % len(malformed)])
                    assert 400 <= status < 500, (status, answer, malformed[turn // 4 % len(malformed)][:200])
                    (line,) = json.loads(answer)["error"].splitlines()
                    assert line
                left = ends - time.monotonic()
                if number == 0 and left < SECONDS * 0.7:
                    memory.setdefault("before", read_memory(din_train_serve))
                if left < 0:
                    return answers
        raise AssertionError

    parts = [np.array(each) for each in run_clients(work)]
    memory["after"] = read_memory(din_train_serve)
    answers = np.concatenate(parts)
    assert answers[:, 1].max() <= TOLERANCE
    early = np.concatenate([part[: len(part) // 2, 0] for part in parts])
    late = np.concatenate([part[len(part) // 2 :, 0] for part in parts])
    grown = (memory["after"] - memory["before"]) / 2**20
    with capsys.disabled():
        print(f"\n{SECONDS:.0f} s with every fourth request malformed: {describe(answers[:, 0])}, {grown:+.1f} MiB")
    assert grown < 24
    assert np.percentile(late, 99) < max(4 * np.percentile(early, 99), 0.25)
    assert din_train_serve.process.poll() is None


def test_sigterm_lets_requests_in_flight_finish(din_train_serve: Served, scored: list[Scored]) -> None:
    rows, body = 4096, json.loads(scored[1].body)
    body["inputs"][0].update(shape=[rows], data=["B001GBKZK6"] * rows)
    large = json.dumps(body).encode()
    served = din_train_serve

    def work(number: int) -> tuple[float, Floats]:
        if number == 0:
            time.sleep(0.15)
            served.process.send_signal(signal.SIGTERM)
            return time.monotonic(), np.array([])
        with connected(served) as client:
            logit = client.infer(large)["logit"]
            return time.monotonic(), logit

    (signalled, _), *answered = run_clients(work)
    assert max(moment for moment, _ in answered) > signalled  # else nothing was in flight
    for _, logit in answered:
        assert logit.shape == (rows,)
        assert np.ptp(logit) <= TOLERANCE
    assert served.process.wait(timeout=20) == 128 + signal.SIGTERM
    with pytest.raises((OSError, http.client.HTTPException)), connected(served) as client:
        client.get("/v2/health/ready")
