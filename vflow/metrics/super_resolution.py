"""Enlarged photos: luma, its gradient-magnitude similarity, bicubic interpolation, and intervals a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import cv2
import numpy as np

WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
STABILITY = 170.0  # of Xue et al. 2014, grey levels²
INSIDE = 0.9  # share of pixels that lie in an interval
WINDOW = 5  # side of the neighbourhood that deviations are taken over
FLOORS = np.linspace(0, 12, 49)  # grey levels


def luminance(images: np.ndarray) -> np.ndarray:
    """Luma of RGB (…, 3), float32 (…), in grey levels."""
    weighted: np.ndarray = images.astype(np.float32) @ WEIGHTS
    return weighted


def bicubic(photo: np.ndarray, scale: int) -> np.ndarray:
    """Photo uint8 (H, W, 3) enlarged by bicubic interpolation, float32 (s·H, s·W, 3) in 0..255."""
    size = scale * photo.shape[1], scale * photo.shape[0]
    enlarged = cv2.resize(photo.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return np.clip(enlarged, 0, 255)


def gradient_similarity(luma: np.ndarray, target: np.ndarray) -> float:
    """Mean gradient-magnitude similarity of luma (H, W) and ``target``, in (0, 1], 1 for equal pictures.

    Mean of (2 m n + c) / (m² + n² + c) over pixels, m and n the magnitudes of Prewitt gradients (Xue et al.
    2014, *Gradient Magnitude Similarity Deviation*), at full size: halving first, as there, would leave out
    what was drawn. Blur has gradients that are too small wherever there are edges or texture, so it loses.
    """
    m, n = (_gradient(x) for x in (luma, target))
    return float(((2 * m * n + STABILITY) / (m * m + n * n + STABILITY)).mean())


def interval(luma: np.ndarray, reach: float, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the interval a pixel of variants (N, H, W), m ± r √(s² + f²), each float32 (H, W).

    Args:
        luma: variants, whose mean is m; s² is their variance, averaged over ``WINDOW``×``WINDOW`` pixels.
        reach: r.
        floor: f, grey levels.
    """
    mean, half = luma.mean(0), reach * np.sqrt(_local_variance(luma) + floor**2)
    return mean - half, mean + half


class Errors(NamedTuple):
    """Local variance of variants, error of their mean, and where the truth is steepest, each (pixels,)."""

    variance: np.ndarray
    error: np.ndarray
    steep: np.ndarray

    @classmethod
    def of(cls, luma: np.ndarray, target: np.ndarray) -> Self:
        """Errors of variants (N, H, W) whose truth is ``target`` (H, W)."""
        parts = _local_variance(luma), np.abs(target - luma.mean(0)), steepest(target)
        return cls(*(part.ravel() for part in parts))


def fit_interval(pictures: Sequence[Errors]) -> tuple[float, float]:
    """Reach and floor whose intervals hold ``INSIDE`` of all pixels, and nearly as many of the steepest."""
    variance, error, steep = (np.concatenate(part) for part in zip(*pictures, strict=True))

    def reach(floor: float) -> float:
        return float(np.quantile(error / np.sqrt(variance + floor**2 + 1e-6), INSIDE))

    def missed(floor: float) -> float:
        half = reach(floor) * np.sqrt(variance[steep] + floor**2 + 1e-6)
        return abs(float((error[steep] <= half).mean()) - INSIDE)

    floor = float(min(FLOORS, key=missed))
    return reach(floor), floor


def interval_figures(low: np.ndarray, high: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Figures of intervals, beside the constant one about their middles that holds as many pixels.

    Returns:
        Shares of the pixels of luma ``target`` (H, W) inside, of all and of the steepest, and mean width over
        the constant one's.
    """
    inside = (low <= target) & (target <= high)
    constant = 2 * np.quantile(np.abs(target - (low + high) / 2), inside.mean())
    return {
        "interval_inside": float(inside.mean()),
        "interval_inside_steep": float(inside[steepest(target)].mean()),
        "interval_width_ratio": float((high - low).mean() / max(constant, 1e-6)),
    }


def steepest(luma: np.ndarray) -> np.ndarray:
    """Quarter of the pixels of (H, W) with the largest gradients, bool (H, W)."""
    slope = _gradient(luma)
    return np.asarray(slope >= np.quantile(slope, 0.75))


def _local_variance(luma: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.blur(luma.var(0, ddof=1), (WINDOW, WINDOW)))


def _gradient(luma: np.ndarray) -> np.ndarray:
    kernel = np.array([[1, 0, -1]] * 3, np.float32) / 3
    x, y = (cv2.filter2D(luma.astype(np.float32), -1, k) for k in (kernel, kernel.T))
    return np.asarray(np.hypot(x, y))
