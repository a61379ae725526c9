"""What a browser may do with answers of the app."""

from __future__ import annotations

import gzip
import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from apps.guard.policy import Policy
from tests.app.conftest import Server
from tests.app.support import App, run_async

CSP = "content-security-policy"
INJECTED = """() => {
  document.body.insertAdjacentHTML('beforeend', '<img src="x:" onerror="window.ran = true">');
  const script = document.createElement('script');
  script.textContent = 'window.ran = true';
  document.body.append(script);
  const other = document.createElement('script');
  other.src = 'http://127.0.0.1:9/x.js';
  document.body.append(other);
  return new Promise((done) => setTimeout(() => done(window.ran === undefined), 500));
}"""


def page(app: ASGIApp) -> httpx.Response:
    """What ``app`` answers."""

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return await client.get("/")

    return run_async(get())


def test_each_page_has_its_own_nonce_and_the_scripts_of_its_head() -> None:
    html = HTMLResponse("<script>1</script><script src=x></script>")
    app = Policy(Starlette(routes=[Route("/", lambda _: html)]), ["alert(1)"], ["https://hub.example"])
    answers = [page(app) for _ in range(2)]
    nonces = [re.findall("nonce-([^']+)'", answer.headers[CSP]) for answer in answers]
    assert nonces[0] != nonces[1]
    for (nonce,), answer in zip(nonces, answers, strict=True):
        assert answer.text == f'<script nonce="{nonce}">1</script><script nonce="{nonce}" src=x></script>'
    # openssl dgst -sha256 -binary | base64
    assert "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='" in answers[0].headers[CSP]
    assert "frame-ancestors https://hub.example" in answers[0].headers[CSP]


def test_a_page_is_small(server: Server) -> None:
    """Bytes on the wire: pictures of other tabs, and of this one, take few of them."""
    with httpx.stream("GET", server.address, headers={"accept-encoding": "gzip"}, timeout=60) as answer:
        zipped = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip" and answer.headers["vary"] == "Accept-Encoding"
    whole = httpx.get(server.address, headers={"accept-encoding": "identity"}, timeout=60)
    assert "content-encoding" not in whole.headers and whole.text.count("data:image/webp") > 30
    assert len(zipped) < 150_000 and 4 * len(zipped) < len(whole.content)
    without = re.compile(rb'nonce="[^"]+"')
    assert len(without.sub(b"", gzip.decompress(zipped))) == len(without.sub(b"", whole.content))


@pytest.mark.browser
def test_a_page_asks_the_server_for_the_open_tab_alone(app: App) -> None:
    asked: list[str] = []
    app.page.on("request", lambda request: asked.append(request.url))
    app.page.reload()
    app.page.wait_for_load_state("load")
    app.page.get_by_role("tab", name="Predict").wait_for()
    app.page.wait_for_timeout(2000)
    assert sum("/gradio_api/run/" in url for url in asked) < 9
    assert [url for url in asked if url.endswith((".mp4", ".png", ".webp"))] == [
        url for url in asked if url.endswith("/opening-predict.mp4")
    ]


def test_headers_of_the_running_app(server: Server) -> None:
    front = httpx.get(server.address, timeout=60)
    assert "frame-ancestors 'none'" in front.headers[CSP] and "unsafe-inline" not in script_source(front)
    html = b"<script>alert(1)</script>"
    path = httpx.post(
        f"{server.address}/gradio_api/upload", files={"files": ("x.html", html)}, timeout=60
    ).json()[0]
    file = httpx.get(f"{server.address}/gradio_api/file={path}")
    assert file.content == html and "sandbox" in file.headers[CSP]
    assert file.headers["content-type"] == "application/octet-stream"
    for answer in (
        front,
        file,
        httpx.get(f"{server.address}/nothing"),
        httpx.get(f"{server.address}/theme.css"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"


def script_source(answer: httpx.Response) -> str:
    """Where scripts may come from."""
    (found,) = re.findall("script-src ([^;]+)", answer.headers[CSP])
    return str(found)


def serve(tab: Page, address: str, **answer: Any) -> None:
    """Have the browser get ``answer`` at ``address``."""
    tab.route(address, lambda route: route.fulfill(**answer))


@pytest.mark.browser
def test_scripts_that_are_not_the_pages_do_not_run(app: App) -> None:
    assert app.page.evaluate(INJECTED)
    refused = [error for error in app.errors if "Content Security Policy" in error]
    assert len(refused) >= 3
    app.errors.clear()
    app.foreign.clear()


@pytest.mark.browser
def test_frames_of_other_pages_stay_empty_unless_asked_for(browser: Browser) -> None:
    outer, inner = "http://hub.example/", "http://app.example/"
    html = Starlette(routes=[Route("/", lambda _: HTMLResponse("<p>the app</p>"))])
    for embedding in ([], ["http://hub.example"]):
        answer = page(Policy(html, [], embedding))
        context = browser.new_context()
        tab = context.new_page()
        frame = f"<iframe src='{inner}'></iframe>"
        serve(tab, outer, body=frame, content_type="text/html")
        serve(tab, inner, body=answer.text, headers=dict(answer.headers))
        tab.goto(outer, wait_until="load")
        assert (tab.frames[1].url == inner) == bool(embedding)
        context.close()
