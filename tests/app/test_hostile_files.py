"""Hostile files, sent to every endpoint that takes one: one line each, no traceback, no hang, no code run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.app.conftest import Server, running
from tests.app.test_hostile_values import FILE, call
from tests.hostile import MAKERS
from tests.test_hostile import Record

SECONDS, MEGABYTES = 30.0, 2_000


def requests(file: dict[str, Any]) -> dict[str, list[Any]]:
    """Values of each endpoint for one uploaded file."""
    walk = [[], "shapes", "temperature", 2, 0, "-1", 0, 1, 0, "likeliest", 1, 0, 1, [], []]
    return {
        "predict_future": [[file], "shapes", 1, 1, 1.0, 0, "", 5],
        "score": [[file], "shapes", 0],
        "colorize": [[file], "colorizer", 1, 1.0, 1.0, 0, "", ""],
        "upscale": [[file], "enlarge", 2, 1, 1.0, 0],
        "walk": [[file], *walk],
        "compress": [file],
        "decompress": [file],
        "learn_density": ["two-moons", "rnade", 10, 0, [file]],
    }


ENDPOINTS = tuple(requests({}))


@dataclass(frozen=True)
class Site(Server):
    """The running app, whose memory is watched."""

    pid: int = 0

    def peak(self) -> float:
        """Most memory that it had so far, in megabytes; 0 where the system does not say (not Linux)."""
        status = Path(f"/proc/{self.pid}/status")
        lines = status.read_text().splitlines() if status.is_file() else []
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


@pytest.fixture(scope="module")
def site(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The app in a process of its own."""
    folder = tmp_path_factory.mktemp("hostile")
    with running(folder, checkpoints) as (address, process):
        yield Site(address, 0.0, folder / "log.txt", process.pid)


def upload(client: httpx.Client, path: Path) -> dict[str, Any] | None:
    """The file as a browser would send it; None where the server refuses it in a line."""
    reply = client.post("/gradio_api/upload", files={"files": (path.name, path.read_bytes())})
    if reply.status_code != 200:
        assert "Traceback" not in reply.text and len(reply.text) < 2_000, reply.text[:600]
        return None
    return {"path": reply.json()[0], "orig_name": path.name, "meta": FILE}


def campaign(site: Site, count: int, folder: Path, record: Record) -> None:
    """Send ``count`` hostile files, made in turn by every maker, to the endpoints in turn."""
    rng, mark, sent, longest = np.random.default_rng(1), folder / "code-was-run", 0, 0.0
    with httpx.Client(base_url=site.address, timeout=SECONDS) as client:
        for number in range(count):
            place = folder / str(number)
            place.mkdir()
            path = MAKERS[number % len(MAKERS)](rng, place, mark)
            name = ENDPOINTS[int(rng.integers(len(ENDPOINTS)))]
            if path.is_symlink() or not path.is_file():
                continue  # no browser uploads it
            file = upload(client, path)
            if file is None:
                continue
            began = time.monotonic()
            event, data = call(client, name, requests(file)[name])
            seconds, text = time.monotonic() - began, json.dumps(data)
            shown = f"{number}: {name} {path.name!r}: {event} {text[:600]}"
            assert event in ("complete", "error") and seconds < SECONDS, shown
            if event == "error":
                line = data["error"]
                assert line and line.isprintable() and len(line) < 2_100, shown
                assert str(site.log.parent) not in line and "site-packages" not in line, shown
            assert not mark.exists(), shown
            sent, longest = sent + 1, max(longest, seconds)
    assert sent > count / 2 and "Traceback" not in site.log.read_text()
    assert site.peak() < MEGABYTES
    for name, value in (("inputs", count), ("seconds", longest), ("megabytes", site.peak())):
        record(name, value)


def test_thirty_hostile_files(site: Site, tmp_path: Path, record_property: Record) -> None:
    campaign(site, 30, tmp_path, record_property)


@pytest.mark.long
def test_three_hundred_hostile_files(site: Site, tmp_path: Path, record_property: Record) -> None:
    campaign(site, 300, tmp_path, record_property)
