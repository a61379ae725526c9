"""What a set of futures has in common and where it differs: mean and per-pixel diversity."""

from __future__ import annotations

import numpy as np

# Anchors of a perceptually even ramp from near-black over violet and orange to pale yellow.
_ANCHORS = np.array(
    [
        *((6, 4, 28), (52, 16, 92), (112, 31, 110), (170, 50, 92)),
        *((221, 81, 58), (247, 130, 22), (251, 187, 60), (252, 246, 180)),
    ]
)


def mean_frames(futures: np.ndarray) -> np.ndarray:
    """Mean over futures: uint8 (N, T, H, W, C) → uint8 (T, H, W, C)."""
    return np.round(futures.mean(axis=0, dtype=np.float32)).astype(np.uint8)


def diversity(futures: np.ndarray) -> np.ndarray:
    """Standard deviation over futures, root mean square over channels, in grey levels.

    uint8 (N, T, H, W, C) → float32 (T, H, W).
    """
    return np.sqrt(futures.var(axis=0, dtype=np.float32).mean(axis=-1))


def heat(values: np.ndarray, top: float) -> np.ndarray:
    """Colours of ``values`` from 0 to ``top``: float (…) → uint8 (…, 3)."""
    ramp = heat_ramp(256)
    index = np.clip(values / max(top, 1e-6) * 255, 0, 255).astype(np.uint8)
    return ramp[index]


def heat_ramp(steps: int) -> np.ndarray:
    """``steps`` colours of the ramp: uint8 (steps, 3)."""
    at = np.linspace(0, len(_ANCHORS) - 1, steps)
    channels = [np.interp(at, range(len(_ANCHORS)), _ANCHORS[:, c]) for c in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)
