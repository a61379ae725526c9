"""Optical flow between frames, and frames that go on moving along it."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from vflow.errors import InputError

MIN_SIDE = 16  # OpenCV's optical flow ends the process at some smaller sizes
_one_thread = threading.Lock()


def check_size(frames: np.ndarray, source: str = "frames") -> None:
    """Refuse frames (…, H, W) that are too small to see motion in.

    Raises:
        InputError: naming ``source``.
    """
    height, width = frames.shape[-2:]
    if min(height, width) < MIN_SIDE:
        raise InputError(f"{source}: {width}×{height} pixels; give frames of {MIN_SIDE}×{MIN_SIDE} or more")


def optical_flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Displacement (x, y) of each pixel of ``before`` to its place in ``after``: float32 (H, W, 2), pixels.

    DIS optical flow (Kroeger et al. 2016) of frames uint8 (H, W), by one thread: OpenCV's result depends on
    their number.

    Raises:
        InputError: fewer than 16 pixels a side.
    """
    check_size(before)
    before, after = np.ascontiguousarray(before), np.ascontiguousarray(after)
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    with _one_thread:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            return np.asarray(finder.calc(before, after, np.zeros((*before.shape, 2), np.float32)))
        finally:
            cv2.setNumThreads(threads)


def extrapolate(frames: np.ndarray, num_frames: int) -> np.ndarray:
    """Next ``num_frames`` frames if all goes on as between the last two: float32 (num_frames, H, W, C).

    The last frame is warped again and again along the DIS optical flow from it back to the frame before.

    Args:
        frames: uint8 (T, H, W, C), T ≥ 2, C 1 or 3.

    Raises:
        InputError: fewer than 16 pixels a side.
    """
    source = _source(frames[-2], frames[-1])
    made = [frames[-1].astype(np.float32)]
    for _ in range(num_frames):
        made.append(sampled(made[-1], source, cv2.BORDER_REPLICATE).reshape(made[0].shape))
    return np.stack(made[1:])


def next_frames(before: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Frame after ``last`` if all goes on as from ``before`` to it, sampled bilinearly and bicubically.

    Bilinear samples are nearer to the truth on average, bicubic ones sharper. Frames uint8 (H, W, C), C 1
    or 3, give uint8 (2, H, W, C).

    Raises:
        InputError: fewer than 16 pixels a side.
    """
    source = _source(before, last)
    found = [sampled(last, source, cv2.BORDER_REPLICATE, way) for way in (cv2.INTER_LINEAR, cv2.INTER_CUBIC)]
    return np.stack(found).reshape(len(found), *last.shape)


def sampled(
    field: np.ndarray, position: np.ndarray, beyond: int, interpolation: int = cv2.INTER_LINEAR
) -> np.ndarray:
    """``field`` (H, W, C) at positions (x, y) in pixels, (h, w, 2).

    Args:
        beyond, interpolation: border and interpolation of cv2.
    """
    x, y = (np.ascontiguousarray(position[..., axis], np.float32) for axis in (0, 1))
    return np.asarray(cv2.remap(field, x, y, interpolation, borderMode=beyond))


def _source(before: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Position in ``last`` of what the next frame shows at each pixel, (H, W, 2)."""
    grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) if f.shape[-1] == 3 else f[..., 0] for f in (before, last)]
    height, width = last.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.dstack([columns, rows]) + optical_flow(grey[1], grey[0])
