"""Start-up and answer times of the app."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from scripts.acceptance.models import shipped_model
from scripts.acceptance.registry import Figure, Result, measure
from scripts.acceptance.report import ROOT

EXAMPLE = ROOT / "apps" / "examples" / "shapes-circle.png"


@measure(
    "A",
    page=Figure("page ready once installed", "s", at_most=10),
    first=Figure("shapes: first predicted frame", "s", at_most=3),
    total=Figure("shapes: 8 futures × 4 frames, files included", "s", at_most=20),
    second=Figure("the same again, with another seed", "s"),
)
def app_times() -> Result:
    """`make app` from this checkout until the page answers; right then /predict_future on an example, by
    gradio_client."""
    from gradio_client import Client, handle_file

    shipped_model("shapes")
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL")}
    with serving(ROOT, environment, limit=120) as page:
        client = Client(page.url, verbose=False)
        times = []
        for seed in (0, 1):
            start = time.perf_counter()
            job = client.submit(
                [handle_file(str(EXAMPLE))], "shapes", 8, 4, 1.0, seed, "", 5, api_name="/predict_future"
            )
            first = 0.0
            while not job.done():
                first = first or (time.perf_counter() - start if job.outputs() else 0.0)
                time.sleep(0.02)
            job.result()
            times.append((first, time.perf_counter() - start))
    return Result({"page": page.seconds, "first": times[0][0], "total": times[0][1], "second": times[1][1]})


START_LIMIT = 1800  # seconds: installing torch on a slow line is part of a first `make app`
STOP_LIMIT = 20


class Page(NamedTuple):
    """A running app: its address, how long it took from the command to the first answer, and its output."""

    url: str
    seconds: float
    log: Callable[[], str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(folder: Path, environment: Mapping[str, str], limit: float = START_LIMIT) -> Iterator[Page]:
    """``make app`` in ``folder`` on a free port, until its page answers; stopped with all its children.

    Raises:
        RuntimeError: the command ended or ``limit`` seconds passed first; the message ends with its output.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with tempfile.NamedTemporaryFile("a") as log:
        read = Path(log.name).read_text
        start = time.perf_counter()
        process = subprocess.Popen(
            ["make", "app", f"PORT={port}"], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            while not _answers(url):
                if process.poll() is not None or time.perf_counter() - start > limit:
                    raise RuntimeError(f"make app did not serve {url}: {read()[-400:]}")
                time.sleep(0.05)
            yield Page(url, time.perf_counter() - start, read)
        finally:
            _stop(process)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200 and bool(answer.read())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
