"""Write small clips for trying out fine-tuning: growing shapes, unlike those of the data `shapes`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vflow.data.datasets.shapes import CENTRES, DIRECTIONS, KINDS, MAX_FRAMES, Shape, draw, move
from vflow.data.media import write_npz
from vflow.randomness import generator

COLORS = ((240, 150, 30), (40, 160, 110), (150, 70, 200), (250, 190, 200), (60, 60, 60), (90, 140, 230))
RADII = (3, 4, 5, 6)
T = TypeVar("T")


def pick(random: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(random.integers(len(options)))]


def clip(seed: int, number: int) -> np.ndarray:
    """Clip ``number``, uint8 (5, 64, 64, 3): a shape moves away in one of eight directions and grows."""
    random = generator("example clips", seed, number)
    kind, radius, color = pick(random, KINDS), pick(random, RADII), pick(random, COLORS)
    direction = pick(random, DIRECTIONS)
    shape = Shape(kind, radius, color, pick(random, CENTRES), pick(random, CENTRES))
    return np.stack([draw(move(shape, direction, t)._replace(radius=radius + t)) for t in range(MAX_FRAMES)])


def main() -> None:
    """Write --count clips to --output as NNN.npz, which is lossless (an mp4 would smear colours)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=50, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="I", help="other seeds give other clips")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.count):
        write_npz(arguments.output / f"{number:03d}.npz", frames=clip(arguments.seed, number), fps=10.0)


if __name__ == "__main__":
    main()
