"""Damage to past frames in training, so that a model learns to mend its own mistakes."""

from __future__ import annotations

import numpy as np

MIN_BOX_SIDE, MAX_DENSITY = 8, 0.4  # side of the damaged rectangle in pixels; largest share of its pixels


def corrupt(frames: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A copy of uint8 frames (T, C, H, W) with stray pixels in one rectangle.

    A sampled frame has pixels that no real frame has; conditioned on, they stay and multiply. Some of the
    strays are the same in all frames, as they are when a model keeps them; half have random colours and half
    the colour of another pixel. After noise on the conditioning frames in diffusion models of video.
    """
    time, channels, height, width = frames.shape
    box_height, box_width = (
        int(random.integers(min(MIN_BOX_SIDE, side), side + 1)) for side in (height, width)
    )
    top, left = random.integers(height - box_height + 1), random.integers(width - box_width + 1)
    density = random.uniform(0, MAX_DENSITY)
    stays = random.random() < 0.5
    shape = (1 if stays else time, 1, box_height, box_width)
    hit = random.random(shape) < density
    colors = random.integers(0, 256, (shape[0], channels, box_height, box_width), dtype=np.uint8)
    pixels = frames.reshape(time, channels, -1)
    others = pixels[0][:, random.integers(pixels.shape[2], size=(box_height, box_width))]
    strays = np.where(random.random(shape) < 0.5, colors, others[None])
    damaged = frames.copy()
    box = damaged[:, :, top : top + box_height, left : left + box_width]
    box[:] = np.where(hit, strays, box)
    return damaged
