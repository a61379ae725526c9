"""Nothing that a client names is fetched, and no file served but the app's own: each door, each spelling."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from apps.guard import bodies
from apps.guard.doors import REMEDY, is_own, named_files
from tests.app.conftest import running
from tests.app.test_hostile_files import requests
from tests.app.test_hostile_values import FILE, call
from tests.app.test_mcp import converse

# gradio fetches from public addresses alone; with this, the witness has one.
PUBLIC = "import safehttpx\nsafehttpx.is_public_ip = lambda address: True\n"
# The name of a file, for the witness at HOST, as a path of gradio's and as people disguise it.
PATHS = (
    *("/file=http://HOST/x.png", "/gradio_api/file=http://HOST/x.png", "/gradio_api/file/http://HOST/x.png"),
    *(
        "/proxy=http://HOST/x.png",
        "/gradio_api/proxy=http://HOST/x.png",
        "/gradio_api/file=HTTP://HOST/x.png",
    ),
    *("/gradio_api/file=http%3A%2F%2FHOST%2Fx.png", "/gradio_api/file=%68ttp://HOST/x.png"),
    *("/gradio_api/file%3Dhttp://HOST/x.png", "/gradio_api%2Ffile=http://HOST/x.png"),
    *("/gradio_api/file=http%253A%252F%252FHOST%252Fx.png", "/gradio_api/file=%2568ttp://HOST/x.png"),
    *(
        "/gradio_api/file=//HOST/x.png",
        "/gradio_api/file=%20http://HOST/x.png",
        "/gradio_api/file=http:/HOST/x",
    ),
    *("/gradio_api/file=%5C%5CHOST%5Cx.png", "/gradio_api/file=ftp://HOST/x.png", "//HOST/x.png"),
    *("/gradio_api/./file=http://HOST/x.png", "/x/../gradio_api/file=http://HOST/x.png"),
    *("/gradio_api/file=/etc/passwd", "/gradio_api/file=/proc/self/../../etc/passwd", "/gradio_api/file=."),
)
CLOSED = (
    *("runs", "deep_link?session_hash=x", "custom_component/a/client/b/c", "stream/a/b/1/playlist-file"),
    *(
        "component_server",
        "process_recording",
        "vibe-edit",
        "undo-vibe-edit",
        "vibe-code",
        "run-history/connect",
    ),
)


@dataclass
class Witness:
    """An HTTP server on a port of its own, and what it was asked for."""

    address: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    """A host that answers every request with a page."""
    seen = Witness()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<script>alert(1)</script>")

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen.address = f"127.0.0.1:{server.server_address[1]}"
        yield seen
        server.shutdown()


@dataclass(frozen=True)
class Site:
    """The running app and its folder."""

    address: str
    folder: Path


@pytest.fixture(scope="module")
def site(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """``vflow app --mcp`` that takes every address for a public one."""
    folder = tmp_path_factory.mktemp("doors")
    (folder / "sitecustomize.py").write_text(PUBLIC)
    with running(folder, checkpoints, "--mcp", modules=folder) as (address, _):
        yield Site(address, folder)


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    """Plain HTTP to it."""
    with httpx.Client(base_url=site.address, timeout=60) as http_client:
        yield http_client


def raw(site: Site, method: str, path: str) -> tuple[int, bytes]:
    """The answer to a path that nobody normalises on its way."""
    connection = http.client.HTTPConnection(site.address.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_path_is_fetched_or_read(site: Site, witness: Witness, method: str, path: str) -> None:
    status, text = raw(site, method, path.replace("HOST", witness.address))
    assert status in (403, 404) and b"root:" not in text and b"<script" not in text
    assert witness.asked == []


def test_doors_of_gradio_that_nobody_needs_are_shut(site: Site) -> None:
    for path in CLOSED:
        for method in ("GET", "POST"):
            assert raw(site, method, f"/gradio_api/{path}")[0] == 404, path


def named(address: str) -> list[dict[str, Any]]:
    """A file by its address, in all ways in which a call can name it."""
    here = {"meta": FILE, "orig_name": "x.png"}
    return [
        {"path": f"http://{address}/x.png", **here},
        {"path": f"http://{address}/x.png", "url": f"http://{address}/x.png", **here},
        {"path": f"HTTP://{address}/x.png", **here},
        {"path": f"//{address}/x.png", **here},
        {"path": f"/gradio_api/file=http://{address}/x.png", **here},
        {"path": "x.png", "url": f"http://{address}/x.png", **here},
        {"path": f"http%3A%2F%2F{address}/x.png", "is_stream": True, **here},
    ]


def test_no_endpoint_fetches_a_file(site: Site, client: httpx.Client, witness: Witness) -> None:
    first, *others = named(witness.address)
    for endpoint in requests({}):
        event, data = call(client, endpoint, requests(first)[endpoint])
        assert event == "error" and data["error"].endswith(REMEDY) and "\n" not in data["error"], endpoint
    for file in others:
        assert call(client, "score", requests(file)["score"])[0] == "error"
    # at once, by the page's own door, by the newer call, and hidden in a field that is no file
    values = [[first], "shapes", 0]
    for path in ("run/score", "api/score"):
        assert client.post(f"/gradio_api/{path}", json={"data": values}).status_code >= 400
    client.post("/gradio_api/call/v2/score", json={"files": [first], "checkpoint": "shapes", "seed": 0})
    config = client.get("/config").json()
    for dependency in (found for found in config["dependencies"] if found["inputs"]):
        body = {
            "data": [[first]] * len(dependency["inputs"]),
            "fn_index": dependency["id"],
            "session_hash": "doors",
            "event_data": first,
        }
        client.post("/gradio_api/queue/join", json=body)
    for _ in range(100):
        event, data = call(client, "score", [[], {"deep": [{"er": first}]}, 0])
        if event != "refused":  # while eight of the jobs above are not done
            break
        time.sleep(0.1)
    assert event == "error" and data["error"].endswith(REMEDY)
    text = client.post("/gradio_api/upload", data={"files": f"http://{witness.address}/x.png"})
    assert text.status_code >= 400
    assert witness.asked == []


def test_the_client_is_told_what_to_do(site: Site, witness: Witness) -> None:
    with pytest.raises(AppError, match="download") as error:
        Client(site.address, verbose=False).predict(
            handle_file(f"http://{witness.address}/x.png"), api_name="/compress"
        )
    assert len(str(error.value).splitlines()) == 1
    assert witness.asked == []


def test_mcp_takes_data_alone_and_keeps_it_in_the_private_folder(site: Site, witness: Witness) -> None:
    address = f"http://{witness.address}/x.png"
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "png")
    data = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
    _, (fetched, shouted, given) = converse(
        site.address,
        ("compress", {"file": address}),
        ("compress", {"file": address.replace("http", "HTTP")}),
        ("compress", {"file": data}),
    )
    assert fetched.isError and REMEDY in fetched.content[0].text
    assert shouted.isError
    assert not given.isError and "bytes" in str(given.content)
    assert witness.asked == []
    assert all(path.name.startswith("vflow-app-") for path in site.folder.iterdir() if path.is_dir())
    assert not (Path(site.folder) / "gradio").exists()
    kept = [path for path in site.folder.rglob("*.png") if path.read_bytes() == picture.getvalue()]
    assert kept, "kept inside the private folder"


def test_a_call_may_not_be_larger_than_its_limit(client: httpx.Client) -> None:
    for path, limit in (("call/compress", bodies.CALL_LIMIT), ("mcp/", bodies.MCP_LIMIT)):
        content = json.dumps({"data": ["data:;base64," + "A" * limit]})
        reply = client.post(f"/gradio_api/{path}", content=content)
        assert reply.status_code == 413 and len(reply.text.splitlines()) == 1


def test_which_names_are_the_apps_own(tmp_path: Path) -> None:
    files = tmp_path / "app"
    files.mkdir()
    (files / "own.png").write_bytes(b"")
    (files / "link").symlink_to(tmp_path)
    assert is_own(str(files / "own.png"), files)
    assert is_own(str(files / "gone.png"), files)
    for name in ("", ".", "own.png", str(files), f"{files}/../x", f"{files}/link/x", f"{files}x", "a\0b"):
        assert not is_own(name, files), name
    assert not is_own("/" + "x" * 100_000, files)
    assert list(named_files([{"a": {"path": "1", "b": [{"path": "2"}]}}, {"path": 3}])) == ["1", "2"]
