"""A page that draws with exported models in a browser alone."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.pipelines.test_export import tarflow
from vflow import cli
from vflow.checkpoint import save_checkpoint

pytestmark = [pytest.mark.browser, pytest.mark.export]
EXAMPLES = Path(__file__).resolve().parents[2] / "apps" / "examples"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a folder with the page and three models."""
    folder = tmp_path_factory.mktemp("export")
    save_checkpoint(folder / "model", tarflow(), config=tarflow().config)
    for name in (str(folder / "model"), "colorizer", "enlarge"):
        assert cli.main(["export", "--checkpoint", name, "--output", str(folder / "page")]) == 0
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder / "page"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_the_page_draws_with_no_server_behind_it(page: str, browser: Browser) -> None:
    tab = browser.new_page()
    asked: list[str] = []
    errors: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page)
    for family, count in (("digits", 8), ("colorizer", 4), ("super_resolution", 1)):
        section = tab.locator(f"#{family}")
        for chooser in section.locator("input[type=file]").all():
            chooser.set_input_files(EXAMPLES / "camera-chelsea.jpg")
        section.locator("button").click()
        status = section.locator("[role=status]")
        status.filter(has_text="Done in").wait_for(timeout=120_000)
        assert section.locator("canvas").count() == count
    assert not errors and all(url.startswith((page, "blob:")) for url in asked)
    section.locator("input").set_input_files(
        {"name": "no.png", "mimeType": "image/png", "buffer": b"nothing"}
    )
    section.locator("button").click()
    status.filter(has_text="no.png: not a picture").wait_for()
    tab.close()
