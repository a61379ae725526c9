"""The app: start-up and response times, hostile input, many clients, and the fit of uploads."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple
from xml.etree import ElementTree

import psutil
from PIL import Image

from scripts.acceptance.models import shipped_model
from scripts.acceptance.registry import NotHere, Result, measure
from scripts.acceptance.report import ROOT

PHOTOS_TOO = ("colorizer", "grasp")
EXAMPLE = ROOT / "apps" / "examples" / "shapes-circle.png"


@measure("A")
def app_times() -> Result:
    """Time from `make app` in this checkout until the page responds; immediately afterwards, /predict_future
    on an example, called with gradio_client."""
    shipped_model("shapes")
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL")}
    with serving(environment) as page:
        (first, total), (second, _) = _predictions(page, time.perf_counter)
    return Result({"page": page.seconds, "first": first, "total": total, "second": second})


@measure("J")
def start() -> Result:
    """Time from `vflow app` until the page responds; once the app is idle, /predict_future twice. Processor
    time of the app, which equals wall-clock time on an idle core."""
    shipped_model("shapes")
    program = "import sys; from vflow.cli import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, "app"]
    with serving(environment, command) as page:
        _wait_until_idle(page)
        (first, _), (second, _) = _predictions(page, page.work)
    return Result({"page": page.ready, "first": first, "second": second})


def _wait_until_idle(page: Page, limit: float = 120) -> None:
    """Wait until the app has loaded its models: two seconds with almost no work."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        before = page.work()
        time.sleep(2)
        if page.work() - before < 0.1:
            return


def _predictions(page: Page, clock: Callable[[], float]) -> list[tuple[float, float]]:
    """Seconds by ``clock`` to the first frame and to the end, for two predictions from an example."""
    from gradio_client import Client, handle_file

    client, times = Client(page.url, verbose=False), list[tuple[float, float]]()
    for seed in (0, 1):
        begin = clock()
        job = client.submit(
            [handle_file(str(EXAMPLE))], "shapes", 8, 4, 1.0, seed, "", 5, api_name="/predict_future"
        )
        first = 0.0
        while not job.done():
            first = first or (clock() - begin if job.outputs() else 0.0)
            time.sleep(0.02)
        job.result()
        times.append((first, clock() - begin))
    return times


@measure("J")
def fit() -> Result:
    """Statistics of 600 training frames per model; limits from half of 120 validation frames; figures for the
    other half and for 120 validation frames of each other kind (scripts/fit_selection.py). Frames from
    grasp's camera are photographs, so for models of photos they do not count as another kind."""
    from scripts.fit_selection import SOURCES, inputs_of, separation, training_features

    if not (place := os.environ.get("VFLOW_DATA")):
        raise NotHere("needs validation frames: VFLOW_DATA=folder with MNIST, photos, push, grasp and rain")
    data = Path(place)
    inputs = inputs_of(data)
    found = {name: separation(name, training_features(name, data), inputs) for name in SOURCES}
    pairs = {
        (name, other): area
        for name, each in found.items()
        for other, area in each.auroc.items()
        if (name, other) != PHOTOS_TOO
    }
    lowest = min(pairs, key=lambda pair: pairs[pair])
    values = {
        "auroc": pairs[lowest],
        "told": 100 * mean(found[name].told[other] for name, other in pairs),
        "kept": 100 * mean(each.kept for each in found.values()),
        "seconds": _seconds_of_verdict(),
    }
    return Result(
        values,
        f"lowest: {' against '.join(lowest)}; median of {len(pairs)} pairs {median(pairs.values()):.4f}",
    )


