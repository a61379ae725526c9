"""Masks of scikit-image's pictures: what is darker than Otsu's threshold, and noisy crops of the pictures."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, final

import cv2
import numpy as np

from vflow.data.datasets.splits import Split
from vflow.data.datasets.types import ImageExample
from vflow.errors import ConfigError
from vflow.randomness import generator

from .vessels import COUNTS

NOISE = 0.2  # deviation of the noise on pictures in 0..1
SHARES: dict[Split, tuple[float, float]] = {"train": (0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1)}
"""Columns of every picture that a split's crops lie in."""
LIGHT_SCALE = 1 / 8  # deviation of the blur that is taken for uneven light, of the shorter side


class Preparation(NamedTuple):
    """Way from a picture of scikit-image to one with dark things on a light, even ground."""

    shrink: int = 2
    negative: bool = False
    uneven_light: bool = False


PICTURES = {
    "coins": Preparation(negative=True, uneven_light=True),
    "page": Preparation(shrink=1, uneven_light=True),
    "text": Preparation(uneven_light=True),
    "horse": Preparation(),
    "immunohistochemistry": Preparation(),
}
"""Names of ``skimage.data`` whose files its wheel holds."""


@cache
def prepared(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A picture, float32 (H, W) in 0..1, and its mask, bool (H, W).

    Raises:
        ConfigError: scikit-image is not installed.
    """
    try:
        from skimage import data, filters
    except ImportError as error:
        raise ConfigError("scikit-image is not installed; pip install 'vflow-torch[masks]'") from error
    how = PICTURES[name]
    picture = np.asarray(getattr(data, name)(), np.float32)
    picture = picture.mean(2) if picture.ndim == 3 else picture
    picture = 1 - picture / picture.max() if how.negative else picture / picture.max()
    height, width = (side // how.shrink for side in picture.shape)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    if how.uneven_light:
        picture = picture - cv2.GaussianBlur(picture, (0, 0), LIGHT_SCALE * min(height, width))
        picture = (picture - picture.min()) / np.ptp(picture)
    return picture, picture < filters.threshold_otsu(picture)


@final
class SkimageMasks:
    """Masks 0 or 255, uint8 (size, size, 1), given pictures uint8 (1, size, size): crops of any of them.

    Splits lie in different columns of the pictures. Places depend on the index; how training crops are
    turned, and the noise, depend on ``key`` too.

    Raises:
        ConfigError: scikit-image is not installed, or crops are larger than the held-out columns.
    """

    def __init__(self, size: int, split: Split = "train") -> None:
        self.size, self.split = size, split
        self._parts = [_columns(*prepared(name), SHARES[split]) for name in PICTURES]
        most = min(min(picture.shape) for picture, _ in self._parts)
        if size > most:
            raise ConfigError(f"data skimage-masks: crops of {size} pixels; give at most {most}")

    def __len__(self) -> int:
        return COUNTS[self.split]

    def example(self, index: int, key: tuple[int, ...] = (0, 0)) -> ImageExample:
        place = generator("skimage-place", self.split, index)
        picture, mask = self._parts[int(place.integers(len(self._parts)))]
        top, left = (int(place.integers(length - self.size + 1)) for length in picture.shape)
        window = np.s_[top : top + self.size, left : left + self.size]
        random = generator("skimage-picture", self.split, index, *key)
        turns = int(random.integers(4)) if self.split == "train" else 0
        cut, truth = np.rot90(picture[window], turns), np.rot90(mask[window], turns)
        noisy = np.rint(255 * (cut + random.normal(0, NOISE, cut.shape)).clip(0, 1)).astype(np.uint8)
        return ImageExample(np.where(truth, 255, 0).astype(np.uint8)[..., None], noisy[None])


def _columns(
    picture: np.ndarray, mask: np.ndarray, share: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Part of both between two shares of their width."""
    first, last = (round(end * picture.shape[1]) for end in share)
    return picture[:, first:last], mask[:, first:last]
