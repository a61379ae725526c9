"""What a set of futures has in common and where it differs: mean and per-pixel diversity."""

from __future__ import annotations

import numpy as np


def mean_frames(futures: np.ndarray) -> np.ndarray:
    """Mean over futures: uint8 (N, T, H, W, C) → uint8 (T, H, W, C)."""
    return np.round(futures.mean(axis=0, dtype=np.float32)).astype(np.uint8)


def diversity(futures: np.ndarray) -> np.ndarray:
    """Standard deviation over futures, root mean square over channels, in grey levels.

    uint8 (N, T, H, W, C) → float32 (T, H, W).
    """
    return np.sqrt(futures.var(axis=0, dtype=np.float32).mean(axis=-1))
