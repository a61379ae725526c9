"""Pictures of progress: laying out samples and writing them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

GAP = 2  # grey pixels between pictures
GREY = 127


@dataclass(frozen=True)
class Samples:
    """A picture of samples, uint8 (H, W, C), and perhaps the same playing; faults before rounding.

    animation: uint8 (T, H, W, C), shown at ``fps``; None for stills.
    """

    picture: np.ndarray
    nonfinite: int
    out_of_range: int
    animation: np.ndarray | None = None
    fps: float = 1.0


def grid(rows: np.ndarray) -> np.ndarray:
    """Rows of pictures (R, T, H, W, C) as one: (R·H + gaps, T·W + gaps, C)."""
    padded = np.pad(rows, ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=GREY)
    r, t, h, w, c = padded.shape
    return padded.transpose(0, 2, 1, 3, 4).reshape(r * h, t * w, c)[:-GAP, :-GAP]


def write_samples(folder: Path, step: int, samples: Samples) -> None:
    """Write step_NNNNNNN.png and, if it moves, .gif to ``folder``."""
    from vflow.data.io import write_png, write_video

    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / f"step_{step:07d}.png", _three(samples.picture))
    if samples.animation is not None:
        write_video(folder / f"step_{step:07d}.gif", _three(samples.animation), samples.fps)


def _three(frames: np.ndarray) -> np.ndarray:
    return frames if frames.shape[-1] == 3 else np.repeat(frames, 3, -1)
