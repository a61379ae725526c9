"""Guard against requests under foreign host names (DNS rebinding) and from pages of other origins."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from .refusal import refusal

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LOCAL_NETWORKS = ("127.0.0.0/8", "::1", "::ffff:127.0.0.0/104")
EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})
_SAFE_METHODS = ("GET", "HEAD")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = b"x-forwarded-host"
_GRADIO = b"x-gradio-server"


class HostGuard:
    """ASGI middleware that refuses foreign ``Host`` headers, and writes whose ``Origin`` is another site.

    A page of another site can make its own name lead to this machine, and then read what the app answers;
    the name it came by gives it away. Served on every address, the app takes any IP address for a name,
    since no page can rebind one. What a proxy forwards is believed where it names an allowed host; its
    client only of requests from this machine, or from an allowed address or network, since anybody can
    write X-Forwarded-For.

    Args:
        app: what is guarded.
        served: address that the app listens on.
        allowed: further names, such as that of a reverse proxy, each with a port where it is not the
            usual one, which are also taken as origins; and the addresses or networks of proxies on other
            machines.
    """

    def __init__(self, app: ASGIApp, served: str, allowed: Iterable[str] = ()) -> None:
        allowed = tuple(allowed)
        names = [split for name in allowed if "/" not in name and (split := _split(f"//{name}"))]
        self._allowed = {split.hostname for split in names}
        self._origins = {(split.hostname, split.port) for split in names}
        self._hosts = LOOPBACK | {served.lower()} | self._allowed
        self._any_address = served in EVERY_ADDRESS
        if self._any_address:
            self._hosts |= {socket.gethostname().lower()}
        proxies = [*LOCAL_NETWORKS, *(name for name in allowed if "/" in name or _is_address(name))]
        self._app = ProxyHeadersMiddleware(app, proxies)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 403 with one line of text, or hands the request on."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)  # type: ignore[arg-type]
        fault = self._fault(Headers(scope=scope), scope.get("method", "POST"))
        if fault is None:
            return await self._app(self._believed(scope), receive, send)  # type: ignore[arg-type]
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": fault})
        return await refusal(403, fault)(scope, receive, send)

    def _fault(self, headers: Headers, method: str) -> str | None:
        host = _split(f"//{headers.get('host', '')}")
        if host is None or not self._serves(host.hostname):
            return "vflow is not served under this host name; to allow it, start it with --allow-host NAME"
        if method in _SAFE_METHODS or self._is_own(headers):
            return None
        return "vflow takes no uploads or calls from pages of other origins"

    def _believed(self, scope: Scope) -> Scope:
        """``scope`` without what only an allowed host may say, or a foreign origin, which so gets no CORS."""
        headers = Headers(scope=scope)
        forwarded = self._forwarded(headers)
        host = _split(f"//{headers.get('host', '')}")
        unsaid = {_GRADIO}
        if forwarded is None:
            unsaid.add(_HOST)
        by_proxy = forwarded is not None or (host is not None and host.hostname in self._allowed)
        if not self._is_own(headers):
            unsaid.add(b"origin")
        kept = [
            (name, value)
            for name, value in scope["headers"]
            if name not in unsaid and (by_proxy or not name.startswith((b"x-forwarded-", b"forwarded")))
        ]
        return {**scope, "headers": kept}

    def _forwarded(self, headers: Headers) -> SplitResult | None:
        """Host that a proxy names, where it is an allowed one."""
        named = _split(f"//{headers.get(_HOST.decode(), '').partition(',')[0].strip()}")
        return named if named is not None and named.hostname in self._allowed else None

    def _serves(self, name: str | None) -> bool:
        return name is not None and (name in self._hosts or (self._any_address and _is_address(name)))

    def _is_own(self, headers: Headers) -> bool:
        """True of a request that is of no page, or of the app's own."""
        if (origin := headers.get("origin")) is None:
            return True
        parts = _split(origin)
        if parts is None or parts.hostname is None:
            return False
        default = _DEFAULT_PORTS.get(parts.scheme)
        asked = parts.hostname, parts.port or default
        hosts = (_split(f"//{headers.get('host', '')}"), self._forwarded(headers))
        own = {(host.hostname, host.port or default) for host in hosts if host is not None}
        return asked in own | {(name, port or default) for name, port in self._origins}


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
