"""Host names and origins under which the app answers."""

from __future__ import annotations

import http.client
import json
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers

from apps.guard.hosts import HostGuard
from tests.app.conftest import Server
from tests.app.support import run_async

SITE = "https://evil.example"


def status(guard: HostGuard, method: str = "GET", kind: str = "http", **headers: str) -> int:
    """What a guarded app that answers 200 gives; a refused websocket counts as 403."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def run() -> None:
        scope = {"type": kind, "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
        if kind == "http":
            scope["method"] = method
        await guard(scope, lambda: None, send)  # type: ignore[arg-type,return-value]

    run_async(run())
    return 403 if sent[0]["type"] == "websocket.close" else sent[0]["status"]


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.mark.parametrize(
    ("peer", "host", "forwarded", "client"),
    [
        ("127.0.0.1", "proxy.example", "10.9.9.9, 203.0.113.7", "203.0.113.7"),
        ("::1", "proxy.example", "2001:db8::7", "2001:db8::7"),
        ("172.18.0.3", "proxy.example", "203.0.113.7, 172.18.0.9", "203.0.113.7"),
        ("192.168.1.66", "proxy.example", "203.0.113.7", "192.168.1.66"),
        ("127.0.0.1", "127.0.0.1:7860", "203.0.113.7", "127.0.0.1"),
        ("172.18.0.3", "192.168.1.7:7860", "203.0.113.7", "172.18.0.3"),
        ("127.0.0.1", "proxy.example", "", "127.0.0.1"),
    ],
)
def test_clients_are_named_by_allowed_proxies_alone(
    peer: str, host: str, forwarded: str, client: str
) -> None:
    seen: list[str] = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    guard = HostGuard(note, "0.0.0.0", ["proxy.example", "172.18.0.0/16"])
    headers = [(b"host", host.encode()), (b"x-forwarded-for", forwarded.encode())]
    scope = {"type": "http", "method": "GET", "headers": headers, "client": (peer, 50000)}
    run_async(guard(scope, lambda: None, lambda message: None))  # type: ignore[arg-type,return-value]
    assert seen == [client]


@pytest.mark.parametrize(
    ("served", "host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:7860", 200),
        ("127.0.0.1", "LOCALHOST:7860", 200),
        ("127.0.0.1", "[::1]:7860", 200),
        ("127.0.0.1", "proxy.example", 200),
        ("127.0.0.1", "evil.example:7860", 403),
        ("127.0.0.1", "localhost.evil.example", 403),
        ("127.0.0.1", "localhost@evil.example", 403),
        ("127.0.0.1", "192.168.1.7:7860", 403),
        ("127.0.0.1", "", 403),
        ("127.0.0.1", "localhost:port", 403),
        ("192.168.1.7", "192.168.1.7:7860", 200),
        ("0.0.0.0", "192.168.1.7:7860", 200),
        ("0.0.0.0", "evil.example:7860", 403),
        ("::", "[fe80::1]:7860", 200),
    ],
)
def test_names_that_are_served(served: str, host: str, expected: int) -> None:
    guard = HostGuard(answer, served, ["Proxy.example"])
    assert status(guard, host=host) == expected
    assert status(guard, kind="websocket", host=host) == expected


@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        ("localhost:7860", "http://localhost:7860", 200),
        ("localhost:7860", "http://localhost:3000", 403),
        ("localhost:7860", "http://127.0.0.1:7860", 403),
        ("localhost:7860", SITE, 403),
        ("localhost:7860", "null", 403),
        ("localhost:7860", "https://proxy.example", 200),
        ("proxy.example", "https://proxy.example", 200),
        ("proxy.example:443", "https://proxy.example", 200),
        ("localhost:7860", "https://proxy.example:8443", 403),
        ("localhost:7860", "https://other.example:8443", 200),
        ("localhost:7860", "https://other.example", 403),
    ],
)
def test_origins_that_may_write(host: str, origin: str, expected: int) -> None:
    guard = HostGuard(answer, "127.0.0.1", ["proxy.example", "other.example:8443"])
    assert status(guard, "POST", host=host, origin=origin) == expected
    assert status(guard, "GET", host=host, origin=origin) == 200


def ask(server: Server, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body=b"" if method == "POST" else None, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_running_app_refuses_other_names_and_origins(server: Server) -> None:
    own = server.address.removeprefix("http://")
    assert ask(server, "GET", "/config", {"Host": own})[0] == 200
    for path in ("/", "/config", "/gradio_api/info"):
        code, text = ask(server, "GET", path, {"Host": "evil.example"})
        assert (code, "--allow-host NAME" in text, "\n" in text) == (403, True, False)
    for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/call/model_info"):
        code, text = ask(server, "POST", path, {"Host": own, "Origin": SITE})
        assert (code, text) == (403, "vflow takes no uploads or calls from pages of other origins")
        assert ask(server, "POST", path, {"Host": own, "Origin": server.address})[0] != 403


def passed_on(allowed: list[str], *headers: tuple[str, str]) -> tuple[Headers, Any]:
    """Headers that the guarded app sees of a request from 10.0.0.9, and its client."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope = {
        "type": "http",
        "method": "GET",
        "client": ("10.0.0.9", 5),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    run_async(HostGuard(app, "127.0.0.1", allowed)(scope, None, None))  # type: ignore[arg-type]
    return Headers(scope=seen[0]), seen[0]["client"]


@pytest.mark.parametrize("believed", [True, False])
def test_what_a_proxy_forwards_is_believed_of_allowed_hosts_alone(believed: bool) -> None:
    headers, client = passed_on(
        ["proxy.example", "10.0.0.9"] if believed else [],
        ("host", "127.0.0.1:7860"),
        ("x-forwarded-host", "Proxy.example, other"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "1.2.3.4, 10.0.0.7"),
        ("x-gradio-server", "http://evil.example"),
        ("forwarded", "host=evil.example"),
    )
    assert "x-gradio-server" not in headers
    assert ("x-forwarded-host" in headers, "x-forwarded-proto" in headers) == (believed, believed)
    assert client[0] == ("10.0.0.7" if believed else "10.0.0.9")


def test_an_allowed_host_forwards_no_foreign_one() -> None:
    headers, _ = passed_on(
        ["proxy.example"],
        ("host", "proxy.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
    )
    assert "x-forwarded-host" not in headers and headers["x-forwarded-proto"] == "https"


def test_the_running_app_takes_its_address_from_nobody(server: Server) -> None:
    own = {"Host": server.address.removeprefix("http://")}
    for name in ("X-Forwarded-Host", "X-Gradio-Server", "Forwarded"):
        _, text = ask(server, "GET", "/config", {**own, name: "evil.example"})
        assert json.loads(text)["root"] == server.address, name


def test_no_foreign_port_may_read(server: Server) -> None:
    host = server.address.removeprefix("http://")
    preflight = {"Access-Control-Request-Method": "POST"}
    for origin in (SITE, "null", "http://127.0.0.1:3000", "http://localhost:3000", "http://127.0.0.1"):
        for method, more in (("GET", {}), ("OPTIONS", preflight)):
            reply = httpx.request(
                method, f"{server.address}/theme.css", headers={"Host": host, "Origin": origin, **more}
            )
            assert "access-control-allow-origin" not in reply.headers, (origin, method)
    own = httpx.get(f"{server.address}/theme.css", headers={"Origin": server.address})
    assert own.headers["access-control-allow-origin"] == server.address