def _seconds_of_verdict() -> float:
    """Processor time from a photo on disk to the verdict on its fit."""
    from apps.ui.shared.context import AppContext
    from apps.ui.shared.fit import judge_files
    from apps.ui.shared.jobs import Jobs
    from apps.ui.shared.models import ModelStore
    from apps.ui.shared.storage import RunStore

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        photo = Image.open(ROOT / "apps" / "examples" / "photo-chelsea.png").convert("RGB")
        photo.resize((4000, 3000)).save(folder / "photo.jpg", quality=90)
        app = AppContext(ModelStore(), RunStore(folder), Jobs(), folder)
        start = time.process_time()
        verdict = judge_files(app, "shapes", [str(folder / "photo.jpg")])
        seconds = time.process_time() - start
    if verdict is None or verdict.fits:
        raise AssertionError(f"a photo was judged as {verdict}")
    return seconds


@measure("J")
def hostile() -> Result:
    """The long tests test_hostile, test_hostile_files and test_hostile_values: damaged and fuzzed media,
    decompression bombs, odd names, archives, pickles, odd numbers and sizes, values of the wrong type;
    generated from a seed."""
    places = ("tests/test_hostile.py", "tests/app/test_hostile_files.py", "tests/app/test_hostile_values.py")
    failures, found = _campaigns(*places)
    values = {
        "inputs": sum(found["inputs"]),
        "failures": failures,
        "seconds": max(found["seconds"]),
        "megabytes": max(found["megabytes"]),
    }
    return Result(values, " + ".join(f"{count:.0f}" for count in found["inputs"]))


@measure("J")
def clients() -> Result:
    """The long test test_load: clients request digits over HTTP, each with its own seed."""
    return _recorded("tests/app/test_load.py")


@measure("J")
def reading() -> Result:
    """The long test test_reading, over HTTP: while a GIF of 60 frames of 3000×3000 is scored, untrained
    models repeatedly draw digits and predict futures of a still; the larger of the two ratios of medians.
    Then ten GIFs with frames of 8000×8000 at once."""
    return _recorded("tests/app/test_reading.py")


def _recorded(test: str) -> Result:
    """Figures that one long test recorded, which must pass."""
    failures, found = _campaigns(test)
    if failures:
        raise AssertionError(f"make test-long ARGS={test} fails")
    return Result({name: values[0] for name, values in found.items()})


def _campaigns(*tests: str) -> tuple[int, dict[str, list[float]]]:
    """Number of failed long tests, and the figures that the tests recorded."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = ["-m", "pytest", "-q", "-m", "long", *tests, f"--junitxml={report}"]
        subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        suite = ElementTree.parse(report).getroot()
    found: dict[str, list[float]] = {}
    for entry in suite.iter("property"):
        found.setdefault(entry.get("name", ""), []).append(float(entry.get("value", "nan")))
    return len([*suite.iter("failure"), *suite.iter("error")]), found


START_LIMIT, STOP_LIMIT = 120, 20  # seconds


class Page(NamedTuple):
    """A running app.

    Attributes:
        seconds, ready: from the command to the first response, in wall-clock and in processor time.
        work: processor time so far.
    """

    url: str
    seconds: float
    ready: float
    work: Callable[[], float]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(environment: Mapping[str, str], command: Sequence[str] = ()) -> Iterator[Page]:
    """Page of ``command`` (default: ``make app``) in this checkout on a free port; stopped with its children.

    Raises:
        RuntimeError: the command ended or two minutes passed first; the message ends with its output.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with tempfile.NamedTemporaryFile("a") as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--port", str(port)] if command else ["make", "app", f"PORT={port}"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not _answers(url):
                if process.poll() is not None or time.perf_counter() - start > START_LIMIT:
                    raise RuntimeError(f"the app did not serve {url}: {Path(log.name).read_text()[-400:]}")
                time.sleep(0.05)
            work = partial(_processor_time, process.pid)
            yield Page(url, time.perf_counter() - start, work(), work)
        finally:
            _stop(process)


def _processor_time(pid: int) -> float:
    """Seconds of processor time of a process and its children, including those that have ended."""
    whole = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:4]) for process in [whole, *whole.children(recursive=True)])


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
