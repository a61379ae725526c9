"""Numbers as colours, from near-black over violet and orange to pale yellow, and maps laid on frames."""

from __future__ import annotations

import numpy as np

# Anchors of a perceptually even ramp.
_ANCHORS = np.array(
    [
        *((6, 4, 28), (52, 16, 92), (112, 31, 110), (170, 50, 92)),
        *((221, 81, 58), (247, 130, 22), (251, 187, 60), (252, 246, 180)),
    ]
)
CLEAR = 0.3
"""Part of the ramp, from its dark end, over which a veil fades in."""


def heat(values: np.ndarray, top: float) -> np.ndarray:
    """Colours of ``values`` from 0 to ``top``: float (…) → uint8 (…, 3)."""
    ramp = heat_ramp(256)
    return ramp[_steps(values, top)]


def veil(values: np.ndarray, top: float) -> np.ndarray:
    """The same with opacity, clear at 0 so that a frame below shows: float (…) → uint8 (…, 4)."""
    steps = _steps(values, top)
    opacity = np.clip(steps / (255 * CLEAR), 0, 1) * 255
    return np.concatenate([heat_ramp(256)[steps], opacity.astype(np.uint8)[..., None]], -1)


def laid_on(frames: np.ndarray, values: np.ndarray, top: float) -> np.ndarray:
    """Frames in grey below the veil of ``values``: uint8 (T, H, W, C) and float (T, H, W) → (T, H, W, 3)."""
    grey = np.repeat(frames.mean(-1, keepdims=True), 3, -1) * 0.6
    colours = veil(values, top).astype(float)
    opacity = colours[..., 3:] / 255
    return np.round(grey * (1 - opacity) + colours[..., :3] * opacity).astype(np.uint8)


def heat_ramp(steps: int) -> np.ndarray:
    """``steps`` colours of the ramp: uint8 (steps, 3)."""
    at = np.linspace(0, len(_ANCHORS) - 1, steps)
    channels = [np.interp(at, range(len(_ANCHORS)), _ANCHORS[:, c]) for c in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def _steps(values: np.ndarray, top: float) -> np.ndarray:
    return np.clip(np.nan_to_num(values) / max(top, 1e-6) * 255, 0, 255).astype(np.uint8)
