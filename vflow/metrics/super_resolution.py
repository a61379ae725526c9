"""Enlarged photos: luma, its gradient-magnitude similarity, bicubic interpolation, and intervals a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import cv2
import numpy as np

WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
STABILITY = 170.0  # of Xue et al. 2014, grey levels²
INSIDE = 0.9  # share of pixels that lie in an interval
WINDOW = 3  # side of the neighbourhood that deviations are taken over
LEAST = 0.1  # deviation of variants that agree, grey levels


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


def deviation(luma: np.ndarray) -> np.ndarray:
    """Standard deviation of variants (N, H, W) around each pixel, float32 (H, W), grey levels."""
    variance = cv2.blur(luma.var(0, ddof=1), (WINDOW, WINDOW))
    return np.asarray(np.sqrt(variance.clip(0) + LEAST**2))


class Spread(NamedTuple):
    """Deviation of variants, error of their mean, and where the truth is steepest, each (pixels,)."""

    deviation: np.ndarray
    error: np.ndarray
    steep: np.ndarray

    @classmethod
    def of(cls, luma: np.ndarray, target: np.ndarray, border: int = 0) -> Self:
        """Of variants (N, H, W) whose truth is ``target`` (H, W), less a border."""
        parts = deviation(luma), np.abs(target - luma.mean(0)), steepest(target)
        return cls(
            *(part[border : len(part) - border, border : part.shape[1] - border].ravel() for part in parts)
        )

    @classmethod
    def joined(cls, pictures: Sequence[Spread]) -> Self:
        """Of all pixels of ``pictures``."""
        return cls(*(np.concatenate(part) for part in zip(*pictures, strict=True)))

    def reach(self) -> float:
        """r whose intervals m ± r s hold ``INSIDE`` of the pixels."""
        return float(np.quantile(self.error / self.deviation, INSIDE))

    def figures(self, reach: float) -> dict[str, float]:
        """Shares of pixels inside m ± r s, of all and of the steepest, and the mean width over that of the
        constant interval that holds as many."""
        half = reach * self.deviation
        inside = self.error <= half
        constant = max(float(np.quantile(self.error, inside.mean())), LEAST)
        return {
            "interval_inside": float(inside.mean()),
            "interval_inside_steep": float(inside[self.steep].mean()),
            "interval_width_ratio": float(half.mean()) / constant,
        }


def steepest(luma: np.ndarray) -> np.ndarray:
    """Quarter of the pixels of (H, W) with the largest gradients, bool (H, W)."""
    slope = _gradient(luma)
    return np.asarray(slope >= np.quantile(slope, 0.75))


def _gradient(luma: np.ndarray) -> np.ndarray:
    kernel = np.array([[1, 0, -1]] * 3, np.float32) / 3
    x, y = (cv2.filter2D(luma.astype(np.float32), -1, k) for k in (kernel, kernel.T))
    return np.asarray(np.hypot(x, y))
