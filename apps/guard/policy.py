"""Headers that bind a browser: a content security policy, no sniffing, no frames."""

from __future__ import annotations

import base64
import gzip
import hashlib
import secrets
from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .doors import FILE

# gradio compiles the functions of events from text, and sets styles of elements.
_PAGE = (
    "default-src 'none'; script-src 'self' 'unsafe-eval' 'nonce-{nonce}' {scripts}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; manifest-src 'self'; worker-src 'self' blob:; "
    "base-uri 'self'; form-action 'self'; frame-ancestors {embedding}"
)
_UPLOADED = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox; "
    "frame-ancestors 'none'"
)


_EVERY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Policy:
    """ASGI middleware that adds security headers; a page's own scripts run, and no others.

    Args:
        app: what is guarded.
        scripts: texts of the scripts that the page adds to its head while it runs.
        embedding: origins whose pages may show the app in a frame.
    """

    def __init__(self, app: ASGIApp, scripts: Iterable[str] = (), embedding: Sequence[str] = ()) -> None:
        self._app = app
        digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
        self._scripts = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
        self._embedding = " ".join(embedding) or "'none'"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands the request on, and its answer with more headers."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        is_file = scope["path"].startswith(FILE)
        zipped = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        held: list[Message] = []  # start of a page, until all of it is there

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_EVERY)
                if is_file:
                    headers["Content-Security-Policy"] = _UPLOADED
                elif headers.get("content-type", "").startswith("text/html"):
                    held.append(message)
                    return
            elif held:
                held.append(message)
                if message.get("more_body", False):
                    return
                message = self._page(held, zipped)
                await send(held.pop(0))
                held.clear()
            await send(message)

        return await self._app(scope, receive, answer)

    def _page(self, held: Sequence[Message], zipped: bool) -> Message:
        """The body of a page whose scripts have a new nonce, which its headers then name.

        gradio compresses what has a name with an ending, and a page has none.
        """
        nonce = secrets.token_urlsafe(18)
        body = b"".join(part.get("body", b"") for part in held[1:])
        body = body.replace(b"<script", f'<script nonce="{nonce}"'.encode())
        headers = MutableHeaders(scope=held[0])
        headers["Content-Security-Policy"] = _PAGE.format(
            nonce=nonce, scripts=self._scripts, embedding=self._embedding
        )
        if zipped and body and "content-encoding" not in headers:
            body = gzip.compress(body, 5)
            headers["Content-Encoding"] = "gzip"
            headers.add_vary_header("Accept-Encoding")
        if body:
            headers["Content-Length"] = str(len(body))
        return {"type": "http.response.body", "body": body}
