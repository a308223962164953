"""The limits in front of all routes, with an application that answers with the body's length."""

import asyncio
from typing import Any

import orjson
import pytest

from din_train.serve import http_limits
from din_train.serve.http_limits import HttpLimits

PATH = "/v2/models/din/infer"


class Asked:
    """Asks one `HttpLimits`; `counted` is what it counted."""

    def __init__(self, body_bytes: int = 10, in_flight: int = 1) -> None:
        self.counted: list[tuple[str, str]] = []
        self.release = asyncio.Event()
        self.release.set()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            body = b"" if scope["method"] == "GET" else (await receive())["body"]
            await self.release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(len(body)).encode()})

        self.limits = HttpLimits(application, body_bytes=body_bytes, in_flight=in_flight, count=self._count)

    def _count(self, protocol: str, status: str, seconds: float) -> None:
        assert seconds >= 0
        self.counted.append((protocol, status))

    async def ask(self, *parts: bytes, method: str = "POST", path: str = PATH, **headers: str) -> tuple[int, bytes]:
        """No part: the client goes away."""
        messages = [
            {"type": "http.request", "body": part, "more_body": number < len(parts)}
            for number, part in enumerate(parts, 1)
        ] or [{"type": "http.disconnect"}]
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await self.limits({"type": "http", "method": method, "path": path, "headers": encoded}, receive, send)
        return (sent[0]["status"], sent[1]["body"]) if sent else (0, b"")


def test_a_body_within_the_limit_arrives_whole() -> None:
    async def check() -> None:
        asked = Asked()
        assert await asked.ask(b"12345", b"67890") == (200, b"10")
        assert asked.counted == [("rest", "200")]

    asyncio.run(check())


@pytest.mark.parametrize(("parts", "headers"), [((b"12345", b"678901"), {}), ((b"",), {"content_length": "11"})])
def test_a_larger_body_is_refused(parts: tuple[bytes, ...], headers: dict[str, str]) -> None:
    async def check() -> None:
        asked = Asked()
        status, body = await asked.ask(*parts, **headers)
        assert status == 413
        assert orjson.loads(body) == {"error": "the body has more than 10 bytes; send fewer rows at once"}
        assert asked.counted == [("rest", "413")]
        assert await asked.ask(b"1") == (200, b"1")

    asyncio.run(check())


def test_a_body_that_does_not_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "_BODY_SECONDS", 0.01)

    async def check() -> None:
        asked = Asked()

        async def never() -> Any:
            await asyncio.sleep(60)

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await asked.limits({"type": "http", "method": "POST", "path": PATH, "headers": []}, never, send)
        assert sent[0]["status"] == 408

    asyncio.run(check())


def test_a_client_that_goes_away() -> None:
    async def check() -> None:
        asked = Asked()
        assert await asked.ask() == (0, b"")
        assert asked.counted == [("rest", "disconnected")]
        assert await asked.ask(b"1") == (200, b"1")  # it is not in flight any more

    asyncio.run(check())


def test_too_many_requests_at_once_are_refused_and_health_is_not() -> None:
    async def check() -> None:
        asked = Asked(in_flight=1)
        asked.release.clear()
        first = asyncio.ensure_future(asked.ask(b"1"))
        await asyncio.sleep(0)
        status, body = await asked.ask(b"2")
        assert status == 503
        assert orjson.loads(body) == {"error": "1 requests are in flight; try again"}
        asked.release.set()
        assert await asked.ask(b"", method="GET", path="/v2/health/ready") == (200, b"0")
        assert await first == (200, b"1")
        assert asked.counted == [("rest", "503"), ("rest", "200")]

    asyncio.run(check())
