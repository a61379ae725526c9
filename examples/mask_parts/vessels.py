"""Simulated vessels: binary masks of branching curves, and the noisy pictures they are seen in."""

from __future__ import annotations

import math
from typing import final

import cv2
import numpy as np

from vflow.data.datasets.splits import Split
from vflow.data.datasets.types import ImageExample
from vflow.randomness import generator

COUNTS: dict[Split, int] = {"train": 20_000, "validation": 500, "test": 500}
FINE = 4  # pixels of the drawing to one of the mask, a side
ROOTS, STEP, THINNEST = 2, 2.0, 0.8  # vessels that enter; pixels of a segment; width where one ends, pixels
WIDTHS, TAPER, TURN = (1.8, 3.2), 0.985, 0.16  # width at the root, per segment; radians of a segment's turn
BRANCHING, BRANCH_ANGLES = 0.05, (0.4, 1.0)  # chance a segment; radians
MOST_SEGMENTS = 400
BRIGHTNESS, CONTRASTS, SHADING, NOISE = 0.65, (0.25, 0.45), 0.08, 0.14  # of pictures in 0..1
BLUR = 0.8  # deviation, in pixels


def draw_mask(random: np.random.Generator, size: int) -> np.ndarray:
    """Vessels from the edges inward, float32 (size, size): the share of each pixel that they cover."""
    canvas = np.zeros((FINE * size, FINE * size), np.uint8)
    growing = []
    for _ in range(ROOTS):
        side, place = random.uniform(0, 2 * math.pi), random.uniform(-0.3, 0.3)
        inward = np.array([math.cos(side), math.sin(side)])
        point = size * (0.5 - 0.5 * inward / abs(inward).max() + place * inward[::-1] * [-1, 1])
        growing.append((point.clip(0, size), side, random.uniform(*WIDTHS)))
    for _ in range(MOST_SEGMENTS):
        if not growing:
            break
        point, angle, width = growing.pop()
        end = point + STEP * np.array([math.cos(angle), math.sin(angle)])
        start, stop = ([int(v) for v in FINE * p] for p in (point, end))
        cv2.line(canvas, start, stop, 255, max(1, round(FINE * width)), cv2.LINE_AA)
        width *= TAPER
        if width < THINNEST or not (end.min() > -2 and end.max() < size + 2):
            continue
        if random.random() < BRANCHING:
            turn = random.uniform(*BRANCH_ANGLES) * random.choice([-1, 1])
            growing.append((end, angle + turn, 0.75 * width))
        growing.append((end, angle + random.normal(0, TURN), width))
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def draw_picture(random: np.random.Generator, cover: np.ndarray) -> np.ndarray:
    """Noisy picture, uint8, of vessels that cover ``cover`` of its pixels: darker than the tissue."""
    size = cover.shape[::-1]
    shading = cv2.resize(
        random.normal(0, SHADING, (4, 4)).astype(np.float32), size, None, 0, 0, cv2.INTER_CUBIC
    )
    dark = random.uniform(*CONTRASTS) * cv2.GaussianBlur(cover, (0, 0), BLUR)
    picture = BRIGHTNESS + shading - dark + random.normal(0, NOISE, cover.shape)
    return np.rint(255 * picture.clip(0, 1)).astype(np.uint8)


@final
class Vessels:
    """Masks 0 or 255, uint8 (size, size, 1), given pictures uint8 (1, size, size), generated on the fly.

    Splits have vessels of their own; the noise of a picture depends on ``key`` too.
    """

    def __init__(self, size: int, split: Split = "train") -> None:
        self.size, self.split = size, split

    def __len__(self) -> int:
        return COUNTS[self.split]

    def example(self, index: int, key: tuple[int, ...] = (0, 0)) -> ImageExample:
        cover = draw_mask(generator("vessels", self.split, index), self.size)
        picture = draw_picture(generator("vessels-picture", self.split, index, *key), cover)
        mask = np.where(cover >= 0.5, 255, 0).astype(np.uint8)
        return ImageExample(mask[..., None], picture[None])
