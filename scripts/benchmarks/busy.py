"""Commands on a busy machine, and the app under many jobs: what others wait, what stays, how soon it ends."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.benchmarks.startup import ROOT, run
from scripts.benchmarks.timing import timed

PER_CORE = 2  # busy processes; with fair scheduling, a command takes 1 + PER_CORE times as long
TURNS = 3
COMMANDS = {
    "digits": ("digits", "--checkpoint", "digits", "--label", "3", "--num-samples", "32"),
    "predict": (
        "predict", "--checkpoint", "push", "--input", str(ROOT / "apps" / "examples" / "push-00000.mp4"),
        "--num-frames", "5", "--num-samples", "4",
    ),
}  # fmt: skip


def busy() -> dict[str, object]:
    """Seconds of each command: median alone, worst alongside busy processes, and ``ratio`` of the two."""
    found: dict[str, object] = {"cores": os.cpu_count(), "turns": TURNS}
    with tempfile.TemporaryDirectory() as name:
        fresh = (str(Path(name) / str(number)) for number in itertools.count())
        for label, words in COMMANDS.items():
            once = lambda words=words: timed(  # noqa: E731
                lambda: run("-m", "vflow", *words, "--output", next(fresh))
            )
            once()
            alone = statistics.median(once() for _ in range(TURNS))
            with spinning(PER_CORE * (os.cpu_count() or 1)):
                worst = max(once() for _ in range(TURNS))
            found[label] = {
                "alone": round(alone, 2), "busy": round(worst, 2), "ratio": round(worst / alone, 2)
            }  # fmt: skip
    return found


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Context in which ``count`` processes keep the processor busy."""
    processes = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _spin() -> None:
    while True:
        pass


CROWD, PER_ADDRESS = 40, 8
MIXED = 25
SETTLED = 30  # seconds from the last job to the measurement of memory
EXAMPLES = ROOT / "apps" / "examples"
CALL = "/gradio_api/call/generate_digits"


def flood() -> dict[str, object]:
    """Seconds that a client waits for one digit, worst of some, beside a crowd's jobs of 320 digits each.

    The crowd asks for all at once, from as many addresses as are let in (Linux answers to all of 127.x).
    ``all``: seconds until it has everything; ``processor``: the app's own, which no other process lengthens.
    """
    with served() as (address, process):
        asyncio.run(digits(address, 0, "3", 1))
        before = sum(process.cpu_times()[:2])
        waits, seconds = asyncio.run(_flood(address))
        return {
            "one": round(max(waits), 1),
            "ones": len(waits),
            "all": round(seconds, 1),
            "processor": round(sum(process.cpu_times()[:2]) - before, 1),
            "jobs": CROWD,
        }


async def _flood(address: str) -> tuple[list[float], float]:
    began = time.monotonic()
    crowd = asyncio.gather(
        *(digits(address, 1 + number // PER_ADDRESS, "all", 32, number) for number in range(CROWD))
    )
    waits = list[float]()
    await asyncio.sleep(2)
    while not crowd.done() and len(waits) < 5:
        asked = time.monotonic()
        await digits(address, 0, "3", 1)
        waits.append(time.monotonic() - asked)
        await asyncio.sleep(1)
    await crowd
    return waits, time.monotonic() - began


async def digits(address: str, client: int, label: str, count: int, seed: int = 0) -> None:
    """Draw digits as a client of an address of its own."""
    import httpx

    here = httpx.AsyncHTTPTransport(local_address=f"127.0.0.{1 + client}")
    async with httpx.AsyncClient(base_url=address, transport=here, timeout=1800) as http:
        answer = await http.post(CALL, json={"data": [label, "digits", count, 1.0, seed]})
        answer.raise_for_status()
        async with http.stream("GET", f"{CALL}/{answer.json()['event_id']}") as stream:
            async for line in stream.aiter_lines():
                if line == "event: complete":
                    return
                if line == "event: error":
                    break
    raise RuntimeError("no digits")


def ending() -> dict[str, object]:
    """Seconds from SIGTERM to the end of an app that has 37 jobs."""
    with served() as (address, process):
        asyncio.run(digits(address, 0, "3", 1))

        async def end() -> float:
            jobs = [
                asyncio.ensure_future(digits(address, 1 + number // PER_ADDRESS, "all", 32, number))
                for number in range(37)
            ]
            await asyncio.sleep(4)
            process.terminate()
            asked = time.monotonic()
            await asyncio.to_thread(process.wait, 120)
            seconds = time.monotonic() - asked
            await asyncio.gather(*jobs, return_exceptions=True)  # none gets its digits
            return seconds

        return {"seconds": round(asyncio.run(end()), 1)}


def held() -> dict[str, object]:
    """MiB of the app after a first job of each tab, after 25 more, some time later, and at most."""
    with served() as (address, process), ThreadPoolExecutor(5) as pool:
        for kind in range(len(_requests(0))):
            _finish(address, 0, kind)
        found = {"first": process.memory_info().rss}
        list(pool.map(lambda number: _finish(address, number, number), range(1, 1 + MIXED)))
        found["after"] = process.memory_info().rss
        time.sleep(SETTLED)
        found["later"] = process.memory_info().rss
        found["grown"] = found["later"] - found["first"]
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        found["most"] = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return {name: round(value / 2**20) for name, value in found.items()}


def _finish(address: str, number: int, kind: int) -> None:
    """Do one of ``_requests(number)``."""
    from gradio_client import Client

    requests = _requests(number)
    endpoint, values = requests[kind % len(requests)]
    client = Client(address, verbose=False, download_files=False)
    try:
        client.predict(api_name=endpoint, **values)
    finally:
        client.close()


def _requests(number: int) -> list[tuple[str, dict[str, Any]]]:
    """A request of each tab; others for another number."""
    from gradio_client import handle_file

    def example(*names: str) -> Any:
        return handle_file(str(EXAMPLES / names[number % len(names)]))

    clip = example("push-00000.mp4", "push-00056.mp4", "push-00064.mp4", "push-00184.mp4")
    photo = example("photo-astronaut.png", "photo-chelsea.png", "photo-coffee.png")
    large = example("camera-astronaut.jpg", "camera-chelsea.jpg", "camera-coffee.jpg")
    return [
        ("/predict_future", {"files": [clip], "checkpoint": "push", "num_samples": 8 + number % 9}),
        ("/generate_digits", {"label": "all", "num_samples": 32, "seed": number}),
        ("/colorize", {"files": [large], "num_samples": 8, "seed": number}),
        ("/upscale", {"files": [example("walk-coffee.png", "walk-chelsea.png")], "num_samples": 2}),
        ("/walk", {"files": [example("walk-circle.png", "walk-square.png")], "checkpoint": "shapes"}),
        ("/score", {"files": [clip], "checkpoint": "push", "seed": number}),
        ("/compress", {"file": photo}),
        ("/learn_density", {"density": "two-moons", "config": "realnvp", "steps": 200, "seed": number}),
    ]


@contextmanager
def served() -> Iterator[tuple[str, Any]]:
    """The app in a process of its own, with its address and a handle on the process."""
    import psutil

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "vflow", "app", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log.txt", "w+") as log:
        process = psutil.Popen(words, cwd=folder, env=environment | {"TMPDIR": folder}, stderr=log)
        try:
            while "vflow is at" not in Path(log.name).read_text():
                if process.poll() is not None:
                    raise RuntimeError(Path(log.name).read_text())
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}", process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
