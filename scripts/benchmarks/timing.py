"""Timing of alternatives that take turns on one machine, so that conditions are the same; medians of each."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Literal

import torch

Step = Callable[[], object]
Clock = Literal["wall", "cpu"]
WARM_UP = 2


def processor_seconds() -> float:
    """Of this process and its finished children, over all threads."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def alternate(sides: Mapping[str, Step], repeats: int, clock: Clock = "wall") -> dict[str, float]:
    """Median seconds of each alternative over ``repeats`` turns, after ``WARM_UP`` turns that do not count.

    ``clock`` ``cpu`` counts processor time over all threads; with one thread it equals wall-clock time on an
    otherwise idle machine.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(WARM_UP + repeats):
        for name, step in sides.items():
            seconds = timed(step, clock)
            if turn >= WARM_UP:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def timed(step: Step, clock: Clock = "wall") -> float:
    """Seconds of one call, including the device's work."""
    read = time.perf_counter if clock == "wall" else processor_seconds
    synchronize()
    start = read()
    step()
    synchronize()
    return read() - start


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
