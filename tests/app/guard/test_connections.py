"""Connections that ask for nothing, and too many of them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import uvicorn

from apps.guard import connections
from apps.guard.connections import BoundedProtocol

ANSWER = b"HTTP/1.1 200 OK"


async def app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server that takes four connections, and has little patience."""
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(connections, "HEADER_PATIENCE", 1.0)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=BoundedProtocol, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(30)


def ended(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    connection.settimeout(20)
    received = b""
    try:
        while part := connection.recv(1000):
            received += part
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_headers_that_do_not_come_end_the_connection(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        began = time.monotonic()
        assert ended(connection) == b""
        assert time.monotonic() - began < 15


def test_headers_that_trickle_end_it_too(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection, pytest.raises(OSError):
        connection.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(100):
            connection.sendall(b"X: y\r\n")
            time.sleep(0.1)


def test_further_requests_have_their_own_time(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1000).startswith(ANSWER)
            time.sleep(0.6)
        connection.sendall(b"GET / HT")
        assert ended(connection) == b""


def test_too_many_connections_are_told_so(address: tuple[str, int]) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(address)) for _ in range(6)]
        time.sleep(0.3)
        assert sum(b" 503 " in ended(connection) for connection in held) == 2
    assert httpx.get(f"http://{address[0]}:{address[1]}").status_code == 200
