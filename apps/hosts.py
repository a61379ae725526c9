"""Guard against requests under foreign host names (DNS rebinding) and from pages of other origins."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class HostGuard:
    """ASGI middleware that refuses foreign ``Host`` headers, and writes whose ``Origin`` is another site.

    A page of another site can make its own name lead to this machine, and then read what the app answers;
    the name it came by gives it away. Served on every address, the app takes any IP address for a name,
    since no page can rebind one.

    Args:
        app: what is guarded.
        served: address that the app listens on.
        allowed: further names, such as that of a reverse proxy; they are also taken as origins.
    """

    def __init__(self, app: ASGIApp, served: str, allowed: Iterable[str] = ()) -> None:
        self._app = app
        self._allowed = {name.lower() for name in allowed}
        self._hosts = LOOPBACK | {served.lower()} | self._allowed
        self._any_address = served in EVERY_ADDRESS
        if self._any_address:
            self._hosts |= {socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 403 with one line of text, or hands the request on."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        fault = self._fault(Headers(scope=scope), scope.get("method", "POST"))
        if fault is None:
            return await self._app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": fault})
        return await PlainTextResponse(fault, status_code=403)(scope, receive, send)

    def _fault(self, headers: Headers, method: str) -> str | None:
        host = _split(f"//{headers.get('host', '')}")
        if host is None or not self._serves(host.hostname):
            return "vflow is not served under this host name; to allow it, start it with --allow-host NAME"
        origin = headers.get("origin")
        if origin is None or method in _SAFE_METHODS or self._is_own(origin, host):
            return None
        return "vflow takes no uploads or calls from pages of other origins"

    def _serves(self, name: str | None) -> bool:
        return name is not None and (name in self._hosts or (self._any_address and _is_address(name)))

    def _is_own(self, origin: str, host: SplitResult) -> bool:
        parts = _split(origin)
        if parts is None or parts.hostname is None:
            return False
        default = _DEFAULT_PORTS.get(parts.scheme)
        same = (parts.hostname, parts.port or default) == (host.hostname, host.port or default)
        return same or parts.hostname in self._allowed


def _split(url: str) -> SplitResult | None:
    """Parts of an address; None where it has no valid host and port."""
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError:
        return None
    return None if parts.username is not None else parts


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
