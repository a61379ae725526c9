"""Benchmarks by name, imported at first use."""

from __future__ import annotations

from importlib import import_module

from vflow.benchmarks.base import Benchmark

MODULES = {"earth": "earth"}
"""Name of a benchmark → its module in this folder."""


def benchmark(name: str) -> Benchmark:
    """The benchmark called ``name``, one of ``MODULES``."""
    found: Benchmark = import_module(f"vflow.benchmarks.{MODULES[name]}").BENCHMARK
    return found
