"""Limits on connections: how many, and how long one may take to say what it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import h11
from gradio import http_server
from gradio.http_server import Server as GradioServer
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 256  # a page holds up to six
HEADER_PATIENCE = 20.0  # seconds that the headers of a request may take
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a limit on connections, and on the time that headers take."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection, which is closed at once if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(_FULL)
            transport.close()
        else:
            self._patience = self.loop.call_later(HEADER_PATIENCE, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._rest()
        elif self._patience is None:
            self._patience = self.loop.call_later(HEADER_PATIENCE, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of a connection."""
        self._rest()
        super().connection_lost(exc)

    def _rest(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def serve_with(guard: Callable[[ASGIApp], ASGIApp]) -> None:
    """Have gradio's server put ``guard`` around the whole app, with ``BoundedProtocol`` in front of it."""

    class Server(GradioServer):
        def __init__(self, config: Config, **others: Any) -> None:
            config.http = BoundedProtocol
            config.proxy_headers = False  # the guard of hosts decides whom it believes
            super().__init__(config, **others)
            config.app = guard(cast(ASGIApp, config.app))

    http_server.Server = Server
