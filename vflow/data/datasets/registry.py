"""Registry of data sets: from a configuration to the data it names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vflow.config import (
    ClassConditionalConfig,
    ColorizerConfig,
    DataConfig,
    FrameConfig,
    SuperResolutionConfig,
    VideoConfig,
)
from vflow.data.datasets.bair import Bair
from vflow.data.datasets.digits import DIGITS, MnistImages, MovingDigits
from vflow.data.datasets.folder import LONGER_CLIPS, VideoFolder
from vflow.data.datasets.moving_photos import open_moving_photos
from vflow.data.datasets.photos import PhotoPairs, Photos
from vflow.data.datasets.shapes import Shapes
from vflow.data.datasets.splits import Split
from vflow.data.datasets.types import ImageDataset, VideoDataset
from vflow.errors import ConfigError, InputError
from vflow.registry import suitable_datasets

ImageConfig = ClassConditionalConfig | ColorizerConfig | SuperResolutionConfig


class _Examples(Protocol):
    def example(self, index: int, key: tuple[int, ...]) -> Any: ...


D = TypeVar("D", bound=_Examples)
_log = logging.getLogger(__name__)


def open_video_dataset(
    config: DataConfig, model: VideoConfig, split: Split, remedy: str | None = None
) -> VideoDataset:
    """Clips of the data set that ``config`` names, fitted to the size, channels and rate of ``model``.

    Args:
        remedy: for clips of a folder that are too short, as the message ends; None: that of training.

    Raises:
        ConfigError: the data set does not suit the model, or needs a path.
        InputError: its files are absent or cannot be used.
    """
    require_suitable(config, model.family)
    glow = model.glow
    size = glow.height, glow.width, glow.channels
    if config.name == "shapes":
        _require_size(config.name, size, (64, 64, 3))
        return Shapes(frames=config.frames, split=split)
    if config.name == "moving-digits":
        _require_size(config.name, size[:2], (64, 64))
        return MovingDigits(frames=config.frames, channels=glow.channels, split=split, root=config.path)
    path, least = require_path(config, "FOLDER"), model.min_context + 1
    if remedy is None:
        fewer = f"lower data.frames (at least {least}), " if config.frames > least else ""
        remedy = f"{fewer}{LONGER_CLIPS}"
    folder = partial(VideoFolder, frames=config.frames, size=size, fps=model.fps, remedy=remedy)
    if model.actions:
        if config.name != "video-folder":
            raise ConfigError(f"data {config.name}: has no actions; use video-folder, or model.actions=null")
        folder = partial(folder, actions=model.actions)
    if config.name == "bair":
        _require_size(config.name, size, (64, 64, 3))
        return Bair(path, frames=config.frames, split=split)
    if config.name == "moving-photos":
        return open_moving_photos(Path(path), folder, split)
    return folder(path, split=split, held_out=config.held_out_files)


def open_image_dataset(
    config: DataConfig,
    model: ImageConfig,
    split: Split,
) -> ImageDataset:
    """Pictures of the data set that ``config`` names, fitted to the size of ``model``.

    Raises:
        ConfigError: the data set does not suit the model, or needs a path.
        InputError: its files are absent or cannot be used.
    """
    require_suitable(config, model.family)
    glow = model.glow
    if config.name == "digits":
        _require_size(config.name, (glow.height, glow.width, glow.channels), (28, 28, 1))
        if isinstance(model, ClassConditionalConfig) and 0 < model.classes < DIGITS:
            raise ConfigError(
                f"data {config.name}: labels are 0..{DIGITS - 1}; set model.classes to {DIGITS}"
            )
        return MnistImages(split=split, root=config.path, shift=config.shift)
    path = require_path(config, "FOLDER (or a zip)")
    _require_square(config.name, glow)
    if isinstance(model, SuperResolutionConfig):
        return PhotoPairs(path, size=glow.height, split=split)
    return Photos(path, size=glow.height, split=split, crop=config.crop)


def open_validation(open_split: Callable[[], D]) -> D | None:
    """Validation data; None, with a warning, where none of them can be used: in small sets it is one file."""
    try:
        data = open_split()
        data.example(0, (0, 0))
    except InputError as error:
        _log.warning("training goes on without validation: %s", error)
        return None
    return data


def require_suitable(config: DataConfig, kind: str) -> None:
    """Error unless a model of ``kind`` can be trained on the data set.

    Raises:
        ConfigError: it cannot.
    """
    if config.name not in (names := suitable_datasets(kind)):
        raise ConfigError(
            f"data.name = {config.name} does not suit a model of kind {kind}; set it to {' or '.join(names)}"
        )


def require_path(config: DataConfig, argument: str) -> str:
    """Path of the data set.

    Raises:
        ConfigError: there is none; add ``--data`` with ``argument``.
    """
    if config.path is None:
        raise ConfigError(f"data {config.name}: no path given; add --data {argument}")
    return config.path


def _require_size(name: str, size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if size != expected:
        shape = "×".join(map(str, expected))
        raise ConfigError(
            f"data {name}: frames are {shape}; set model.glow height, width and channels to that"
        )


def _require_square(name: str, size: FrameConfig) -> None:
    if size.height != size.width:
        raise ConfigError(
            f"data {name}: images are square, not {size.width}×{size.height}; set model.glow.width to "
            f"{size.height}"
        )
