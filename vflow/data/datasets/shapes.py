"""Stochastic movement: one shape near the centre leaves in one of eight directions."""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import product
from typing import NamedTuple, final

import numpy as np

from vflow.data.datasets.splits import Split
from vflow.errors import ConfigError
from vflow.randomness import generator

SIZE, BACKGROUND, STEP, MAX_FRAMES = 64, 127, 4, 5
KINDS = ("circle", "square", "triangle")
RADII = range(5, 10)
COLORS = tuple((r, g, b) for r, g, b in product((0, 255), repeat=3) if 0 < r + g + b < 3 * 255)
CENTRES = range(SIZE // 2 - 6, SIZE // 2 + 7)
DIRECTIONS = tuple((dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy)


class Shape(NamedTuple):
    """Shape of one clip, before it moves."""

    kind: str
    radius: int
    color: tuple[int, int, int]
    cx: int
    cy: int


@final
class Shapes:
    """Clips of a shape and all its directions, generated on the fly: 64×64 RGB, 4 px per frame and axis.

    Index i names shape i // 8 and direction i % 8. A tenth of all shapes (kind, radius, color, centre) is
    held out by hash; validation and test are the two halves of it. After Babaeizadeh et al. 2018.
    """

    def __init__(self, frames: int = MAX_FRAMES, split: Split = "train") -> None:
        if not 1 <= frames <= MAX_FRAMES:
            raise ConfigError(f"data shapes: clips have {MAX_FRAMES} frames; set data.frames to at most that")
        self.frames = frames
        self.shapes = all_shapes()[split]

    def __len__(self) -> int:
        return len(self.shapes) * len(DIRECTIONS)

    def example(self, index: int, key: tuple[int, ...] = ()) -> np.ndarray:
        """Clip ``index``: uint8 (T, 64, 64, 3); ``key`` picks where a shorter clip starts."""
        shape, direction = self.shapes[index // len(DIRECTIONS)], DIRECTIONS[index % len(DIRECTIONS)]
        spare = MAX_FRAMES - self.frames
        start = int(generator("shapes", *key, index).integers(spare + 1)) if spare else 0
        return np.stack([draw(move(shape, direction, start + t)) for t in range(self.frames)])


@cache
def all_shapes() -> dict[str, list[Shape]]:
    """Every shape by split."""
    splits: dict[str, list[Shape]] = {"train": [], "validation": [], "test": []}
    for kind, radius, color, cx, cy in product(KINDS, RADII, COLORS, CENTRES, CENTRES):
        digest = hashlib.sha256(repr((kind, radius, color, cx, cy)).encode()).digest()
        bucket = int.from_bytes(digest[:4], "big") % 20
        split = {0: "validation", 1: "test"}.get(bucket, "train")
        splits[split].append(Shape(kind, radius, color, cx, cy))
    return splits


def move(shape: Shape, direction: tuple[int, int], frames: int) -> Shape:
    """The shape after so many frames of movement (dx, dy)."""
    dx, dy = direction
    return shape._replace(cx=shape.cx + STEP * frames * dx, cy=shape.cy + STEP * frames * dy)


def draw(shape: Shape) -> np.ndarray:
    """One frame, uint8 (64, 64, 3)."""
    v, u = np.mgrid[:SIZE, :SIZE] - np.array([shape.cy, shape.cx])[:, None, None]
    r = shape.radius
    inside = {
        "circle": u**2 + v**2 <= r**2,
        "square": (abs(u) <= r) & (abs(v) <= r),
        "triangle": (abs(v) <= r) & (2 * abs(u) <= v + r),
    }[shape.kind]
    return np.where(inside[..., None], np.array(shape.color), BACKGROUND).astype(np.uint8)
