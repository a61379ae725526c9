"""Makes the `walk-*` examples: photographs in their own colours, and the frame after each `shapes` example.

The photographs are also written as JPEG files, `camera-*`.

Run from the repository, with the extra `test`: python -m apps.examples.make_walks
"""

from __future__ import annotations

from pathlib import Path

from vflow.data import media
from vflow.data.datasets.shapes import draw, move

from .make_shapes import chosen

FOLDER = Path(__file__).resolve().parent
PHOTOS = ("chelsea", "coffee", "astronaut")
SHORT_SIDE = 160
DIRECTIONS = ((1, 0), (0, 1), (-1, -1))


if __name__ == "__main__":
    from skimage import data
    from skimage.io import imsave

    for name in PHOTOS:
        photo = getattr(data, name)()
        scale = SHORT_SIDE / min(photo.shape[:2])
        height, width = (round(side * scale) for side in photo.shape[:2])
        small = media.resize(photo[None], height, width, 3)[0]
        media.write_png(FOLDER / f"walk-{name}.png", small)
        imsave(FOLDER / f"camera-{name}.jpg", small)
    for shape, direction in zip(chosen(), DIRECTIONS, strict=True):
        media.write_png(FOLDER / f"walk-{shape.kind}.png", draw(move(shape, direction, 1)))
