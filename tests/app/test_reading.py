"""Uploads that take long to read: meanwhile other jobs are done, on the page and through the endpoints."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.app.conftest import Opener, Server, running
from tests.app.support import DONE
from tests.app.test_hostile_files import MEGABYTES, Site, requests, upload
from tests.app.test_hostile_values import call
from tests.test_hostile import Record

DIGIT = ["7", "digits", 1, 1.0, 0]
LIMIT = 600.0  # seconds of a reply


def slow_gif(path: Path, side: int, frames: int, *, damaged: bool = False) -> Path:
    """A small GIF of many large frames, all alike: hardly any bytes, and much to decode.

    ``damaged``: the last frame has no pixels, so that the file is refused once all others have been decoded.
    """
    buffer = io.BytesIO()
    Image.new("P", (side, side), 1).save(buffer, "GIF")
    data = buffer.getvalue()
    start = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    frame = b"\x21\xf9\x04\x00\x0a\x00\x00\x00" + data[start:-1]  # shown for 100 ms
    last = frame[:19] + b"\x00" if damaged else frame  # extension, descriptor, size of codes; no blocks
    path.write_bytes(b"GIF89a" + data[6:start] + (frames - 1) * frame + last + b";")
    return path


def score(client: httpx.Client, path: Path) -> list[Any]:
    """Values of /score for a file, which is sent."""
    file = upload(client, path)
    assert file is not None
    return requests(file)["score"]


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=LIMIT) as client:
        yield client


def test_endpoints_and_a_page_answer_while_an_upload_is_read(
    http: httpx.Client, opened: Opener, stills: list[Path], tmp_path: Path
) -> None:
    file = upload(http, stills[0])
    assert file is not None
    app = opened()
    app.tab("Digits")
    app.number("Digits per class", 1)
    values = score(http, slow_gif(tmp_path / "slow.gif", 3000, 50, damaged=True))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(call, http, "score", values)
        time.sleep(0.5)  # its turn comes first
        for name, given in (("generate_digits", DIGIT), ("predict_future", requests(file)["predict_future"])):
            event, data = call(http, name, given)
            assert event == "complete", (name, data)
        app.page.locator("#vf-digits-run").click()
        app.page.locator(".vf-drawn").wait_for(timeout=DONE)
        assert not reading.done()
        assert reading.result()[0] == "error", "all the time went into reading"


@pytest.mark.long
def test_small_jobs_beside_slow_uploads(
    checkpoints: Path, stills: list[Path], tmp_path: Path, record_property: Record
) -> None:
    """Seconds of small jobs while a slow upload is read, over their seconds alone; seven bombs at once."""
    with (
        running(tmp_path, checkpoints) as (address, process),
        httpx.Client(base_url=address, timeout=LIMIT) as client,
        ThreadPoolExecutor(10) as pool,
    ):
        file = upload(client, stills[0])
        assert file is not None
        small = {"generate_digits": DIGIT, "predict_future": requests(file)["predict_future"]}
        seconds = {name: _seconds(client, name, values) for name, values in small.items()}
        for take in seconds.values():
            take()
        alone = {name: median(take() for _ in range(7)) for name, take in seconds.items()}
        values, began = score(client, slow_gif(tmp_path / "slow.gif", 3000, 60)), time.monotonic()
        slow = pool.submit(call, client, "score", values)
        time.sleep(0.5)
        beside: dict[str, list[float]] = {name: [] for name in seconds}
        while not slow.done():
            for name, take in seconds.items():
                beside[name].append(take())
        reading = time.monotonic() - began
        assert slow.result()[0] == "complete"
        bombs = [slow_gif(tmp_path / f"bomb{number}.gif", 8000, 2) for number in range(7)]
        replies = [pool.submit(call, client, "score", score(client, bomb)) for bomb in bombs]
        digit = seconds["generate_digits"]()
        assert not all(reply.done() for reply in replies)
        assert {reply.result()[0] for reply in replies} == {"complete"}
        peak = Site(address, 0.0, tmp_path / "log.txt", process.pid).peak()
    assert all(len(times) >= 3 for times in beside.values()), "too quick a file"
    assert peak < MEGABYTES
    ratio = max(median(times) / alone[name] for name, times in beside.items())
    figures = {"ratio": ratio, "seconds": reading, "digit": digit, "megabytes": peak}
    for name, value in figures.items():
        record_property(name, value)


def _seconds(client: httpx.Client, name: str, values: list[Any]) -> Callable[[], float]:
    """The clock around a call that succeeds."""

    def take() -> float:
        began = time.monotonic()
        event, data = call(client, name, values)
        assert event == "complete", (name, data)
        return time.monotonic() - began

    return take
