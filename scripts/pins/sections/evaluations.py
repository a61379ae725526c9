"""``vflow evaluate --json`` on tiny data, of a shipped checkpoint of each family; others: training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scripts.pins.made import made
from scripts.pins.place import Place
from scripts.pins.shown import figures
from scripts.pins.vflow_command import vflow

EVALUATED = {
    "push": ("clips", "--limit 1 --num-samples 2 --num-frames 2 --context 3"),
    "digits": ("mnist", "--limit 10 --num-samples 1"),
    "colorizer": ("photos", "--limit 2 --num-samples 2"),
    "enlarge": ("photos", "--limit 1 --num-samples 2"),
    "rain": ("radar", "--num-samples 2 --num-frames 1"),
    "codec-photo": ("photos", "--limit 1"),
    "codec-clip": ("clips", "--limit 1"),
}
"""Checkpoint → made data, and flags."""


def pins(place: Place) -> Iterator[tuple[str, Any]]:
    """``<checkpoint>/<figure>``, and the protocol."""
    for name, (data, flags) in EVALUATED.items():
        line = f"evaluate --checkpoint {name} --data {made(data)} {flags} --seed 1 --json"
        yield from figures(name, vflow(f"{line} --num-importance-samples 2"))
