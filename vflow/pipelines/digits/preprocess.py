"""Any picture of one digit as MNIST's are: 28×28, light on black, 20 pixels long, centred."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from vflow.data import media
from vflow.errors import InputError
from vflow.pipelines.common import as_array

SIDE, BOX, CENTRE = 28, 20, 14  # MNIST's centres of mass lie within half a pixel of (14, 14)
FULL = 253.0  # grey level of a stroke's inside in MNIST
LARGEST = 1024  # larger pictures are reduced to this first
CONTRAST = 20  # grey levels between paper and ink; less is no ink
VISIBLE = 25  # grey levels of prepared ink that count for its extent
SPECK = 0.02  # parts with less of the ink than this are dust
STROKE = 2.0  # pixels, in the end: thinner pens are broadened to it, or they would fade (MNIST's have 2 to 4)


def prepare_digit(image: Any, source: str = "image") -> np.ndarray:
    """The digit of ``image`` as the model takes it, uint8 (28, 28), light on black.

    The border shows the level of the paper. Whatever is as large as half the picture is paper, which removes
    uneven light; a soft threshold removes noise, and dust is removed by its size. The ink is cropped, scaled
    to 20 pixels along its longer side, and centred by mass. MNIST's own digits come back as they are.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3), uint8 0..255 or floats 0..1, numpy or torch.
        source: name for messages.

    Raises:
        InputError: not a picture, or no ink in it.
    """
    return place_ink(find_ink(image, source))


def find_ink(image: Any, source: str = "image") -> np.ndarray:
    """The ink of ``image``, as ``prepare_digit`` takes it: float32 (H, W), 0..255, sides at most 1024.

    Raises:
        InputError: not a picture, or no ink in it.
    """
    ink = _despeck(_lift(_grey(image, source)))
    if not ink.any():
        raise InputError(f"{source}: no ink in it; draw one digit that stands out from its background")
    return ink


def place_ink(ink: np.ndarray) -> np.ndarray:
    """Ink, float32 (H, W), cropped, scaled and centred as ``prepare_digit`` says: uint8 (28, 28)."""
    rows, columns = _extent(ink)
    long = max(np.ptp(rows), np.ptp(columns)) + 1
    margin = 1 + long // 4  # faint edges belong to the digit too
    cut = ink[max(0, rows[0] - margin) :, max(0, columns[0] - margin) :]
    cut = cut[: np.ptp(rows) + 1 + 2 * margin, : np.ptp(columns) + 1 + 2 * margin]
    return _centre(_scale(_broaden(cut, STROKE * long / BOX), BOX / long))


def _grey(image: Any, source: str) -> np.ndarray:
    """Luma, float32 (H, W), its longer side at most 1024."""
    array = as_array(image, source)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (1, 3)):
        raise InputError(f"{source}: an array of shape {array.shape} is not one image; give H×W or H×W×3")
    frame = media.as_frames(array if array.ndim == 3 else array[..., None], source)[0]
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    factor = LARGEST / max(grey.shape)
    if factor < 1:
        size = [max(1, round(side * factor)) for side in grey.shape[::-1]]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey.astype(np.float32)


def _lift(grey: np.ndarray) -> np.ndarray:
    """Ink as light on black, 0..255: paper and its noise to 0, the strokes' inside to MNIST's 253 or more.

    All 0 where nothing stands out.
    """
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = np.median(border)
    light = grey if grey.max() - paper >= paper - grey.min() else 255 - grey
    reach = max(grey.shape) // 4 + 1
    wider = np.pad(light, reach, mode="edge")  # or a corner that slopes upward would count as ink
    opened = cv2.morphologyEx(wider, cv2.MORPH_OPEN, np.ones((2 * reach + 1,) * 2, np.uint8))
    ink = light - opened[reach:-reach, reach:-reach]
    split, _ = cv2.threshold(np.rint(ink).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    below, above = ink[ink <= split], ink[ink > split]
    noise = np.median(below) + 4.5 * np.median(np.abs(below - np.median(below)))
    strength = np.percentile(above, 95) - noise if above.size else 0.0
    if strength < CONTRAST:
        return np.zeros_like(grey)
    return np.clip((ink - noise) * max(1.0, FULL / strength), 0, 255).astype(np.float32)


def _despeck(ink: np.ndarray) -> np.ndarray:
    """Ink without the parts that hold less than a fiftieth of it; all 0 if nothing visible is left."""
    _, parts = cv2.connectedComponents((ink > 0).astype(np.uint8), connectivity=8)
    mass = np.bincount(parts.ravel(), ink.ravel())
    kept = ink * (mass >= SPECK * mass.sum())[parts]
    return kept if kept.max() > VISIBLE else np.zeros_like(ink)


def _extent(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns in which ink can be seen."""
    rows, columns = (np.flatnonzero((ink > VISIBLE).any(axis)) for axis in (1, 0))
    return rows, columns


def _broaden(ink: np.ndarray, width: float) -> np.ndarray:
    """Strokes at least ``width`` pixels wide."""
    mask = (ink > 127).astype(np.uint8)
    if not mask.any():
        return ink
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)[mask > 0]
    missing = round(width - max(1.0, 4 * float(depth.mean()) - 2))  # of a band, the mean depth is width / 4
    if missing < 1:
        return ink
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (missing + 1,) * 2)
    return cv2.dilate(np.pad(ink, missing), disc)


def _scale(ink: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return ink
    size = [max(1, round(side * factor)) for side in ink.shape[::-1]]
    small = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    return np.clip(small * (FULL / max(float(small.max()), 1.0)), 0, 255)


def _centre(ink: np.ndarray) -> np.ndarray:
    """Ink on 28×28, its centre of mass near (14, 14), or as near as all of it fits."""
    ink = np.pad(ink, SIDE)
    moves = []
    for axis, seen in enumerate(_extent(ink)):
        profile = ink.sum(1 - axis)
        centre = round(float(profile @ np.arange(len(profile)) / profile.sum()))
        moves.append(min(max(centre - CENTRE, seen[-1] - SIDE + 1), seen[0]))
    top, left = moves
    return np.rint(ink[top : top + SIDE, left : left + SIDE]).astype(np.uint8)
