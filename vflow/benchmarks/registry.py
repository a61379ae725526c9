"""Benchmarks by name, imported at first use."""

from __future__ import annotations

from importlib import import_module

from vflow.benchmarks.base import Benchmark

MODULES = {
    "earth": "earth:BENCHMARK",
    "set5": "enlarging:SET5",
    "set14": "enlarging:SET14",
    "kodak": "kodak:BENCHMARK",
}
"""Name of a benchmark → its module in this folder, and what it is called there."""


def benchmark(name: str) -> Benchmark:
    """The benchmark called ``name``, one of ``MODULES``."""
    module, attribute = MODULES[name].split(":")
    found: Benchmark = getattr(import_module(f"vflow.benchmarks.{module}"), attribute)
    return found
