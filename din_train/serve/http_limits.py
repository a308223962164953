"""ASGI middleware in front of all routes: how large a body may be, how long it may take, how many may be in flight.

A request's whole body is read before the routes see it, so one that is refused costs no more than the limit.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_BODY_SECONDS = 30.0


class HttpLimits:
    """Wraps an ASGI application.

    Args:
        body_bytes: of a request's body at most.
        in_flight: requests at once; further ones get 503, so that the server stays quick.
        count: called with protocol, status and seconds of each request to score rows.
    """

    def __init__(
        self, application: Application, *, body_bytes: int, in_flight: int, count: Callable[[str, str, float], None]
    ) -> None:
        self._application, self._count = application, count
        self._body_bytes, self._in_flight = body_bytes, in_flight
        self._now = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._application(scope, receive, send)
            return
        status = "disconnected"
        begun = time.perf_counter()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        self._now += 1
        try:
            if self._now > self._in_flight:
                await _refuse(send_and_note, 503, f"{self._in_flight} requests are in flight; try again")
                return
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    body = await self._read_body(scope, receive)
            except TimeoutError:
                await _refuse(send_and_note, 408, f"the body did not arrive within {_BODY_SECONDS:.0f} seconds")
                return
            if body is None:
                await _refuse(
                    send_and_note, 413, f"the body has more than {self._body_bytes:,} bytes; send fewer rows at once"
                )
                return
            begun = time.perf_counter()
            await self._application(scope, _replay(body, receive), send_and_note)
        except ConnectionResetError:
            pass  # the client went away while it sent the body
        finally:
            self._now -= 1
            if scope["path"].endswith("/infer"):
                self._count("rest", status, time.perf_counter() - begun)

    async def _read_body(self, scope: Message, receive: Receive) -> bytes | None:
        """None if it is too large.

        Raises:
            ConnectionResetError: if the client went away.
        """
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._body_bytes:
            return None
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            body += message.get("body", b"")
            if len(body) > self._body_bytes:
                return None
            if not message.get("more_body"):
                return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


async def _refuse(send: Send, status: int, line: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps({"error": line})})
