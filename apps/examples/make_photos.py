"""Makes the `photo-*` examples: grey, reduced copies of photographs in scikit-image that are free of rights.

Run from the repository, with the extra `test`: python -m apps.examples.make_photos
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vflow.data import media

FOLDER = Path(__file__).resolve().parent
NAMES = ("chelsea", "coffee", "astronaut", "camera")
SHORT_SIDE = 320


def reduced(photo: np.ndarray) -> np.ndarray:
    """The photo, uint8 (H, W) or (H, W, 3), in grey, its shorter side 320: uint8 (h, w, 1)."""
    frames = photo.reshape(1, *photo.shape[:2], -1)
    scale = SHORT_SIDE / min(photo.shape[:2])
    height, width = (round(side * scale) for side in photo.shape[:2])
    return media.resize(frames, height, width, 1)[0]


if __name__ == "__main__":
    from skimage import data

    for name in NAMES:
        media.write_png(FOLDER / f"photo-{name}.png", reduced(getattr(data, name)()))
