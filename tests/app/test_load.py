"""Many clients at once, half of whom leave: what the others get, what stays, and the limits in words."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

import vflow
from apps.app import ADDRESS_QUEUE_FULL, ADDRESS_QUEUE_SIZE, QUEUE_FULL, QUEUE_SIZE
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


def client(site: Site, number: int) -> httpx.AsyncClient:
    """A client with an address of its own (Linux answers to all of 127.x)."""
    here = httpx.AsyncHTTPTransport(
        local_address=f"127.0.0.{2 + number}", limits=httpx.Limits(max_connections=200)
    )
    return httpx.AsyncClient(base_url=site.address, transport=here, timeout=httpx.Timeout(600))


async def ask(client: httpx.AsyncClient, seed: int, checkpoint: str = "digits") -> httpx.Response:
    """Join the queue for eight digits of each class."""
    data = ["all", checkpoint, 8, 1.0, seed]
    return await client.post(CALL, json={"data": data, "session_hash": f"load-{checkpoint}-{seed}"})


async def digits(client: httpx.AsyncClient, seed: int, checkpoint: str = "digits") -> bytes:
    """Bytes of the npz that a client with this seed gets."""
    return await result(client, await ask(client, seed, checkpoint))


async def result(client: httpx.AsyncClient, asked: httpx.Response) -> bytes:
    """Bytes of the npz that a request gets."""
    event = asked.json()["event_id"]
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


async def crowd(site: Site, count: int) -> list[bytes]:
    """Results of every second of ``count`` clients, of whom few share an address; the others leave."""
    async with AsyncExitStack() as stack:
        shared = [
            await stack.enter_async_context(client(site, number))
            for number in range(-(-count // ADDRESS_QUEUE_SIZE))
        ]
        work = [
            (leave if seed % 2 else digits)(shared[seed // ADDRESS_QUEUE_SIZE], seed) for seed in range(count)
        ]
        return [found for found in await asyncio.gather(*work) if found is not None]


def meet(site: Site, checkpoints: Path, count: int, record: Record) -> None:
    """A crowd; each who stays gets what Python draws for its seed, and nobody else's files are made."""
    run_async(crowd(site, 2))  # the model is loaded, libraries have their memory
    before = site.memory()
    results = run_async(crowd(site, count))
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


async def overfill(site: Site) -> list[list[httpx.Response]]:
    """Answers to some addresses, each of which asks for more than it may: together more than all may."""
    answers = []
    for number in range(QUEUE_SIZE // ADDRESS_QUEUE_SIZE + 2):
        async with client(site, 100 + number) as own:
            answers.append([await ask(own, seed, "slower-digits") for seed in range(ADDRESS_QUEUE_SIZE + 2)])
    return answers


def test_twelve_clients_half_of_whom_leave(site: Site, checkpoints: Path, record_property: Record) -> None:
    meet(site, checkpoints, 12, record_property)
    answers = run_async(overfill(site))
    for own in answers[:-3]:
        assert [answer.status_code for answer in own] == [200] * ADDRESS_QUEUE_SIZE + [503] * 2
        assert own[-1].json()["detail"] == ADDRESS_QUEUE_FULL
    assert answers[-1][-1].status_code == 503
    assert answers[-1][-1].json()["detail"] == QUEUE_FULL


def test_a_client_is_served_beside_the_jobs_of_others_and_no_header_gives_them_more(site: Site) -> None:
    async def finished_before() -> int:
        async with client(site, 0) as first, client(site, 1) as second, client(site, 2) as other:
            flood = []
            for number, own in enumerate((first, second)):
                for seed in range(number * ADDRESS_QUEUE_SIZE, (number + 1) * ADDRESS_QUEUE_SIZE):
                    own.headers["x-forwarded-for"] = f"10.0.0.{seed}"
                    asked = await ask(own, seed, "slow-digits")
                    flood.append(asyncio.ensure_future(result(own, asked)))
                own.headers["x-forwarded-for"] = "10.0.0.99"
                assert (await ask(own, 99)).json()["detail"] == ADDRESS_QUEUE_FULL
            await digits(other, 0)
            done = sum(job.done() for job in flood)
            await asyncio.gather(*flood)
            return done

    run_async(crowd(site, 1))  # the model is loaded
    assert run_async(finished_before()) < ADDRESS_QUEUE_SIZE


def test_sigterm_ends_the_app_soon_however_many_jobs_wait(checkpoints: Path, tmp_path: Path) -> None:
    async def end(site: Site) -> float:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(site, number)) for number in range(5)]
            jobs = [
                asyncio.ensure_future(digits(clients[number % 5], number, "slower-digits"))
                for number in range(37)
            ]
            await asyncio.sleep(3)
            site.process.terminate()
            began = time.monotonic()
            await asyncio.to_thread(site.process.wait, 60)
            seconds = time.monotonic() - began
            results = await asyncio.gather(*jobs, return_exceptions=True)
            assert not any(isinstance(result, bytes) for result in results)
            return seconds

    with running(tmp_path, checkpoints) as (address, process):
        site = Site(address, psutil.Process(process.pid), tmp_path)
        run_async(crowd(site, 1))
        assert run_async(end(site)) < 8


@pytest.mark.long
def test_fifty_clients_half_of_whom_leave(site: Site, checkpoints: Path, record_property: Record) -> None:
    meet(site, checkpoints, 50, record_property)
