"""Types of data sets: clips and pictures addressed by index."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class VideoDataset(Protocol):
    """Clips addressed by index. Which part of a clip is cut out is a function of (key, index) alone."""

    frames: int
    """Of every clip."""

    def __len__(self) -> int: ...

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """Clip ``index``, cut by the random numbers that ``key`` names: uint8 (T, H, W, C)."""


class ImageExample(NamedTuple):
    """An image and the condition it is modelled under."""

    image: np.ndarray
    """uint8 (H, W, C)."""
    condition: np.ndarray
    """digits: label, int64 (); photos: float32 (4, 2H, 2W), and uint8 (3, H/2, W/2) for super-resolution; see
    ``vflow.data.datasets.photos``. Masks: the picture, uint8 (1, H, W)."""


class ImageDataset(Protocol):
    """Pictures addressed by index. How one is cut, moved or hinted is a function of (key, index) alone."""

    def __len__(self) -> int: ...

    def example(self, index: int, key: tuple[int, ...]) -> ImageExample:
        """Picture ``index``, varied in training by the random numbers that ``key`` names."""
