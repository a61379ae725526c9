"""The app: how soon it answers, and its browser tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from scripts.acceptance.models import shipped_model
from scripts.acceptance.registry import Figure, NotHere, Result, measure
from scripts.acceptance.report import ROOT
from scripts.acceptance.server import serving, tests_passed

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


@measure(
    "A",
    passed=Figure("browser tests passed", "", at_least=10),
    failed=Figure("browser tests failed", "", at_most=0),
)
def browser_tests() -> Result:
    """pytest tests/app: uploads, decoded pixels, Stop, downloads, desktop and 390 px, console, hosts, axe."""
    tests = ROOT / "tests" / "app"
    if not tests.is_dir():
        raise NotHere("tests/app is not there yet")
    return run_pytest(tests)


def run_pytest(*paths: Path) -> Result:
    command = [sys.executable, "-m", "pytest", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    passed, failed = tests_passed(done.stdout + done.stderr)
    return Result({"passed": passed, "failed": failed})
