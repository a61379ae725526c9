"""Enlarged photos: luma, gradient-magnitude similarity of it, and bicubic interpolation to compare with."""

from __future__ import annotations

import cv2
import numpy as np

WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
STABILITY = 170.0  # of Xue et al. 2014, grey levels²


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


def _gradient(luma: np.ndarray) -> np.ndarray:
    kernel = np.array([[1, 0, -1]] * 3, np.float32) / 3
    x, y = (cv2.filter2D(luma.astype(np.float32), -1, k) for k in (kernel, kernel.T))
    return np.asarray(np.hypot(x, y))
