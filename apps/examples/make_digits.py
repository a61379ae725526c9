"""Draws the `digit-*` examples: numerals with a pen on paper, of three hands, neither centred nor to size.

Run from the repository: python -m apps.examples.make_digits
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from vflow.data import media

FOLDER = Path(__file__).resolve().parent
SIDE = 160
PAPER, INK = 240.0, 38.0
Points = list[tuple[float, float]]

# Strokes as points (x, y) in a unit square; a curve goes through them. Each with the pen's width and a lean.
HANDS: dict[str, tuple[list[Points], float, float]] = {
    "two": (
        [[(0.2, 0.3), (0.32, 0.12), (0.62, 0.14), (0.72, 0.36), (0.5, 0.62), (0.22, 0.86)],
         [(0.22, 0.86), (0.5, 0.82), (0.82, 0.86)]],
        4.0, 0.0,
    ),
    "four": (
        [[(0.62, 0.08), (0.4, 0.34), (0.14, 0.6), (0.5, 0.6), (0.9, 0.58)],
         [(0.64, 0.36), (0.62, 0.94)]],
        7.5, 0.1,
    ),
    "seven": (
        [[(0.16, 0.16), (0.48, 0.18), (0.82, 0.12)],
         [(0.82, 0.12), (0.6, 0.46), (0.42, 0.92)],
         [(0.34, 0.52), (0.7, 0.48)]],
        5.0, 0.18,
    ),
}  # fmt: skip


def curve(points: Points, steps: int = 24) -> np.ndarray:
    """A Catmull-Rom curve through ``points``: (M, 2)."""
    p = np.array([points[0], *points, points[-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return np.concatenate([*pieces, p[-1:]])


def drawn(strokes: list[Points], width: float, lean: float) -> np.ndarray:
    """A numeral on paper: uint8 (160, 160, 1)."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    cover = np.zeros((SIDE, SIDE))
    for stroke in strokes:
        at = curve(stroke)
        at[:, 0] += lean * (0.5 - at[:, 1])
        at = 30 + at * (76, 96)
        for cx, cy in np.concatenate([np.linspace(a, b, 6) for a, b in pairwise(at)]):
            cover = np.maximum(cover, np.clip(width + 0.5 - np.hypot(x - cx, y - cy), 0, 1))
    grain = np.random.default_rng(0).normal(0, 3, (SIDE, SIDE))
    shade = PAPER - 14 * (x + y) / (2 * SIDE) + grain
    return np.clip(shade + (INK - shade) * cover, 0, 255).round().astype(np.uint8)[..., None]


if __name__ == "__main__":
    for name, hand in HANDS.items():
        media.write_png(FOLDER / f"digit-{name}.png", drawn(*hand))
