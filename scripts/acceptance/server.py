"""The app as a process of its own, and pytest's closing line."""

from __future__ import annotations

import os
import re
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


def tests_passed(output: str) -> tuple[int, int]:
    """Tests passed and failed (errors are failures) by pytest's closing line.

    Raises:
        RuntimeError: there is no such line; the message ends with the output.
    """
    pattern = re.compile(r"\d+ (passed|failed|error).* in [\d.]+s")
    closing = [line for line in output.splitlines() if pattern.search(line)]
    if not closing:
        raise RuntimeError(f"pytest did not finish: {output[-400:]}")
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", closing[-1])}
    return counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0)
