"""What clients send: too much, too slowly, too many at once, or not to the end."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from gradio.route_utils import upload_fn
from gradio.utils import get_hash_seed
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp

from apps.guard import bodies
from apps.guard.bodies import UPLOAD, Bodies
from apps.ui.shared import storage
from tests.app.conftest import Server, running
from tests.app.support import run_async

BOUNDARY = b"0123456789abcdef"
HEAD = b'--%s\r\nContent-Disposition: form-data; name="files"; filename="a.bin"\r\n\r\n' % BOUNDARY


def taking_uploads(folder: Path) -> ASGIApp:
    """The guard around an app that takes uploads with gradio's own function, and calls."""
    app = FastAPI()

    @app.post(UPLOAD)
    async def upload(request: Request) -> Any:
        try:
            return (await upload_fn(request, folder, 2**20, None))[0]
        except MultiPartException as error:
            return PlainTextResponse(error.message, 400)

    @app.post("/gradio_api/call/slow")
    async def slow(request: Request) -> str:
        await request.body()
        await asyncio.sleep(1)
        return "done"

    return Bodies(app, folder)


def ask(app: ASGIApp, path: str, *parts: bytes, length: int | None = None, chunked: bool = False) -> int:
    """Status of the answer to a body of which ``parts`` arrive, and the rest of its ``length`` never does."""
    sent: list[dict[str, Any]] = []
    size = sum(map(len, parts)) if length is None else length
    declared = (b"transfer-encoding", b"chunked") if chunked else (b"content-length", b"%d" % size)
    kind = (b"content-type", b"multipart/form-data; boundary=" + BOUNDARY)
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if length is None and messages:
        messages[-1]["more_body"] = False

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [declared, kind], "query_string": b""}
    run_async(asyncio.wait_for(app(scope, receive, send), 30))  # type: ignore[arg-type]
    return int(sent[0]["status"])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test can wait for."""
    for name in ("PATIENCE", "DRAIN"):
        monkeypatch.setattr(bodies, name, 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_stalled_upload_ends_and_leaves_no_file(tmp_path: Path) -> None:
    app = taking_uploads(tmp_path)
    for half in (b"half", b"x" * 900_000):
        assert ask(app, UPLOAD, HEAD + half, length=1_000_000) == 400
    assert list(tmp_path.rglob("*")) == []
    whole = HEAD + b"all of it\r\n--" + BOUNDARY + b"--\r\n"
    assert ask(app, UPLOAD, whole) == 200
    assert [path.read_bytes() for path in tmp_path.rglob("a.bin")] == [b"all of it"]


@pytest.mark.usefixtures("impatient")
def test_a_call_that_trickles_ends_too(tmp_path: Path) -> None:
    began = time.monotonic()
    assert ask(taking_uploads(tmp_path), "/gradio_api/call/slow", b"{", length=1000) >= 400
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("impatient")
def test_all_uploads_together_have_a_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "QUOTA", 1000)
    app, body = taking_uploads(tmp_path), HEAD + b"x" * 400 + b"\r\n--" + BOUNDARY + b"--\r\n"
    assert ask(app, UPLOAD, body) == 200
    assert ask(app, UPLOAD, body.replace(b"x", b"y")) == 200
    assert ask(app, UPLOAD, body.replace(b"x", b"z")) == 503
    assert ask(app, UPLOAD, body, chunked=True) == 411, "its size is not known beforehand"
    for file in tmp_path.rglob("a.bin"):
        file.unlink()
    assert ask(app, UPLOAD, body.replace(b"x", b"z")) == 200


@pytest.mark.usefixtures("impatient")
def test_uploads_and_calls_at_once_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "UPLOADS_AT_ONCE", 2)
    monkeypatch.setattr(bodies, "MEMORY_QUOTA", 100)
    app = taking_uploads(tmp_path)

    async def several(path: str, content: bytes) -> list[int]:
        transport = httpx.ASGITransport(app)
        kind = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            posts = [client.post(path, content=content, headers=kind) for _ in range(3)]
            return sorted(answer.status_code for answer in await asyncio.gather(*posts))

    assert run_async(several("/gradio_api/call/slow", b" " * 40)) == [200, 200, 503]
    assert run_async(several("/gradio_api/call/slow", b" " * 30)) == [200, 200, 200]
    monkeypatch.setattr(bodies, "UPLOADS_AT_ONCE", 0)
    assert run_async(several(UPLOAD, HEAD)) == [503] * 3


@pytest.fixture
def folder(checkpoints: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and folder of an app, whose log has no traceback at its end."""
    with running(tmp_path, checkpoints) as (address, _):
        yield address, tmp_path


def test_clients_that_leave_amid_uploads_leave_nothing(folder: tuple[str, Path]) -> None:
    address, place = folder
    (files,) = place.glob("vflow-app-*")
    before = set(files.rglob("*"))
    host, port = address.removeprefix("http://").split(":")
    lines = (
        f"POST {UPLOAD} HTTP/1.1", f"Host: {host}:{port}", "Content-Length: 9000000",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}", "", "",
    )  # fmt: skip
    for _ in range(3):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall("\r\n".join(lines).encode() + HEAD + b"x" * 3_000_000)
            while set(files.rglob("*")) == before:
                time.sleep(0.05)
    for _ in range(200):
        if set(files.rglob("*")) == before:
            return
        time.sleep(0.05)
    raise AssertionError(f"left: {set(files.rglob('*')) - before}")


def test_addresses_of_uploads_cannot_be_guessed(server: Server) -> None:
    content = b"known to others"
    reply = httpx.post(server.address + UPLOAD, files={"files": ("known.bin", content)}, timeout=60)
    digest = Path(reply.json()[0]).parent.name
    assert len(digest) == 64
    for seed in (b"", get_hash_seed().encode()):
        assert digest != hashlib.sha256(seed + content).hexdigest()


def test_a_file_beyond_the_limit_is_refused(server: Server, tmp_path: Path) -> None:
    large = HEAD + b"x" * (2**20 + 1) + b"\r\n--" + BOUNDARY + b"--\r\n"
    assert ask(taking_uploads(tmp_path), UPLOAD, large) == 400
    assert list(tmp_path.iterdir()) == []
    config = httpx.get(f"{server.address}/config", timeout=60).json()
    assert config["max_file_size"] == bodies.UPLOAD_LIMIT


def test_old_uploads_and_empty_folders_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("whole/a.png", "tmpcut", "examples/b.png", "runs/c/d.npz", "empty/inner/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1234")
    (tmp_path / "empty" / "inner" / "e").unlink()
    assert storage.uploaded_bytes(tmp_path) == 8, "without what is under way, and results"
    own = {tmp_path / "examples" / "b.png"}
    everything = set(tmp_path.rglob("*"))
    storage.remove_old_uploads(tmp_path, own)
    assert set(tmp_path.rglob("*")) == everything, "nothing is old yet"
    now = time.time()
    monkeypatch.setattr(storage.time, "time", lambda: now + storage.MAX_AGE + 10)
    for _ in range(3):
        storage.remove_old_uploads(tmp_path, own)
        monkeypatch.setattr(storage.time, "time", lambda: now + 2 * storage.MAX_AGE)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"examples/b.png", "runs/c/d.npz"}
    assert {path.name for path in tmp_path.iterdir()} == {"examples", "runs"}
