"""A fresh clone, light imports, a quick --help."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.acceptance.registry import Figure, NotHere, Result, measure
from scripts.acceptance.report import ROOT
from scripts.acceptance.server import serving, tests_passed

HELP_RUNS = 11
OWN_VARIABLES = {
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHON",
    "MAKEFLAGS",
    "MAKELEVEL",
    "VFLOW_DATA",
    "ONLY",
}


@measure("A", seconds=Figure("`vflow --help`", "s", at_most=0.4))
def help_time() -> Result:
    """Median wall time of 11 runs of the installed `vflow --help`, after one to warm the file cache."""
    command = Path(sys.executable).with_name("vflow")
    if not command.is_file():
        raise NotHere(f"{command} is missing: use make accept, which installs it")
    seconds = []
    for _ in range(HELP_RUNS + 1):
        start = time.perf_counter()
        subprocess.run([str(command), "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return Result({"seconds": statistics.median(seconds[1:])})


@measure("A", imported=Figure("`import vflow` with gradio and accelerate blocked", "(1: works)", at_least=1))
def blocked_import() -> Result:
    """A fresh interpreter in which importing gradio, accelerate or tensorboard raises ImportError."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['gradio', 'accelerate', 'tensorboard']));"
        "import vflow; vflow.load; vflow.predict; vflow.score"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    return Result({"imported": float(done.returncode == 0)}, note=" ".join(done.stderr.split())[-200:])


@contextmanager
def fresh_clone() -> Iterator[Path]:
    """A clone of this repository's last commit in a new folder, removed afterwards."""
    if not (ROOT / ".git").exists():
        raise NotHere("this is no git clone")
    folder = Path(tempfile.mkdtemp(prefix="vflow-clone-"))
    try:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "vflow")], check=True)
        yield folder / "vflow"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_tests(clone: Path, arguments: str) -> tuple[int, int, str]:
    """``make test`` in the clone: tests passed and failed, and which failed; why is told on stderr."""
    command = ["make", "test", f"ARGS={arguments}"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, env=clean_environment())
    lines = done.stdout.splitlines()
    for line in lines:
        if line.startswith(("FAILED", "E   ")):
            print(line, file=sys.stderr)
    names = ", ".join(line.split()[1] for line in lines if line.startswith("FAILED "))
    return *tests_passed(done.stdout + done.stderr), f"failed: {names}" if names else ""


def clean_environment() -> dict[str, str]:
    """This environment as a new shell would have it: no virtual environment, no path to this tree."""
    environment = {key: value for key, value in os.environ.items() if key not in OWN_VARIABLES}
    own = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join(p for p in environment["PATH"].split(os.pathsep) if p != own)
    return environment


CLONE = {
    "page": Figure("fresh clone: `make app` serves the page", "s (installation included)"),
    "again": Figure("page ready once installed", "s", at_most=10),
    "passed": Figure("fresh clone: tests passed", "", at_least=1),
    "failed": Figure("fresh clone: tests failed", "", at_most=0),
}


@measure("A", **CLONE)
def clone_app_first() -> Result:
    """A fresh clone, nothing installed: `make app` until the page answers, again, then all of `make test`."""
    with fresh_clone() as clone:
        with serving(clone, clean_environment()) as page:
            first = page.seconds
        with serving(clone, clean_environment()) as page:
            again = page.seconds
        passed, failed, note = run_tests(clone, "")
    return Result({"page": first, "again": again, "passed": passed, "failed": failed}, note)


@measure("A", **CLONE)
def clone_test_first() -> Result:
    """The other way round: `make test` (imports and layering only), then `make app` twice."""
    with fresh_clone() as clone:
        passed, failed, note = run_tests(clone, "tests/test_imports.py")
        with serving(clone, clean_environment()) as page:
            first = page.seconds
        with serving(clone, clean_environment()) as page:
            again = page.seconds
    return Result({"page": first, "again": again, "passed": passed, "failed": failed}, note)
