"""Commands on a busy machine."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
