"""Likeness of a picture to a handwritten digit, by the directions of its strokes.

A density is of no use here: a photographed digit has other noise and another pen than the training digits,
and so few nats, however well it is read. Directions of strokes on a coarse grid keep what makes a digit.
Their distance from a subspace of each class, and the share of ink that is neither paper nor stroke, tell.
``scripts/fit_handwriting.py`` measures the subspaces and the limits, and how well they separate.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from vflow.data import media
from vflow.pipelines.digits.preprocess import SIDE, find_ink, place_ink

TABLE = Path(__file__).with_suffix(".npz")
DIRECTIONS = 8  # over half a turn, as both edges of a stroke have one
CELL = 4  # pixels
GREY_SIDE = 64  # pixels of the picture whose greyness counts


class Handwriting(NamedTuple):
    """Subspaces of the ten classes among maps of D stroke directions, and limits.

    Attributes:
        means: (10, D). axes: orthonormal, (10, K, D). spreads: root mean square distance of a class's digits
            from its subspace, (10,). limits: of the distance and of the greyness, (2,).
    """

    means: np.ndarray
    axes: np.ndarray
    spreads: np.ndarray
    limits: np.ndarray

    def distances(self, maps: np.ndarray) -> np.ndarray:
        """Distances of maps (N, D) from the nearest subspace, in units of its spread: (N,)."""
        centred = maps[:, None] - self.means
        inside = np.einsum("ncd,ckd->nck", centred, self.axes)
        beside = np.maximum((centred**2).sum(-1) - (inside**2).sum(-1), 0)
        return (np.sqrt(beside) / self.spreads).min(1)


@lru_cache(maxsize=1)
def handwriting() -> Handwriting:
    """Handwriting as it ships, float32."""
    with np.load(TABLE) as saved:
        return Handwriting(*(saved[part].astype(np.float32) for part in Handwriting._fields))


def unlikeness(image: Any, source: str = "image") -> float:
    """Unlikeness of a picture to a handwritten digit, in units of its limits: over 1 is no digit.

    Args:
        image, source: as ``prepare_digit`` takes them.

    Raises:
        InputError: not a picture, or no ink in it.
    """
    return float((deviations(handwriting(), [find_ink(image, source)]) / handwriting().limits).max())


def deviations(table: Handwriting, inks: list[np.ndarray]) -> np.ndarray:
    """Distance and greyness of N inks, float32 (H, W) each as ``find_ink`` finds them: (N, 2)."""
    maps = np.stack([directions(place_ink(ink)) for ink in inks])
    return np.stack([table.distances(maps), [greyness(ink) for ink in inks]], axis=1)


def directions(image: np.ndarray) -> np.ndarray:
    """Directions of strokes of a prepared digit, uint8 (28, 28), on 7×7 cells: float32 (D,), norm 1."""
    down, across = np.gradient(cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1))
    turn = np.arctan2(down, across) % np.pi * (DIRECTIONS / np.pi)
    lower, share = turn.astype(int) % DIRECTIONS, turn % 1
    planes = np.zeros((SIDE, SIDE, DIRECTIONS), np.float32)
    rows, columns = np.indices((SIDE, SIDE))
    length = np.hypot(down, across)
    planes[rows, columns, lower] = length * (1 - share)
    planes[rows, columns, (lower + 1) % DIRECTIONS] += length * share
    soft = cv2.GaussianBlur(planes, (0, 0), 0.3 * CELL)
    cells = np.sqrt(soft.reshape(SIDE // CELL, CELL, SIDE // CELL, CELL, DIRECTIONS).mean((1, 3))).ravel()
    return cells / np.linalg.norm(cells)


def greyness(ink: np.ndarray) -> float:
    """Share of the variance of ink, float32 (H, W), 0..1, that is not between strokes and paper (Otsu's)."""
    grey = media.resize(ink.astype(np.uint8)[None, ..., None], GREY_SIDE, GREY_SIDE, 1)[0, ..., 0]
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    values, stroke = grey.astype(np.float64), grey > threshold
    if stroke.all() or not stroke.any():
        return 1.0
    share = stroke.mean()
    between = share * (1 - share) * (values[stroke].mean() - values[~stroke].mean()) ** 2
    return float(1 - between / values.var())
