"""Many clients at once, half of whom leave: what the others get, what stays, and the limit in words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

import vflow
from apps.app import QUEUE_FULL, QUEUE_SIZE
from tests.app.conftest import running
from tests.app.support import run_async
from tests.test_hostile import Record
from vflow.data import media

CALL = "/gradio_api/call/generate_digits"
MEMORY = 200 * 2**20


@dataclass(frozen=True)
class Site:
    """A running app of this test's own."""

    address: str
    process: psutil.Process
    folder: Path

    def memory(self) -> int:
        return int(self.process.memory_info().rss)


@pytest.fixture
def site(checkpoints: Path, tmp_path: Path) -> Iterator[Site]:
    """The app, which leaves no file behind when it ends."""
    with running(tmp_path, checkpoints) as (address, process):
        yield Site(address, psutil.Process(process.pid), tmp_path)


async def ask(client: httpx.AsyncClient, seed: int, checkpoint: str = "digits") -> httpx.Response:
    """Join the queue for eight digits of each class."""
    data = ["all", checkpoint, 8, 1.0, seed]
    return await client.post(CALL, json={"data": data, "session_hash": f"load-{checkpoint}-{seed}"})


async def digits(client: httpx.AsyncClient, seed: int) -> bytes:
    """Bytes of the npz that a client with this seed gets."""
    event = (await ask(client, seed)).json()["event_id"]
    async with client.stream("GET", f"{CALL}/{event}") as stream:
        kind = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind == "complete":
                url = json.loads(line.removeprefix("data: "))[0]["url"]
                return (await client.get(url)).content
            assert kind != "error", line
    raise AssertionError("no result")


async def leave(client: httpx.AsyncClient, seed: int) -> None:
    """Begin as the others do, and close the connection before there is a result."""
    event = (await ask(client, seed, "slow-digits")).json()["event_id"]
    async with client.stream("GET", f"{CALL}/{event}") as stream:
        async for _ in stream.aiter_lines():
            break


async def crowd(address: str, count: int) -> list[bytes]:
    """Results of every second of ``count`` clients; the others leave."""
    limits, timeout = httpx.Limits(max_connections=4 * count), httpx.Timeout(600)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=timeout) as client:
        work = [leave(client, seed) if seed % 2 else digits(client, seed) for seed in range(count)]
        return [found for found in await asyncio.gather(*work) if found is not None]


def meet(site: Site, checkpoints: Path, count: int, record: Record) -> None:
    """A crowd; each who stays gets what Python draws for its seed, and nobody else's files are made."""
    run_async(crowd(site.address, 2))  # the model is loaded, libraries have their memory
    before = site.memory()
    results = run_async(crowd(site.address, count))
    assert len(results) == (count + 1) // 2
    model = vflow.load(checkpoints / "digits")
    for seed, found in zip(range(0, count, 2), results, strict=True):
        images = np.concatenate([vflow.digits(model, label, num_samples=8, seed=seed) for label in range(10)])
        path = site.folder / "alone.npz"
        media.write_npz(path, images=images, labels=np.repeat(np.arange(10), 8))
        assert found == path.read_bytes(), f"seed {seed}"
    grown = site.memory() - before
    assert grown < MEMORY
    folders = [folder for folder in site.folder.glob("vflow-app-*/runs/*") if folder.is_dir()]
    unfinished = [folder for folder in folders if not (folder / "settings.json").is_file()]
    assert len(folders) <= 40 and not unfinished
    for name, value in (
        ("clients", count),
        ("equal", len(results)),
        ("megabytes", grown / 2**20),
        ("unfinished", len(unfinished)),
    ):
        record(name, value)


async def overfill(address: str) -> list[httpx.Response]:
    """Answers to as many requests as may wait, and some more."""
    async with httpx.AsyncClient(base_url=address, timeout=httpx.Timeout(120)) as client:
        return [await ask(client, seed, "slower-digits") for seed in range(QUEUE_SIZE + 8)]


def test_twelve_clients_half_of_whom_leave(site: Site, checkpoints: Path, record_property: Record) -> None:
    meet(site, checkpoints, 12, record_property)
    answers = run_async(overfill(site.address))
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 503
    assert answers[-1].json()["detail"] == QUEUE_FULL and str(QUEUE_SIZE) in QUEUE_FULL


@pytest.mark.long
def test_fifty_clients_half_of_whom_leave(site: Site, checkpoints: Path, record_property: Record) -> None:
    meet(site, checkpoints, 50, record_property)
