"""An independent judge of ``shapes`` futures: connected components, and no knowledge of any model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from vflow.data.datasets.shapes import BACKGROUND, COLORS, DIRECTIONS, STEP

PALETTE = np.array([(BACKGROUND,) * 3, *COLORS])
MIN_OVERLAP, MAX_GROWTH, TOLERANCE = 0.85, 0.15, 1


class Verdict(NamedTuple):
    """Verdict on a future: plausible or the first reason why not, and the direction it took, if any."""

    accepted: bool
    reason: str
    direction: tuple[int, int] | None


class Blob(NamedTuple):
    """The pixels of the one shape in a frame."""

    mask: np.ndarray  # bool (H, W)
    color: int  # index into PALETTE
    x: float  # centre of mass, pixels
    y: float


def judge(context: np.ndarray, future: np.ndarray) -> Verdict:
    """Judge one future, uint8 (T, H, W, 3), of the given frames (n, H, W, 3).

    Accepted if each frame has one shape of the given colour, of the form of the last given frame (overlap
    ≥ 0.85 after moving back, area ± 15%), moving 4 ± 1 px in one of eight directions, the same each time.
    """
    before = find(context[-1])
    if before is None:
        raise ValueError("the context's last frame does not show exactly one shape")
    first, direction = before, None
    for frame in future:
        blob = find(frame)
        if blob is None:
            return Verdict(False, "not one shape", direction)
        if blob.color != first.color:
            return Verdict(False, "colour", direction)
        if abs(blob.mask.sum() / first.mask.sum() - 1) > MAX_GROWTH:
            return Verdict(False, "area", direction)
        step = heading(blob.x - before.x, blob.y - before.y)
        if step is None or direction not in (None, step):
            return Verdict(False, "movement", direction)
        if overlap(first, blob) < MIN_OVERLAP:
            return Verdict(False, "form", step)
        before, direction = blob, step
    return Verdict(True, "", direction)


def find(frame: np.ndarray) -> Blob | None:
    """The one connected shape of one colour in a frame uint8 (H, W, 3), by nearest palette colour; else None.

    Specks beside it are forgiven up to 5% of its area in sum, and other colours within it up to 10%.
    """
    distance = np.abs(frame[..., None, :].astype(int) - PALETTE).sum(-1)
    nearest = distance.argmin(-1)
    foreground = (nearest > 0).astype(np.uint8)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(foreground, connectivity=8)
    if count < 2:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    mask = labels == largest
    if foreground.sum() > 1.05 * mask.sum():
        return None
    colors = Counter(nearest[mask].tolist())
    color, pixels = colors.most_common(1)[0]
    if pixels < 0.9 * mask.sum():
        return None
    return Blob(mask, color, float(centres[largest][0]), float(centres[largest][1]))


def heading(dx: float, dy: float) -> tuple[int, int] | None:
    """The direction of a movement of 4 ± 1 px along its axes, ± 1 px across; None if none of the eight."""
    for direction in DIRECTIONS:
        if max(abs(dx - STEP * direction[0]), abs(dy - STEP * direction[1])) <= TOLERANCE:
            return direction
    return None


def overlap(first: Blob, later: Blob) -> float:
    """Intersection over union of two masks after moving ``later`` back by whole pixels onto ``first``."""
    dx, dy = round(first.x - later.x), round(first.y - later.y)
    moved = np.roll(later.mask, (dy, dx), (0, 1))
    return float((moved & first.mask).sum() / (moved | first.mask).sum())


def entropy(directions: Iterable[tuple[int, int] | None]) -> float:
    """Entropy in bits of the directions that futures of one context take; those with none are left out.

    Of the counts as they are: 64 futures drawn evenly among eight directions have 2.92 bits on average, not
    3; 20 have 2.72, and 8 have 2.26.
    """
    counts = Counter(d for d in directions if d is not None)
    n = sum(counts.values())
    return -sum(c / n * math.log2(c / n) for c in counts.values()) if n else 0.0
