"""Motion of rain, and radar frames moved to where the rain will be.

Frames ahead lie in a *window* that drifts with the rain: in the frame k steps ahead its pixel (row, column)
is ``origin + offsets[k − 1] + (row, column)`` of the given frames. So what moves with the mean motion stays
at its pixel in all frames ahead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Self

import cv2
import numpy as np

from vflow.optical_flow import optical_flow, sampled

SHRINK = 4  # motion is kept at a quarter of the frames' resolution
SMOOTHING = 3.0  # standard deviation of the Gaussian that motion is averaged over, in pixels of that
STEEP = 60.0  # a steeper gradient of grey levels counts no more than this
PRIOR = 0.02  # weight of the mean motion, as a share of the mean evidence
COARSE = 2  # trajectories are followed on every second pixel of a window


def liveliest(frames: np.ndarray, given: int, ahead: int) -> int:
    """First of ``given`` frames (of uint8 (T, H, W, C)) in which, and in ``ahead`` more, most changes."""
    changes = np.array([cv2.absdiff(*pair).mean() for pair in pairwise(np.ascontiguousarray(frames))])
    span = min(given - 1 + ahead, len(changes))
    if not span:
        return 0
    return int(np.convolve(changes, np.ones(span), "valid").argmax())


class PairMotion(NamedTuple):
    """Evidence for motion between two frames (H, W): what several pairs say adds up.

    weighted: float32 (2, H/4, W/4), displacement (x, y) in pixels times ``weight``, both smoothed.
    weight: float32 (H/4, W/4).
    total: float64 (3,), sums over the frame before smoothing: weighted x, weighted y, weight.
    """

    weighted: np.ndarray
    weight: np.ndarray
    total: np.ndarray

    @classmethod
    def between(cls, before: np.ndarray, after: np.ndarray) -> Self:
        """Optical flow of two frames uint8 (H, W), where rain has a gradient."""
        flow = optical_flow(before, after)
        slope = np.hypot(cv2.Sobel(before, cv2.CV_32F, 1, 0), cv2.Sobel(before, cv2.CV_32F, 0, 1))
        weight = np.minimum(slope, STEEP) * ((before > 0) | (after > 0))
        evidence = np.dstack([flow * weight[..., None], weight])
        height, width = (math.ceil(side / SHRINK) for side in before.shape)
        small = cv2.resize(evidence, (width, height), interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(small, (0, 0), SMOOTHING, borderType=cv2.BORDER_CONSTANT).transpose(2, 0, 1)
        return cls(smooth[:2], smooth[2], small.sum((0, 1), dtype=np.float64))


def combine(pairs: Sequence[PairMotion]) -> np.ndarray:
    """Displacement (x, y) in pixels per frame, float32 (2, H/4, W/4): the weighted mean of the pairs' motion.

    Far from any rain it is the mean motion of all of it; zero where there is no rain at all.
    """
    weight = np.sum([pair.weight for pair in pairs], axis=0)
    x, y, evidence = np.sum([pair.total for pair in pairs], axis=0)
    mean = np.array([x, y], np.float32)[:, None, None] / max(float(evidence), 1e-6)
    prior = PRIOR * float(weight.mean()) + 1e-6
    weighted = np.sum([pair.weighted for pair in pairs], axis=0)
    motion: np.ndarray = ((weighted + prior * mean) / (weight + prior)).astype(np.float32)
    return motion


def estimate_motion(frames: np.ndarray) -> np.ndarray:
    """Displacement (x, y) in pixels per frame, float32 (2, H/4, W/4), from frames uint8 (T, H, W), T ≥ 2."""
    return combine([PairMotion.between(before, after) for before, after in pairwise(frames)])


def drift_offsets(motion: np.ndarray, frame: np.ndarray, leads: int) -> np.ndarray:
    """Mean motion of the rain in ``frame`` uint8, on the grid of ``motion`` or on that of the frames.

    Returns (row, column) in whole pixels after 1 … ``leads`` frames, int64 (leads, 2).
    """
    weight = cv2.resize(frame, motion.shape[:0:-1], interpolation=cv2.INTER_AREA).astype(np.float64) + 1e-3
    x, y = (motion * weight).sum((1, 2)) / weight.sum()
    return np.rint(np.arange(1, leads + 1)[:, None] * np.array([y, x])).astype(np.int64)


class Advected(NamedTuple):
    """Given frames where motion carries them by the time of each frame ahead.

    level: float32 (T, n, h, w), grey levels, by lead and age (0: the newest frame); 0 where unknown.
    known: float32 (T, h, w), 1 where the newest frame says something.
    rain: float32 (T, h, w), the share of rain among the pixels of the newest frame that were averaged.
    motion: float32 (2, h, w), (x, y) in pixels per frame at the first lead.
    """

    level: np.ndarray
    known: np.ndarray
    rain: np.ndarray
    motion: np.ndarray


def advect(
    frames: np.ndarray,
    known: np.ndarray,
    motion: np.ndarray,
    corner: Sequence[int],
    origin: Sequence[int],
    offsets: np.ndarray,
    size: tuple[int, int],
) -> Advected:
    """Semi-Lagrangian extrapolation (Germann & Zawadzki 2002) into a window.

    Trajectories go back from each pixel of the window, one frame at a time, at the motion of where they are.

    Args:
        frames: uint8 (n, H, W), newest last; ``known``: bool (H, W), where they are.
        motion: (x, y) in pixels per frame, (2, h_m, w_m), a quarter as fine; its edge counts beyond it, too.
        corner: (row, column) of ``frames`` on the grid of ``motion``, in pixels of the frames.
        origin, offsets: of the window, as the module says.
        size: (h, w) of the window, multiples of ``COARSE``.
    """
    field = np.ascontiguousarray(motion.transpose(1, 2, 0))
    mask = known.astype(np.float32)
    layers = [np.dstack([frame * mask, mask, (frame > 0) * mask]) for frame in frames[::-1]]
    height, width = size
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    grid = np.dstack(np.meshgrid(columns + origin[1], rows + origin[0]))
    levels, masks, wet = [], [], []
    local = np.zeros((height // COARSE, width // COARSE, 2), np.float32)
    for lead, (down, right) in enumerate(offsets, start=1):
        position = grid + np.array([right, down], np.float32)
        coarse = cv2.resize(position, (width // COARSE, height // COARSE), interpolation=cv2.INTER_AREA)
        shift = np.array([corner[1], corner[0]], np.float32)
        back = np.zeros_like(coarse)
        for step in range(1, lead + len(frames)):
            here = (coarse - back + shift + 0.5) / SHRINK - 0.5
            speed = sampled(field, here, cv2.BORDER_REPLICATE)
            if lead == step == 1:
                local = speed
            back = back + speed
            if step >= lead:
                source = position - cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR)
                found = sampled(layers[step - lead], source, cv2.BORDER_CONSTANT)
                share = np.maximum(found[..., 1], 0.5)
                there = found[..., 1] > 0.5
                levels.append(found[..., 0] / share * there)
                if step == lead:
                    masks.append(there.astype(np.float32))
                    wet.append(found[..., 2] / share * there)
    whole = cv2.resize(local, (width, height), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
    shape = (len(offsets), len(frames), height, width)
    return Advected(np.stack(levels).reshape(shape), np.stack(masks), np.stack(wet), whole)
