"""uvicorn's HTTP connection with limits on a request's head: uvicorn waits for its end and keeps all of it."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_SECONDS = 30.0
# More than one read gives (256 KiB), since the end of the request before it may come with it.
_HEAD_BYTES = 1 << 20


class LimitedConnection(HttpToolsProtocol):
    """Closes a connection whose next request line and headers are too large or do not come."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client is here."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        super().data_received(data)
        if not self._patience.cancelled():
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        self._patience.cancel()
        self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head ends; the body has limits of its own."""
        self._patience.cancel()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request ends, and what comes next is a head, or blank lines before one."""
        super().on_message_complete()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._patience.cancel()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._head_bytes = 0
        self._patience: Any = self.loop.call_later(_HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # the answer to the request before is not sent yet
            self._wait_for_head()
