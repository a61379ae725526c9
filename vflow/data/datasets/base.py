"""What a data set is, and how a configuration names one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from vflow.config import ColorizerConfig, DataConfig, DigitsConfig, VideoFlowConfig
from vflow.errors import ConfigError, InputError

Split = Literal["train", "validation", "test"]
SUITABLE = {
    "videoflow": ("shapes", "moving-digits", "video-folder", "bair"),
    "digits": ("digits",),
    "colorizer": ("photos",),
}
"""Kind of model → names of the data sets it can be trained on."""
_log = logging.getLogger(__name__)


class FrameDataset(Protocol):
    """Clips addressed by index. Which part of a clip is cut out is a function of (key, index) alone."""

    def __len__(self) -> int: ...

    def example(self, index: int, key: tuple[int, ...]) -> np.ndarray:
        """Clip ``index``, cut by the random numbers that ``key`` names: uint8 (T, H, W, C)."""
        ...


class Picture(NamedTuple):
    """An image and what it is given."""

    image: np.ndarray
    """uint8 (H, W, C)."""
    given: np.ndarray
    """digits: label, int64 (); photos: float32 (4, 2H, 2W), see ``vflow.data.datasets.photos``."""


class ImageDataset(Protocol):
    """Pictures addressed by index. How one is cut, moved or hinted is a function of (key, index) alone."""

    def __len__(self) -> int: ...

    def example(self, index: int, key: tuple[int, ...]) -> Picture:
        """Picture ``index``, varied in training by the random numbers that ``key`` names."""
        ...


D = TypeVar("D", FrameDataset, ImageDataset)


def held_out(opened: Callable[[], D]) -> D | None:
    """Validation data; None, with a warning, where none of them can be used: in small sets it is one file."""
    try:
        data = opened()
        data.example(0, (0, 0))
    except InputError as error:
        _log.warning("training goes on without validation: %s", error)
        return None
    return data


def open_images(config: DataConfig, model: DigitsConfig | ColorizerConfig, split: Split) -> ImageDataset:
    """The data set that ``config`` names, fitted to the size of ``model``."""
    _require_suitable(config, model.kind)
    glow = model.glow
    if config.name == "digits":
        from vflow.data.datasets.digits import MnistImages

        _require(config.name, (glow.height, glow.width, glow.channels), (28, 28, 1))
        return MnistImages(split=split, root=config.path, shift=config.shift)
    from vflow.data.datasets.photos import Photos

    if config.path is None:
        raise ConfigError("data photos: no path given; add --data FOLDER (or a zip)")
    _require(config.name, (glow.width,), (glow.height,))
    return Photos(config.path, size=glow.height, split=split)


def open_dataset(config: DataConfig, model: VideoFlowConfig, split: Split) -> FrameDataset:
    """The data set that ``config`` names, fitted to the size, channels and rate of ``model``."""
    _require_suitable(config, model.kind)
    glow = model.glow
    if config.name == "shapes":
        from vflow.data.datasets.shapes import Shapes

        _require(config.name, (glow.height, glow.width, glow.channels), (64, 64, 3))
        return Shapes(frames=config.frames, split=split)
    if config.name == "moving-digits":
        from vflow.data.datasets.digits import MovingDigits

        _require(config.name, (glow.height, glow.width), (64, 64))
        return MovingDigits(frames=config.frames, channels=glow.channels, split=split, root=config.path)
    if config.path is None:
        raise ConfigError(f"data {config.name}: no path given; add --data FOLDER")
    if config.name == "bair":
        from vflow.data.datasets.bair import Bair

        _require(config.name, (glow.height, glow.width, glow.channels), (64, 64, 3))
        return Bair(config.path, frames=config.frames, split=split)
    from vflow.data.datasets.folder import VideoFolder

    return VideoFolder(
        config.path,
        frames=config.frames,
        height=glow.height,
        width=glow.width,
        channels=glow.channels,
        fps=model.fps,
        split=split,
    )


def _require_suitable(config: DataConfig, kind: str) -> None:
    if config.name not in SUITABLE[kind]:
        names = " or ".join(SUITABLE[kind])
        raise ConfigError(
            f"data.name = {config.name} does not suit a model of kind {kind}; set it to {names}"
        )


def _require(name: str, size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if size != expected:
        shape = "×".join(map(str, expected))
        raise ConfigError(
            f"data {name}: frames are {shape}; set model.glow height, width and channels to that"
        )
