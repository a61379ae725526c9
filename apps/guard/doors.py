"""Paths that the app answers, and the files that a client may name: those in the app's own folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from .refusal import refusal

FILE = "/gradio_api/file="
MCP = "/gradio_api/mcp"
REMEDY = "the app reads nothing from elsewhere; download the file first, then upload it"
# What the page, gradio's clients and MCP's ask for; gradio has more, such as a proxy.
_PATHS = re.compile(
    "/|/(config|theme.css|favicon.ico|manifest.json|robots.txt)/?|/(assets|static|svelte)/.+|/pwa_icon(/.+)?|"
    "/gradio_api/((info|app_id|startup-events|theme.css|upload|upload_progress|cancel|reset|user|login_check|"
    "openapi.json|queue/(join|data|status))/?|(heartbeat|call|run|api)/.+|mcp(/.*)?)"
)


class Doors:
    """ASGI middleware that answers the paths that the page and its clients need, and serves own files.

    It sees paths after percent-decoding, as routes do.

    Args:
        app: what is guarded.
        files: folder of uploads and results.
    """

    def __init__(self, app: ASGIApp, files: Path) -> None:
        self._app = app
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 403 or 404 with one line of text, or hands the request on."""
        path = scope.get("path", "/")
        if scope["type"] == "lifespan" or _PATHS.fullmatch(path):
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        if not path.startswith(FILE):
            return await refusal(404, "there is nothing at this address")(scope, receive, send)
        if not is_own(path.removeprefix(FILE), self._files):
            return await refusal(403, f"no file of the app; {REMEDY}")(scope, receive, send)
        return await self._app(scope, receive, send)


def is_own(name: str, files: Path) -> bool:
    """True if ``name`` is the whole path of something inside the folder ``files``, whatever links lead to."""
    try:
        path = Path(name)
        return path.is_absolute() and files.resolve() in path.resolve().parents
    except (OSError, ValueError, RuntimeError):  # no path at all, too long, or links in a circle
        return False


def named_files(value: Any) -> Iterator[str]:
    """Paths and addresses of the files that a value of a call names, however deep inside."""
    if isinstance(value, dict):
        if isinstance(path := value.get("path"), str):
            yield path
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from named_files(part)
