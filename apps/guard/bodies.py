"""Limits on what clients send: how large, how slowly, how many at once, and how much altogether."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..ui.shared.storage import uploaded_bytes
from .doors import MCP
from .refusal import refusal

UPLOAD = "/gradio_api/upload"
UPLOAD_LIMIT = 512 * 2**20  # bytes of a file; gradio counts them
QUOTA = 2 * 2**30  # bytes of all uploads on disk, those under way included
CALL_LIMIT = 4 * 2**20  # bytes of a call, which may wait in the queue
MCP_LIMIT = 64 * 2**20  # bytes of a call that has its files inside
MEMORY_QUOTA = 128 * 2**20  # bytes of all calls being taken in; those of MCP until they are answered
UPLOADS_AT_ONCE = 32
# A body may pause for so many seconds; in all, for so many more as its bytes take at this rate (per second).
PATIENCE = 20.0
MIN_RATE = 500.0
DRAIN = 3.0  # seconds in which a client may finish sending what is refused, to read why


class Bodies:
    """ASGI middleware that refuses bodies that are too large or too many, and ends slow ones.

    An upload that ends early, by its client or here, leaves no file and no traceback.

    Args:
        app: what is guarded.
        files: folder of uploads.
    """

    def __init__(self, app: ASGIApp, files: Path) -> None:
        self._app = app
        self._files = files
        self._uploads: list[int] = []
        self._calls: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 411, 413 or 503 with one line of text, or hands the request on."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        size = int(headers.get("content-length", 0))  # h11 has checked it
        if scope["path"].rstrip("/") == UPLOAD:
            under_way, fault = self._uploads, await self._fault_of_upload(size)
        else:
            under_way, fault = self._calls, self._fault_of_call(size, scope["path"])
        if "transfer-encoding" in headers:
            fault = 411, "say how many bytes are coming (Content-Length)"
        if fault is not None:
            await _drain(receive)
            return await refusal(*fault)(scope, receive, send)
        body = _Body(receive, send, under_way is self._uploads)
        under_way.append(size)
        try:
            await self._app(scope, body.receive, body.send)
        except ClientDisconnect:
            pass
        finally:
            under_way.remove(size)
        return None

    async def _fault_of_upload(self, size: int) -> tuple[int, str] | None:
        stored = await asyncio.to_thread(uploaded_bytes, self._files)
        if size + sum(self._uploads) + stored > QUOTA:
            return 503, f"uploads may take up {QUOTA >> 20:,} MiB altogether; try again within the hour"
        if len(self._uploads) >= UPLOADS_AT_ONCE:
            return 503, f"{UPLOADS_AT_ONCE} uploads are under way, which is the limit; try again in a minute"
        return None

    def _fault_of_call(self, size: int, path: str) -> tuple[int, str] | None:
        limit = MCP_LIMIT if path.startswith(MCP) else CALL_LIMIT
        if size > limit:
            return 413, f"a call may have {limit >> 20} MiB; upload larger files and name them"
        if size + sum(self._calls) > MEMORY_QUOTA:
            return 503, "other calls take up the memory for them; try again in a minute"
        return None


class _Body:
    """Body of one request: cut off where it comes too slowly; the connection then ends with the answer."""

    def __init__(self, receive: Receive, send: Send, is_upload: bool) -> None:
        self._receive, self._send = receive, send
        self._is_upload = is_upload
        self._ended = False
        self._received, self._waited = 0, 0.0

    async def receive(self) -> Message:
        """The next message of the client.

        Raises:
            MultiPartException: an upload was cut off; gradio then removes its files.
        """
        if self._ended:
            return await self._receive()
        began = time.monotonic()
        message: Message = {"type": "http.disconnect"}
        with suppress(TimeoutError):
            left = PATIENCE + self._received / MIN_RATE - self._waited
            message = await asyncio.wait_for(self._receive(), min(PATIENCE, left))
        self._waited += time.monotonic() - began
        if message["type"] == "http.disconnect" and self._is_upload:
            raise MultiPartException("the upload was cut off")
        self._received += len(message.get("body", b""))
        self._ended = message["type"] == "http.request" and not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Hand on a message of the app."""
        if message["type"] == "http.response.start" and not self._ended:
            MutableHeaders(scope=message)["Connection"] = "close"
        await self._send(message)


async def _drain(receive: Receive) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN):
            while (await receive()).get("more_body", False):
                pass
